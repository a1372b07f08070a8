"""Where guests are met."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.config.link import ConnectAddress, ControlAddress, ListenAddress
from pyslirp.errors import ConfigError

FORMS = "write [HOST]:PORT, [V6]:PORT, unix:PATH or fd:N"


@pytest.mark.parametrize(
    ("text", "address", "printed"),
    [
        (":1234", ListenAddress("inet", host="127.0.0.1", port=1234), "127.0.0.1:1234"),
        (":0", ListenAddress("inet", host="127.0.0.1", port=0), "127.0.0.1:0"),
        ("0.0.0.0:1234", ListenAddress("inet", host="0.0.0.0", port=1234), "0.0.0.0:1234"),
        ("localhost:65535", ListenAddress("inet", host="localhost", port=65535), "localhost:65535"),
        ("[::1]:1234", ListenAddress("inet", host="::1", port=1234), "[::1]:1234"),
        ("[fe80::1%eth0]:1", ListenAddress("inet", host="fe80::1%eth0", port=1), "[fe80::1%eth0]:1"),
        ("unix:/run/x", ListenAddress("unix", path="/run/x"), "unix:/run/x"),
        ("unix:a:b,c", ListenAddress("unix", path="a:b,c"), "unix:a:b,c"),
        ("unix:" + "p" * 107, ListenAddress("unix", path="p" * 107), "unix:" + "p" * 107),
        ("fd:3", ListenAddress("fd", fd=3), "fd:3"),
    ],
)
def test_an_address_reads_and_prints(text: str, address: ListenAddress, printed: str) -> None:
    assert ListenAddress.parse(text) == address
    assert str(address) == printed
    assert ListenAddress.parse(printed) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", f"no port is given ({FORMS})"),
        ("1234", "no port is given (write :1234)"),
        ("localhost", "no port is given (write localhost:PORT)"),
        ("/run/x", "no port is given (write unix:/run/x)"),
        ("a b", f"no port is given ({FORMS})"),
        (":", f"'' is not a port ({FORMS})"),
        (":http", f"'http' is not a port ({FORMS})"),
        (":-1", f"'-1' is not a port ({FORMS})"),
        (":0x50", f"'0x50' is not a port ({FORMS})"),
        (":\u0663", f"'\u0663' is not a port ({FORMS})"),
        (":99999999999", f"'99999999999' is not a port ({FORMS})"),
        ("::1:1234", "'::1' has a ':' too many (write an IPv6 address as [V6]:PORT)"),
        ("tcp:127.0.0.1:1234", "'tcp:127.0.0.1' has a ':' too many (write an IPv6 address as [V6]:PORT)"),
        ("[]:1", f"'' is not an IPv6 address ({FORMS})"),
        ("[localhost]:1", f"'localhost' is not an IPv6 address ({FORMS})"),
        ("[::x]:1", f"'::x' is neither an address nor a name ({FORMS})"),
        ("256.1.1.1:1", f"'256.1.1.1' is neither an address nor a name ({FORMS})"),
        ("a b:1", f"'a b' is neither an address nor a name ({FORMS})"),
        ("-a:1", f"'-a' is neither an address nor a name ({FORMS})"),
        ("unix:", "Missing unix socket path"),
        ("unix:a\0b", "Missing unix socket path"),
        ("unix:" + "p" * 108, "Unix socket path is too long (at most 107 bytes)"),
        ("unix:" + "ä" * 54, "Unix socket path is too long (at most 107 bytes)"),
        ("fd:", f"'' is not a descriptor ({FORMS})"),
        ("fd:x", f"'x' is not a descriptor ({FORMS})"),
        ("fd:-1", f"'-1' is not a descriptor ({FORMS})"),
        ("fd:2147483648", "'2147483648' is not a descriptor"),
    ],
)
def test_an_address_is_refused_with_the_remedy(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ListenAddress.parse(text)
    assert str(caught.value) == f"listen={text}: {reason}"


def test_ports_have_a_range() -> None:
    with pytest.raises(ConfigError) as caught:
        ListenAddress.parse(":65536")
    assert str(caught.value) == "listen=127.0.0.1:65536: a port is a number from 0 to 65535"
    with pytest.raises(ConfigError) as caught:
        ConnectAddress.parse(":0")
    assert str(caught.value) == "connect=127.0.0.1:0: a port is a number from 1 to 65535"


def test_an_address_to_connect_to_is_of_its_own_kind() -> None:
    address = ConnectAddress.parse("unix:/run/x")
    assert isinstance(address, ConnectAddress)
    assert (address.kind, address.path) == ("unix", "/run/x")


def test_the_port_that_was_chosen_can_be_filled_in() -> None:
    assert str(replace(ListenAddress.parse(":0"), port=40000)) == "127.0.0.1:40000"


def test_run_time_commands_are_taken_at_unix_sockets_alone() -> None:
    address = ControlAddress.parse("unix:/run/x")
    assert (address.kind, address.path, str(address)) == ("unix", "/run/x", "unix:/run/x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":1234", "not a Unix socket (write unix:PATH)"),
        ("fd:3", "not a Unix socket (write unix:PATH)"),
        ("/run/x", "not a Unix socket (write unix:/run/x)"),
        ("unix:", "Missing unix socket path"),
        (f"unix:{'x' * 108}", "Unix socket path is too long (at most 107 bytes)"),
    ],
)
def test_no_address_for_run_time_commands(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ControlAddress.parse(text)
    assert str(caught.value) == f"control={text}: {reason}"


HOSTS = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z][a-z0-9.-]{0,20}[a-z]", fullmatch=True))
PATHS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=26)
ADDRESSES = st.one_of(
    st.builds(ListenAddress, st.just("inet"), host=HOSTS, port=st.integers(0, 65535)),
    st.builds(ListenAddress, st.just("unix"), path=PATHS),
    st.builds(ListenAddress, st.just("fd"), fd=st.integers(0, 2**31 - 1)),
)


@given(ADDRESSES)
def test_every_address_reads_back(address: ListenAddress) -> None:
    assert ListenAddress.parse(str(address)) == address
