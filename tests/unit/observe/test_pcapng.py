"""The capture is read back by an independent reader (python-pcapng)."""

from __future__ import annotations

import errno
import io
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription, InterfaceStatistics, SectionHeader

from pyslirp.observe.pcapng import COMMENT_LIMIT, NAME_LIMIT, PcapngWriter

pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")  # of the reader itself

T0 = 1_700_000_000_123_456_789  # nanoseconds; a double could not hold it
FRAME = bytes(range(61))  # no multiple of four


def read(stream: io.BytesIO) -> list[Any]:
    stream.seek(0)
    return list(FileScanner(stream))


def packets(stream: io.BytesIO) -> list[Any]:
    return [block for block in read(stream) if isinstance(block, EnhancedPacket)]


class FullDisk(io.BytesIO):
    """Takes `room` bytes, then fails as a full disk does."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_the_section_says_who_wrote_it() -> None:
    stream = io.BytesIO()
    PcapngWriter(stream, version="1.2.3", comment="why").close()
    (section,) = read(stream)
    assert isinstance(section, SectionHeader)
    assert (section.version, section.options["shb_userappl"], section.options["opt_comment"]) == (
        (1, 0),
        "pyslirp 1.2.3",
        "why",
    )


def test_frames_come_back_as_they_were() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    port = writer.interface("127.0.0.1:1234#1")
    writer.packet(port, T0, FRAME, inbound=True)
    writer.packet(port, T0 + 1, FRAME[:60], inbound=False, comment="answered here", dropped=3)
    writer.flush()
    first, second = packets(stream)
    assert (first.packet_data, first.packet_len, first.options["epb_flags"].inout) == (FRAME, 61, "inbound")
    assert "opt_comment" not in first.options
    assert "epb_dropcount" not in first.options
    assert (second.packet_data, second.options["epb_flags"].inout) == (FRAME[:60], "outbound")
    assert (second.options["opt_comment"], second.options["epb_dropcount"]) == ("answered here", 3)
    assert (writer.packets, writer.lost) == (2, 0)


def test_time_stamps_count_nanoseconds() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    writer.packet(writer.interface("a"), T0, FRAME, inbound=True)
    (block,) = packets(stream)
    assert (block.timestamp_high << 32) + block.timestamp_low == T0
    assert block.interface.timestamp_resolution == 1e-9


def test_a_port_that_appears_later_has_its_interface() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    one = writer.interface("one")
    writer.packet(one, T0, FRAME, inbound=True)
    two = writer.interface("zwei ✓")
    writer.packet(two, T0, FRAME, inbound=False)
    assert (one, two) == (0, 1)
    assert [block.interface.options["if_name"] for block in packets(stream)] == ["one", "zwei ✓"]
    assert all(block.link_type == 1 for block in read(stream) if isinstance(block, InterfaceDescription))


def test_snaplen_cuts_and_says_the_true_length() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    writer.packet(writer.interface("a", snaplen=10), T0, FRAME, inbound=True)
    (block,) = packets(stream)
    assert (block.packet_data, block.packet_len) == (FRAME[:10], 61)


def test_statistics_say_what_was_dropped() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    writer.statistics(writer.interface("a"), T0, received=10, dropped=4)
    block = read(stream)[-1]
    assert isinstance(block, InterfaceStatistics)
    assert (block.options["isb_ifrecv"], block.options["isb_ifdrop"]) == (10, 4)


def test_long_texts_are_cut_between_characters() -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    writer.packet(writer.interface("ü" * 500), T0, FRAME, inbound=True, comment="ü" * 50_000)
    (block,) = packets(stream)
    assert block.interface.options["if_name"] == "ü" * (NAME_LIMIT // 2)
    assert block.options["opt_comment"] == "ü" * (COMMENT_LIMIT // 2)


@given(st.lists(st.tuples(st.binary(max_size=100), st.booleans(), st.none() | st.text(max_size=20))))
def test_any_sequence_of_frames_is_read_back(frames: list[tuple[bytes, bool, str | None]]) -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, version="1")
    port = writer.interface("a")
    for frame, inbound, comment in frames:
        writer.packet(port, T0, frame, inbound, comment)
    assert [block.packet_data for block in packets(stream)] == [frame for frame, _, _ in frames]


def test_an_unknown_interface_is_the_callers_mistake() -> None:
    writer = PcapngWriter(io.BytesIO(), version="1")
    with pytest.raises(IndexError):
        writer.packet(0, T0, FRAME, inbound=True)
    with pytest.raises(IndexError):
        writer.statistics(0, T0, received=0, dropped=0)


def test_a_full_disk_ends_the_capture_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    stream = FullDisk(room=400)
    writer = PcapngWriter(stream, version="1")
    port = writer.interface("a")
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            writer.packet(port, T0, FRAME, inbound=True)
        writer.interface("b")
        writer.flush()
        writer.close()
    assert len(caplog.records) == 1
    assert "No space left on device; the capture ends after 2 frames" in caplog.text
    assert (writer.active, writer.packets, writer.lost) == (False, 2, 18)
    assert len(packets(stream)) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_found_full_by_the_last_write_is_no_error_either(caplog: pytest.LogCaptureFixture) -> None:
    writer = PcapngWriter("/dev/full", version="1")
    writer.packet(writer.interface("a"), T0, FRAME, inbound=True)
    writer.close()
    assert len(caplog.records) == 1
    assert not writer.active


def test_a_path_is_private_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    writer = PcapngWriter(path, version="1")
    writer.packet(writer.interface("a"), T0, FRAME, inbound=True)
    writer.close()
    writer.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(packets(io.BytesIO(path.read_bytes()))) == 1
    writer.packet(0, T0, FRAME, inbound=True)
    assert (writer.packets, writer.lost) == (1, 1)


def test_a_callers_file_stays_open() -> None:
    stream = io.BytesIO()
    PcapngWriter(stream, version="1").close()
    assert not stream.closed


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        PcapngWriter(tmp_path / "none" / "a.pcapng", version="1")
