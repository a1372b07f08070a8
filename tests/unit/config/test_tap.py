"""Where a tap is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.tap import NetnsAddress, TapAddress, check_interface_name
from pyslirp.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tap0", TapAddress("name", name="tap0")),
        ("x" * 15, TapAddress("name", name="x" * 15)),
        ("5", TapAddress("name", name="5")),
        ("fd5", TapAddress("name", name="fd5")),
        ("fd:0", TapAddress("fd", fd=0)),
        ("fd:2147483647", TapAddress("fd", fd=2**31 - 1)),
    ],
)
def test_a_tap_reads_and_prints(text: str, address: TapAddress) -> None:
    assert TapAddress.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an interface's name has 1 to 15 bytes"),
        ("x" * 16, "an interface's name has 1 to 15 bytes"),
        ("ä" * 8, "an interface's name has 1 to 15 bytes"),
        (".", "an interface's name has no"),
        ("..", "an interface's name has no"),
        ("a/b", "an interface's name has no"),
        ("a b", "an interface's name has no"),
        ("a:b", "an interface's name has no"),
        ("tap%d", "a pattern names no interface"),
        ("fd:", "'' is not a descriptor (write fd:N)"),
        ("fd:x", "'x' is not a descriptor (write fd:N)"),
        ("fd:-1", "'-1' is not a descriptor (write fd:N)"),
        ("fd:2147483648", "'2147483648' is not a descriptor (write fd:N)"),
    ],
)
def test_what_cannot_be_a_tap_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TapAddress.parse(text)
    assert str(caught.value).startswith(f"tap={text}: {reason}")


@given(st.text(max_size=20))
def test_a_tap_is_read_as_it_is_printed_or_refused(text: str) -> None:
    try:
        address = TapAddress.parse(text)
    except ConfigError:
        return
    assert TapAddress.parse(str(address)) == address
    if address.kind == "name":
        check_interface_name("tap", address.name)


@pytest.mark.parametrize(
    ("text", "address", "file"),
    [
        ("1", NetnsAddress("pid", pid=1), "/proc/1/ns/net"),
        ("4194304", NetnsAddress("pid", pid=2**22), "/proc/4194304/ns/net"),
        ("/run/netns/blue", NetnsAddress("path", path="/run/netns/blue"), "/run/netns/blue"),
        ("./7", NetnsAddress("path", path="./7"), "./7"),
    ],
)
def test_a_namespace_reads_and_prints(text: str, address: NetnsAddress, file: str) -> None:
    assert NetnsAddress.parse(text) == address
    assert str(address) == text
    assert address.file == file


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "this is neither a process number nor a path (write PID or PATH)"),
        ("blue", "this is neither a process number nor a path (write /run/netns/blue for a namespace of that name)"),
        ("-1", "this is neither a process number nor a path"),
        ("0", "a process has a number from 1 to 4194304"),
        ("4194305", "a process has a number from 1 to 4194304"),
        ("/a\0b", "no path is given"),
    ],
)
def test_what_cannot_be_a_namespace_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        NetnsAddress.parse(text)
    assert str(caught.value).startswith(f"netns={text}: {reason}")
