from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyslirp.engine.protocols.tcp.options import _testhelper_parse, _testhelper_syn
from pyslirp.sim.segment import BadFrameError, Options

NONE: dict[str, object] = {
    "mss": 0,
    "window_scale": None,
    "sack_permitted": False,
    "timestamps": None,
    "user_timeout": 0,
    "sack": [],
}
u32 = st.integers(0, 2**32 - 1)
stamps = st.tuples(u32, u32)


@given(st.integers(0, 65535), st.one_of(st.none(), st.integers(0, 14)), st.booleans(), st.one_of(st.none(), stamps))
def test_what_a_syn_carries_is_read_by_another_reader(
    mss: int, scale: int | None, sack: bool, timestamps: tuple[int, int] | None
) -> None:
    written = _testhelper_syn(mss, scale, sack, timestamps)
    assert len(written) % 4 == 0
    assert len(written) <= 40
    read = Options.read(written)
    assert (read.mss, read.scale, read.sack_permitted, read.timestamps) == (mss, scale, sack, timestamps)
    assert _testhelper_parse(written) == NONE | {
        "mss": mss,
        "window_scale": scale,
        "sack_permitted": sack,
        "timestamps": timestamps,
    }


@given(st.lists(st.tuples(u32, u32), max_size=4))
def test_sack_blocks_are_read(blocks: list[tuple[int, int]]) -> None:
    assert _testhelper_parse(Options(sack=blocks).pack()) == NONE | {"sack": blocks}


@given(st.binary(max_size=40))
@example(b"\x01\x01\x08\x0a" + bytes(8))  # the form that is read at one glance
@example(b"\x08")  # a kind, and the header ends
@example(b"\x05\x01")  # a length under 2
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """As the other reader says: refused for a length that cannot be; else the same meaning."""
    read = _testhelper_parse(data)
    try:
        other = Options.read(data)
    except BadFrameError:
        assert read is None
        return
    assert read is not None
    assert read["timestamps"] == other.timestamps
    assert read["mss"] == (other.mss or 0)
    assert read["sack_permitted"] == other.sack_permitted
    assert read["window_scale"] == (None if other.scale is None else min(other.scale, 14))
    if len(other.sack) <= 4:
        assert read["sack"] == other.sack


@pytest.mark.parametrize("length", [2, 3, 5, 6])
def test_a_known_kind_of_a_wrong_length_is_skipped(length: int) -> None:
    data = bytes([2, length]) + bytes(length - 2) + b"\x04\x02"
    assert _testhelper_parse(data) == NONE | {"sack_permitted": True}


def test_nothing_behind_the_end_counts() -> None:
    assert _testhelper_parse(b"\x00\x02\x04\x05\xb4") == NONE
    assert _testhelper_parse(b"") == NONE


@pytest.mark.parametrize(
    ("body", "seconds"),
    [("001e", 30), ("801e", 30 * 60), ("7fff", 32767), ("ffff", 32767 * 60), ("0000", 0), ("8000", 0)],
)
def test_a_user_timeout_is_in_seconds_or_minutes(body: str, seconds: int) -> None:
    """RFC 5482 section 3.1; a zero is to be ignored."""
    assert _testhelper_parse(b"\x1c\x04" + bytes.fromhex(body)) == NONE | {"user_timeout": seconds}


def test_a_user_timeout_of_a_wrong_length_is_skipped() -> None:
    assert _testhelper_parse(b"\x1c\x03\x1e\x01") == NONE
