"""strtol and inet_aton against the C library's own."""

import ctypes
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyslirp.config.libc import LONG_MAX, inet_aton, strtol

LIBC = ctypes.CDLL(None)
LIBC.strtol.restype = ctypes.c_long
LIBC.strtol.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int]

NUMBER_LIKE = st.text(alphabet="0123456789abcfxXo+- \t_.", max_size=12)


def c_strtol(text: str, base: int) -> tuple[int, str]:
    start, end = ctypes.c_char_p(text.encode()), ctypes.c_char_p()
    value = LIBC.strtol(start, ctypes.byref(end), base)
    return value, (end.value or b"").decode()


def c_inet_aton(text: str) -> bytes | None:
    out = ctypes.create_string_buffer(4)
    return out.raw if LIBC.inet_aton(text.encode(), out) else None


@given(NUMBER_LIKE, st.sampled_from([0, 10]))
@example("0x", 0)
@example("0xg", 0)
@example("09", 0)
@example("0b11", 0)  # C23 reads binary numbers; QEMU's builds do not
@example(" +5 ", 10)
@example("--5", 0)
def test_strtol_reads_as_the_c_library(text: str, base: int) -> None:
    if base == 0 and text.strip(" \t+-")[:2].lower() == "0b":
        return
    assert strtol(text, base) == c_strtol(text, base)


@pytest.mark.parametrize("digits", ["9223372036854775807", "9223372036854775808", "9" * 5000, "0x" + "f" * 5000])
def test_strtol_saturates(digits: str) -> None:
    assert strtol(digits, 0) == (LONG_MAX, "")
    assert strtol("-" + digits, 0)[0] == -LONG_MAX


@given(st.text(alphabet=string.printable + "\u0663", max_size=8))
def test_strtol_leaves_what_it_does_not_read(text: str) -> None:
    _, rest = strtol(text, 0)
    assert text.endswith(rest)


ADDRESS_LIKE = st.one_of(
    st.text(alphabet="0123456789abfxX.", max_size=16),
    st.lists(
        st.one_of(st.integers(0, 300).map(str), st.integers(0, 2**33).map(hex), st.integers(0, 300).map("0{:o}".format))
    ).map(".".join),
)


@given(ADDRESS_LIKE)
@example("127.1")
@example("0x7f.1")
@example("0177.0.0.1")
@example("10")
@example("4294967295")
@example("4294967296")
@example("1.2.3.256")
@example("1.2.65536")
@example("1.2.3.4.5")
@example("1..2")
@example("1.")
@example(".1")
@example("")
@example("-1")
@example("+1")
@example("08.1")
def test_inet_aton_reads_as_the_c_library(text: str) -> None:
    wanted = c_inet_aton(text)
    if wanted is None:
        with pytest.raises(ValueError, match="not a"):
            inet_aton(text)
    else:
        assert inet_aton(text).packed == wanted


@pytest.mark.parametrize("text", ["10.0.2.9 ", "10.0.2.9 junk", " 10.0.2.9", "10.0.2.9\0", "\u0661.2.3.4", "fec0::1"])
def test_inet_aton_takes_nothing_around_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        inet_aton(text)
