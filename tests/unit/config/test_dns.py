"""The name server, search list and resolvers, by themselves."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from pyslirp.addresses import Endpoint
from pyslirp.config.dns import DnsConfig, check_search, check_upstream, default_dns, parse_upstream
from pyslirp.errors import ConfigError, ConfigErrors


def test_default_dns_follows_the_net() -> None:
    assert default_dns(IPv4Network("192.168.76.0/24")) == IPv4Address("192.168.76.3")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("9.9.9.9", "9.9.9.9:53"),
        ("9.9.9.9:5353", "9.9.9.9:5353"),
        ("127.1", "127.0.0.1:53"),
        ("2620:fe::fe", "[2620:fe::fe]:53"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:5353", "[::1]:5353"),
    ],
)
def test_upstream_reads_and_prints(text: str, printed: str) -> None:
    server = parse_upstream(text)
    check_upstream(server)
    assert str(server) == printed
    assert parse_upstream(printed) == server


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        ("dns.example", "'dns.example' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        (":53", "'' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        ("[::1", "'[::1' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        ("[::1]53", "'[::1]53' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        ("[9.9.9.9]:53", "'[9.9.9.9]:53' is not an IP address (write ADDR, ADDR:PORT or [V6]:PORT)"),
        ("9.9.9.9:", "'' is not a port"),
        ("9.9.9.9:dns", "'dns' is not a port"),
        ("[::1]:", "'' is not a port"),
    ],
)
def test_upstream_refuses_what_it_cannot_read(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_upstream(text)
    assert str(caught.value) == f"dns-upstream={text}: {reason}"


@pytest.mark.parametrize(
    ("text", "printed", "reason"),
    [
        ("9.9.9.9:0", "9.9.9.9:0", "a port is a number from 1 to 65535"),
        ("9.9.9.9:65536", "9.9.9.9:65536", "a port is a number from 1 to 65535"),
        ("0.0.0.0", "0.0.0.0:53", "0.0.0.0 is not the address of one server"),
        ("224.0.0.251", "224.0.0.251:53", "224.0.0.251 is not the address of one server"),
        ("255.255.255.255", "255.255.255.255:53", "255.255.255.255 is not the address of one server"),
        ("::", "[::]:53", ":: is not the address of one server"),
        ("fe80::1%eth0", "[fe80::1%eth0]:53", "an address with a zone is not supported"),
    ],
)
def test_upstream_refuses_what_cannot_be_asked(text: str, printed: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_upstream(parse_upstream(text))
    assert str(caught.value) == f"dns-upstream={printed}: {reason}"


@pytest.mark.parametrize(
    "domain", ["a", "example.org", "example.org.", "a" * 63, ".".join(["a" * 62] * 4), "xn--bcher-kva"]
)
def test_search_takes_domain_names(domain: str) -> None:
    check_search(domain)


@pytest.mark.parametrize(
    "domain", ["", ".", "a..b", ".a", "a..", "a" * 64, ".".join(["a" * 62] * 4) + ".bb", ".".join(["a"] * 128), "a\0b"]
)
def test_search_refuses_in_libslirps_words(domain: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_search(domain)
    assert str(caught.value) == f"dnssearch={domain}: failed to parse domain name '{domain}'"


def test_search_wants_ascii() -> None:
    with pytest.raises(ConfigError, match=r"failed to parse domain name 'bücher' \(write its xn-- form\)"):
        check_search("bücher")


def test_a_section_refuses_at_construction_everything_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        DnsConfig(search=("ok", "a..b"), upstream=(Endpoint.of("9.9.9.9", 53), Endpoint.of("9.9.9.9", 0)))
    assert [error.option for error in caught.value.errors] == ["dnssearch", "dns-upstream"]
