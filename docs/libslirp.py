"""Option by option: what QEMU's ``-netdev user`` with libslirp does, what is different here, and a test that holds us to it."""

from __future__ import annotations

from typing import NamedTuple

C, S, U = "tests/unit/config/", "tests/unit/services/", "tests/unit/"


class Beside(NamedTuple):
    """One option beside libslirp's."""

    libslirp: str
    ours: str  #: what is different; empty: nothing
    test: str  #: file::function


OPTIONS = {
    "id": Beside("needed by -netdev", "", C + "test_network.py::test_identifiers_refused_in_qemus_words"),
    "ipv4": Beside("one family alone on turns the other off", "", C + "test_qemu.py::test_netdev_is_read"),
    "ipv6": Beside("one family alone on turns the other off", "", C + "test_conflicts.py::test_rules_for_ipv6"),
    "net": Beside("a missing mask is guessed", "", C + "test_network.py::test_parse_net_refuses_in_qemus_words"),
    "ip": Beside("legacy: net=ADDR/24", "", C + "test_qemu.py::test_netdev_is_read"),
    "host": Beside(
        "gateway and alias of the host's loopback",
        "",
        U + "nat/test_targets.py::test_the_host_alias_is_the_hosts_loopback",
    ),
    "ipv6-net": Beside(
        "prefix and length in one", "", C + "test_ipv6.py::test_parse_prefix_reads_back_what_a_network_prints"
    ),
    "ipv6-prefix": Beside("fec0::", "", C + "test_conflicts.py::test_rules_for_ipv6"),
    "ipv6-prefixlen": Beside("0 to 126", "", C + "test_conflicts.py::test_rules_for_ipv6"),
    "ipv6-host": Beside("prefix::2", "", U + "nat/test_targets.py::test_the_host_alias_is_the_hosts_loopback_in_ipv6"),
    "restrict": Beside(
        "DHCPv6 and TFTP over IPv6 are cut off too",
        "they work; can be set at run time",
        U + "nat/test_targets.py::test_restrict_may_change",
    ),
    "dhcpstart": Beside(
        "16 leases", "the pool is the rest of the net", C + "test_dhcp.py::test_default_start_follows_the_net"
    ),
    "hostname": Beside("cut to 32 bytes", "not cut", C + "test_dhcp.py::test_an_empty_hostname_is_none"),
    "domainname": Beside("DHCP option 15", "", C + "test_dhcp.py::test_a_domainname_is_not_empty"),
    "dns": Beside(
        "the first of the host's resolvers alone", "all of them", C + "test_dns.py::test_default_dns_follows_the_net"
    ),
    "ipv6-dns": Beside(
        "a resolver of the same family alone",
        "of either",
        U + "nat/test_targets.py::test_a_dns_alias_outside_the_net_is_still_the_dns_alias",
    ),
    "dnssearch": Beside(
        "DHCP alone",
        "DHCPv6 and router advertisements too",
        S + "test_router.py::test_the_search_list_is_whole_names_and_zeros",
    ),
    "tftp": Beside(
        "lock-step, octet, no retransmission, links followed out of DIR",
        "windows, netascii, retransmission, none followed",
        S + "test_tftp_message.py::test_whatever_comes_is_read_or_refused",
    ),
    "bootfile": Beside(
        "the same for every client",
        "by architecture with bootfile-for",
        S + "test_dhcp6_replies.py::test_the_boot_file_is_that_of_the_clients_architecture",
    ),
    "tftp-server-name": Beside(
        "a name is looked up for each reply, blocking", "", S + "test_dhcp_boot.py::test_another_server"
    ),
    "smb": Beside(
        "smbd is started at once for each connection",
        "the same, with a clear message where there is none",
        U + "host/test_smb.py::test_the_command_and_its_configuration",
    ),
    "smbserver": Beside("x.x.2.4", "", C + "test_smb.py::test_what_would_be_something_else_in_smb_conf_is_refused"),
    "hostfwd": Beside(
        "IPv4; backlog 1",
        "IPv6, ranges, unix:, @ready; backlog 1024",
        U + "test_forwards.py::test_a_rule_marked_ready_opens_with_the_guests_port_and_closes_with_it",
    ),
    "guestfwd": Beside(
        "one character device for all connections; TCP over IPv4",
        "a target for each; UDP and IPv6",
        U + "test_guestfwd.py::test_a_command_answers_each_connection",
    ),
}
