"""What options get wrong together.  Where QEMU has the rule, its words are what QEMU 7.2 was seen to say."""

import pytest

from pyslirp.config.qemu import parse_options
from pyslirp.errors import ConfigErrors


def errors_of(options: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse_options(options)
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("ipv4=off,ipv6=off", "ipv4=off: IPv4 and IPv6 disabled"),
        ("host=10.0.3.1", "host=10.0.3.1: Host doesn't belong to network (which is 10.0.2.0/24)"),
        ("host=010.0.2.9", "host=8.0.2.9: Host doesn't belong to network (which is 10.0.2.0/24)"),  # 010 is octal
        ("dns=8.8.8.8,restrict=on", "dns=8.8.8.8: DNS doesn't belong to network (which is 10.0.2.0/24)"),
        ("dns=10.0.2.2", "dns=10.0.2.2: DNS must be different from host"),
        ("host=10.0.2.3", "dns=10.0.2.3: DNS must be different from host (the default in 10.0.2.0/24)"),
        ("dhcpstart=10.0.3.15", "dhcpstart=10.0.3.15: DHCP doesn't belong to network (which is 10.0.2.0/24)"),
        ("dhcpstart=10.0.2.2", "dhcpstart=10.0.2.2: DHCP must be different from host and DNS"),
        ("dhcpstart=10.0.2.3", "dhcpstart=10.0.2.3: DHCP must be different from host and DNS"),
        (
            "host=10.0.2.15",
            "dhcpstart=10.0.2.15: DHCP must be different from host and DNS (the default in 10.0.2.0/24)",
        ),
    ],
)
def test_qemus_rules_for_ipv4(options: str, error: str) -> None:
    assert errors_of(options) == [error]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("ipv6-host=fec1::2", "ipv6-host=fec1::2: IPv6 Host doesn't belong to network (which is fec0::/64)"),
        ("ipv6-host=::2", "ipv6-host=::2: IPv6 Host doesn't belong to network (which is fec0::/64)"),
        ("ipv6-dns=fec1::3,restrict=on", "ipv6-dns=fec1::3: IPv6 DNS doesn't belong to network (which is fec0::/64)"),
        # ours: QEMU takes what follows, and has no mtu=
        ("mtu=1279", "mtu=1279: IPv6 needs an MTU of 1280 bytes at least (or ipv6=off)"),
        ("ipv6-dns=fec0::2", "ipv6-dns=fec0::2: IPv6 DNS must be different from host"),
        ("ipv6-host=fec0::3", "ipv6-dns=fec0::3: IPv6 DNS must be different from host (the default in fec0::/64)"),
        ("ipv6-dhcpstart=::1", "ipv6-dhcpstart=::1: DHCPv6 doesn't belong to network (which is fec0::/64)"),
        ("ipv6-dhcpstart=fec0::2", "ipv6-dhcpstart=fec0::2: DHCPv6 must be different from host and DNS"),
        ("ipv6-dhcpstart=fec0::3", "ipv6-dhcpstart=fec0::3: DHCPv6 must be different from host and DNS"),
        (
            "ipv6-host=fec0::15",
            "ipv6-dhcpstart=fec0::15: DHCPv6 must be different from host and DNS (the default in fec0::/64)",
        ),
        ("ipv6-host=fec0::", "ipv6-host=fec0::: this is the subnet-router anycast address of fec0::/64"),
        ("ipv6-dns=fec0::", "ipv6-dns=fec0::: this is the subnet-router anycast address of fec0::/64"),
        ("ipv6-dhcpstart=fec0::", "ipv6-dhcpstart=fec0::: this is the subnet-router anycast address of fec0::/64"),
    ],
)
def test_rules_for_ipv6(options: str, error: str) -> None:
    assert errors_of(f"ipv4=on,ipv6=on,{options}") == [error]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("ipv6=on,host=10.0.2.2", "ipv4=off: IPv4 disabled but netmask/host/dns provided"),
        ("ipv6,net=10.0.2.0/24", "ipv4=off: IPv4 disabled but netmask/host/dns provided"),
        ("noipv4,ipv6,ip=10.0.2.0", "ipv4=off: IPv4 disabled but netmask/host/dns provided"),
        ("ipv4=off,ipv6=on,dns=10.0.2.3", "ipv4=off: IPv4 disabled but netmask/host/dns provided"),
        ("ipv4=on,ipv6-host=fec0::2", "ipv6=off: IPv6 disabled but prefix/host6/dns6 provided"),
        ("ipv6=off,ipv6-dns=fec0::3", "ipv6=off: IPv6 disabled but prefix/host6/dns6 provided"),
        ("noipv6,ipv6-prefix=fec0::", "ipv6=off: IPv6 disabled but prefix/host6/dns6 provided"),
        ("ipv6=off,ipv6-net=fec0::/64", "ipv6=off: IPv6 disabled but prefix/host6/dns6 provided"),
        ("noipv4,noipv6", "ipv4=off: IPv4 and IPv6 disabled"),
    ],
)
def test_qemus_rules_about_families_that_are_off(options: str, error: str) -> None:
    assert errors_of(options) == [error]


@pytest.mark.parametrize(
    ("options", "families"),
    [
        ("ipv4=on", (True, False)),
        ("ipv6=on", (False, True)),
        ("ipv6", (False, True)),
        ("ipv4=on,ipv6=on", (True, True)),
        ("ipv6=off", (True, False)),
        ("noipv6", (True, False)),
        ("noipv6,ipv6-prefixlen=56", (True, False)),  # QEMU does not mind either
        ("ipv4=off,ipv6=on", (False, True)),
        ("ipv4=on,ipv6=off", (True, False)),
        ("mtu=1279", (True, False)),  # not even by default
    ],
)
def test_one_family_alone_that_is_on_is_alone(options: str, families: tuple[bool, bool]) -> None:
    network = parse_options(options).network
    assert (network.ipv4, network.ipv6) == families


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("host=10.0.2.0", "host=10.0.2.0: this is the network address of 10.0.2.0/24"),
        ("host=10.0.2.255", "host=10.0.2.255: this is the broadcast address of 10.0.2.0/24"),
        ("dns=10.0.2.255", "dns=10.0.2.255: this is the broadcast address of 10.0.2.0/24"),
        ("dhcpstart=10.0.2.0", "dhcpstart=10.0.2.0: this is the network address of 10.0.2.0/24"),
        ("dhcpstart=10.0.2.255", "dhcpstart=10.0.2.255: this is the broadcast address of 10.0.2.0/24"),
        (
            "net=10.0.2.0/30,host=10.0.2.2,dns=8.8.8.8,dhcpstart=10.0.2.2",
            "dhcpstart=10.0.2.2: DHCP must be different from host and DNS",
        ),
    ],
)
def test_addresses_that_cannot_work(options: str, error: str) -> None:
    assert errors_of(options) == [error]


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        ("10.0.2.0/32", "DNS must be different from host"),
        ("10.0.2.0/31", "DHCP must be different from host and DNS"),
        ("10.0.2.0/30", "DHCP must be different from host and DNS"),
    ],
)
def test_nets_too_small_are_refused_as_by_qemu(net: str, reason: str) -> None:
    errors = errors_of(f"net={net}")
    assert any(reason in error for error in errors)
    assert (f"net={net}: there is no room for a guest (at most /30)" in errors) == (net != "10.0.2.0/30")


@pytest.mark.parametrize(
    ("lease", "reason"),
    [
        ("52:54:00:12:34:56=10.0.3.1", "10.0.3.1 doesn't belong to network 10.0.2.0/24"),
        ("52:54:00:12:34:56=10.0.2.2", "10.0.2.2 is the host's address"),
        ("52:54:00:12:34:56=10.0.2.3", "10.0.2.3 is the DNS address"),
        ("52:54:00:12:34:56=10.0.2.0", "10.0.2.0 is the network address of 10.0.2.0/24"),
        ("52:54:00:12:34:56=10.0.2.255", "10.0.2.255 is the broadcast address of 10.0.2.0/24"),
        ("52:54:00:00:00:01=10.0.2.51", "another dhcp-host has this MAC or IPv4 address already"),
        ("52:54:00:12:34:56=10.0.2.50", "another dhcp-host has this MAC or IPv4 address already"),
    ],
)
def test_static_leases(lease: str, reason: str) -> None:
    assert errors_of(f"dhcp-host=52:54:00:00:00:01=10.0.2.50,dhcp-host={lease}") == [f"dhcp-host={lease}: {reason}"]


@pytest.mark.parametrize(
    ("lease", "reason"),
    [
        ("52:54:00:12:34:56=fec1::1", "fec1::1 doesn't belong to network fec0::/64"),
        ("52:54:00:12:34:56=fec0::2", "fec0::2 is the host's address"),
        ("52:54:00:12:34:56=fec0::3", "fec0::3 is the DNS address"),
        ("52:54:00:12:34:56=fec0::", "fec0:: is the subnet-router anycast address of fec0::/64"),
        ("52:54:00:00:00:01=fec0::51", "another dhcp-host has this MAC or IPv6 address already"),
        ("52:54:00:12:34:56=fec0::50", "another dhcp-host has this MAC or IPv6 address already"),
        ("52:54:00:12:34:56=10.0.2.50", "IPv4 is off"),
    ],
)
def test_static_leases_of_ipv6(lease: str, reason: str) -> None:
    options = f"ipv6=on,dhcp-host=52:54:00:00:00:01=fec0::50,dhcp-host={lease}"
    assert errors_of(options) == [f"dhcp-host={lease}: {reason}"]


def test_a_guest_may_have_a_static_lease_of_each_family() -> None:
    both = "dhcp-host=52:54:00:00:00:01=10.0.2.50,dhcp-host=52:54:00:00:00:01=fec0::50"
    dhcp = parse_options(f"ipv4=on,ipv6=on,{both}").dhcp
    assert [str(address) for address in (*dhcp.leases.values(), *dhcp.leases6.values())] == ["10.0.2.50", "fec0::50"]


@pytest.mark.parametrize(
    ("rule", "printed", "reason"),
    [
        ("::80-10.0.3.1:80", "tcp::80-10.0.3.1:80", "10.0.3.1 doesn't belong to network 10.0.2.0/24"),
        ("::80-10.0.2.2:80", "tcp::80-10.0.2.2:80", "10.0.2.2 is the host's address"),
        ("::80-10.0.2.3:80", "tcp::80-10.0.2.3:80", "10.0.2.3 is the DNS address"),
        ("::80-10.0.2.255:80", "tcp::80-10.0.2.255:80", "10.0.2.255 is the broadcast address of 10.0.2.0/24"),
        ("::80-[fec1::1]:80", "tcp::80-[fec1::1]:80", "fec1::1 doesn't belong to network fec0::/64"),
        ("::80-[fec0::2]:80", "tcp::80-[fec0::2]:80", "fec0::2 is the host's address"),
        ("::80-[fec0::]:80", "tcp::80-[fec0::]:80", "fec0:: is the subnet-router anycast address of fec0::/64"),
    ],
)
def test_rules_lead_to_guests(rule: str, printed: str, reason: str) -> None:
    invalid = f"Invalid host forwarding rule '{printed}' (Bad guest address)"
    assert errors_of(f"ipv4=on,ipv6=on,hostfwd={rule}") == [f"hostfwd={printed}: {invalid} ({reason})"]


@pytest.mark.parametrize(
    ("options", "printed", "reason"),
    [
        ("ipv6=on,hostfwd=::80-10.0.2.15:80", "tcp::80-10.0.2.15:80", "IPv4 is off"),
        ("ipv4=on,hostfwd=::80-[fec0::15]:80", "tcp::80-[fec0::15]:80", "IPv6 is off"),
    ],
)
def test_rules_lead_to_a_family_that_is_on(options: str, printed: str, reason: str) -> None:
    invalid = f"Invalid host forwarding rule '{printed}' (Bad guest address)"
    assert errors_of(options) == [f"hostfwd={printed}: {invalid} ({reason})"]


def test_two_rules_cannot_have_one_port_of_the_host() -> None:
    second = "tcp::80-10.0.2.15:81"
    assert errors_of("hostfwd=::80-:80,hostfwd=::80-:81") == [
        f"hostfwd={second}: Could not set up host forwarding rule '{second}' (another rule has tcp::80 already)"
    ]


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        ("tcp::80-82-10.0.2.15:80-82", "tcp::82-10.0.2.15:22", "tcp::82"),
        ("tcp::81-10.0.2.15:81", "tcp::80-90-10.0.2.15:80-90", "tcp::81"),
        ("unix:/run/x-10.0.2.15:81", "unix:/run/x-10.0.2.15:82", "unix:/run/x"),
    ],
)
def test_ranges_and_sockets_of_two_rules_do_not_meet(first: str, second: str, key: str) -> None:
    assert errors_of(f"hostfwd={first},hostfwd={second}") == [
        f"hostfwd={second}: Could not set up host forwarding rule '{second}' (another rule has {key} already)"
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("tcp:10.0.3.4:80-cmd:cat", "10.0.3.4 doesn't belong to network 10.0.2.0/24"),
        ("tcp:10.0.2.0:80-cmd:cat", "10.0.2.0 is no host's address in 10.0.2.0/24"),
        ("tcp:10.0.2.255:80-cmd:cat", "10.0.2.255 is no host's address in 10.0.2.0/24"),
        (
            "udp:10.0.2.3:53-udp:127.0.0.1:53",
            "the name server answers at 10.0.2.3; give dns-forward=off, or another address",
        ),
        ("tcp:10.0.2.50:80-cmd:cat", "10.0.2.50 is kept for a guest by dhcp-host"),
        ("tcp:[fec1::4]:80-cmd:cat", "fec1::4 doesn't belong to network fec0::/64"),
        ("tcp:10.0.2.4:7-cmd:cat", "another rule has tcp:10.0.2.4:7 already"),
    ],
)
def test_where_nothing_can_answer_guests(rule: str, reason: str) -> None:
    options = f"dhcp-host=52:54:00:12:34:56=10.0.2.50,guestfwd=::7-cmd:true,guestfwd={rule}"
    invalid = f"Conflicting/invalid host:port in guest forwarding rule '{rule}'"
    assert errors_of(options) == [f"guestfwd={rule}: {invalid} ({reason})"]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ("10.0.3.4", "10.0.3.4 doesn't belong to network 10.0.2.0/24"),
        ("10.0.2.255", "10.0.2.255 is no host's address in 10.0.2.0/24"),
        ("10.0.2.50", "10.0.2.50 is kept for a guest by dhcp-host"),
        ("10.0.2.100", "a guestfwd rule has tcp:10.0.2.100:445"),
    ],
)
def test_where_there_can_be_no_file_server(server: str, reason: str) -> None:
    others = "dhcp-host=52:54:00:12:34:56=10.0.2.50,guestfwd=tcp:10.0.2.100:445-cmd:cat"
    wrong = [f"smbserver={server}: Conflicting/invalid smbserver address ({reason})"]
    assert errors_of(f"smb=/srv,smbserver={server},{others}") == wrong
    parse_options(f"smbserver={server},{others}")  # it is not used


@pytest.mark.parametrize(
    "options",
    [
        "guestfwd=tcp:10.0.2.2:80-cmd:cat,guestfwd=tcp:10.0.2.3:80-cmd:cat",  # as in libslirp since e2659110
        "dns=8.8.8.8",  # announced, not answered here
        "net=10.0.2.0/28",
        "net=10.0.2.0/29",
        "net=10.0.2.0/30,host=10.0.2.2,dns=8.8.8.8,dhcpstart=10.0.2.1",
        "net=10.0.2.4/30,host=10.0.2.5,dns=8.8.8.8,dhcpstart=10.0.2.6",
        "dhcpstart=10.0.2.254",
        "host=10.0.2.254,dns=8.8.8.8,dhcpstart=10.0.2.253",
        "hostfwd=::0-:80,hostfwd=::0-:80,hostfwd=udp::0-:80",  # 0: each gets a port of its own
        "hostfwd=::80-:80,hostfwd=udp::80-:80,hostfwd=:127.0.0.1:80-:80,hostfwd=:[::]:80-:80",
        "dhcp-host=52:54:00:12:34:56=10.0.2.4",  # before dhcpstart
        "dhcp-host=52:54:00:12:34:56=10.0.2.15,hostfwd=::80-:80",
        "dns=10.0.2.253,host=10.0.2.254,dhcpstart=10.0.2.252",
        "ipv6=on,ipv6-dns=2001:db8::1",  # announced, not answered here
        "ipv6=on,ipv6-net=fd00::/126",
        "ipv6=on,ipv6-net=fd00::8/125",
        "ipv6=on,ipv6-net=fd00::5/48,ipv6-host=fd00::5,hostfwd=tcp:[::1]:80-[fd00:0:0:7::9]:80",
        "ipv4=on,ipv6=on,hostfwd=::80-[fec0::15]:80,hostfwd=udp:[::]:80-[fec0::15]:80,hostfwd=:[::1]:80-:80",
        "host=10.0.2.253,dns=10.0.2.254,dhcpstart=10.0.2.252,dhcp-host=52:54:00:12:34:56=10.0.2.252",
    ],
)
def test_what_works(options: str) -> None:
    parse_options(options)


def test_nothing_is_said_of_what_could_not_be_read() -> None:
    assert errors_of("net=x,host=192.168.1.1,dns=192.168.1.2,dhcpstart=192.168.1.3,hostfwd=::1-192.168.1.9:1") == [
        "net=x: Failed to parse netmask"
    ]
    assert errors_of("ip=x,host=192.168.1.1") == ["ip=x: Failed to parse netmask (use net=ADDR/LENGTH)"]
    assert errors_of("host=x,dns=10.0.2.2") == ["host=x: Failed to parse host"]


def test_nothing_is_said_of_a_prefix_that_could_not_be_read() -> None:
    assert errors_of("ipv6=on,ipv6-net=x,ipv6-host=fd00::2,ipv6-dns=fd00::3,hostfwd=::1-[fd00::9]:1") == [
        "ipv6-net=x: Failed to parse IPv6 prefix"
    ]
    assert errors_of("ipv6=on,ipv6-prefix=x,ipv6-host=fd00::2") == ["ipv6-prefix=x: Failed to parse IPv6 prefix"]
    assert errors_of("ipv6=x,ipv6-host=fec0::9") == ["ipv6=x: Parameter 'ipv6' expects 'on' or 'off'"]


def test_errors_of_every_kind_come_together() -> None:
    options = "mtu=1,host=9.9.9.9,bogus=1,hostfwd=x,hostfwd=::1-:1,hostfwd=::1-:2,dhcpstart=8.8.8.8"
    found = [error.partition(":")[0] for error in errors_of(options)]
    assert found == ["mtu=1", "bogus", "hostfwd=x", "host=9.9.9.9", "dhcpstart=8.8.8.8", "hostfwd=tcp"]


def test_a_wrong_pool_is_not_told_again_for_each_rule() -> None:
    assert len(errors_of("dhcpstart=8.8.8.8,hostfwd=::1-:1,hostfwd=::2-:2")) == 1
