"""resolv.conf as the C library reads it, and as it changes under a running network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.addresses import Endpoint
from pyslirp.host.resolvers import CHECK_NS, LOOPBACK, MAX_SERVERS, SECOND_NS, Resolvers, ResolverSet, parse


def servers(*addresses: str) -> tuple[Endpoint, ...]:
    return tuple(Endpoint.of(address, 53) for address in addresses)


# ----------------------------------------------------------------------------------------------------------- parsing


def test_all_nameservers_in_order() -> None:
    text = "nameserver 192.0.2.1\nnameserver 2001:db8::1\n\tnameserver\t192.0.2.2  \nnameserver 192.0.2.3\n"
    assert parse(text).servers == servers("192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3")


def test_a_scoped_address_keeps_its_scope() -> None:
    (server,) = parse("nameserver fe80::1%eth0").servers
    assert str(server.address) == "fe80::1%eth0"


@pytest.mark.parametrize(
    "line",
    [
        "# nameserver 192.0.2.9",
        "; nameserver 192.0.2.9",
        "#nameserver 192.0.2.9",
        "nameserver",
        "nameserver no.address",
        "nameservers 192.0.2.9",
        "Nameserver 192.0.2.9",
        "search nameserver 192.0.2.9",
        "\0\xff",
        "",
    ],
)
def test_what_is_no_nameserver_is_passed_over(line: str) -> None:
    assert parse(f"{line}\nnameserver 192.0.2.1\n").servers == servers("192.0.2.1")


def test_a_remark_after_the_address_is_passed_over() -> None:
    assert parse("nameserver 192.0.2.1 # home\r\n").servers == servers("192.0.2.1")


def test_a_server_named_twice_is_one() -> None:
    assert parse("nameserver 192.0.2.1\nnameserver 192.0.2.1\n").servers == servers("192.0.2.1")


def test_their_number_is_limited() -> None:
    assert len(parse("\n".join(f"nameserver 192.0.2.{last}" for last in range(100))).servers) == MAX_SERVERS


def test_none_means_the_hosts_own() -> None:
    assert parse("search example.org\n").servers == (LOOPBACK,)
    assert Endpoint.of("127.0.0.1", 53) == LOOPBACK


@pytest.mark.parametrize(
    ("options", "timeout_seconds", "attempts"),
    [
        ("timeout:3 attempts:4", 3, 4),
        ("rotate timeout:2 edns0", 2, 2),
        ("timeout:0 attempts:0", 1, 1),
        ("timeout:600 attempts:99999999999999999999", 5, 5),
        ("timeout:x attempts:-1 timeout: attempts", 1.5, 2),
        ("timeout:\N{SUPERSCRIPT TWO}", 1.5, 2),
        ("", 1.5, 2),
    ],
)
def test_options_are_honoured_within_limits(options: str, timeout_seconds: float, attempts: int) -> None:
    read = parse(f"options {options}\n")
    assert (read.timeout_ns, read.attempts) == (int(timeout_seconds * SECOND_NS), attempts)


def test_the_last_option_counts() -> None:
    assert parse("options timeout:2\noptions timeout:4\n").timeout_ns == 4 * SECOND_NS


@given(st.text(max_size=300))
def test_no_text_raises_or_gives_no_server(text: str) -> None:
    read = parse(text + "\nnameserver " + text)
    assert read.servers
    assert 1 <= read.attempts <= 5


# ----------------------------------------------------------------------------------------------------------- watching


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "resolv.conf"
    made.write_text("nameserver 192.0.2.1\n")
    return made


def test_the_file_is_read_once_while_it_stays_as_it_is(path: Path) -> None:
    resolvers = Resolvers(str(path))
    for moment in range(10):
        assert resolvers.current(moment * CHECK_NS).servers == servers("192.0.2.1")
    assert resolvers.reads == 1


def test_a_change_is_noticed_but_not_within_the_second(path: Path) -> None:
    resolvers = Resolvers(str(path))
    resolvers.current(0)
    path.write_text("nameserver 192.0.2.22\n")
    assert resolvers.current(CHECK_NS - 1).servers == servers("192.0.2.1")
    assert resolvers.current(CHECK_NS).servers == servers("192.0.2.22")


def test_a_change_of_the_same_length_is_noticed_by_its_time(path: Path) -> None:
    resolvers = Resolvers(str(path))
    resolvers.current(0)
    before = path.stat()
    path.write_text("nameserver 192.0.2.2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert resolvers.current(CHECK_NS).servers == servers("192.0.2.2")


def test_a_file_replaced_by_one_of_the_same_length_and_time_is_noticed(path: Path) -> None:
    resolvers = Resolvers(str(path))
    resolvers.current(0)
    other = path.with_name("other")
    other.write_text("nameserver 192.0.2.2\n")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert resolvers.current(CHECK_NS).servers == servers("192.0.2.2")


def test_a_symbolic_link_that_leads_elsewhere_is_noticed(path: Path) -> None:
    link, other = path.with_name("link"), path.with_name("other")
    other.write_text("nameserver 192.0.2.2\n")
    link.symlink_to(path)
    resolvers = Resolvers(str(link))
    assert resolvers.current(0).servers == servers("192.0.2.1")
    link.unlink()
    link.symlink_to(other)
    assert resolvers.current(CHECK_NS).servers == servers("192.0.2.2")


def test_a_file_that_goes_and_comes_back(path: Path) -> None:
    resolvers = Resolvers(str(path))
    resolvers.current(0)
    path.unlink()
    assert resolvers.current(CHECK_NS).servers == (LOOPBACK,)
    assert resolvers.current(2 * CHECK_NS).servers == (LOOPBACK,)
    path.write_text("nameserver 192.0.2.3\n")
    assert resolvers.current(3 * CHECK_NS).servers == servers("192.0.2.3")


@pytest.mark.parametrize("kind", ["missing", "empty", "folder"])
def test_without_a_usable_file_the_hosts_own(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "resolv.conf"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    resolvers = Resolvers(str(path))
    assert resolvers.current(0) == ResolverSet((LOOPBACK,))
    assert resolvers.current(CHECK_NS) == ResolverSet((LOOPBACK,))


def test_chosen_servers_are_used_and_no_file_is_read(path: Path) -> None:
    chosen = (Endpoint.of("192.0.2.77", 5353),)
    resolvers = Resolvers(str(path), chosen)
    assert resolvers.current(0).servers == chosen
    assert resolvers.current(10 * CHECK_NS).servers == chosen
    assert resolvers.reads == 0
