"""Option by option: what QEMU's ``-netdev user`` with libslirp does, what is different here, and tests that hold us to it.

Where nothing is different the tests show that it is the same; else they show what stands beside libslirp's.
"""

from __future__ import annotations

from typing import NamedTuple

from pyslirp.host.forward import BACKLOG

CONFIG, SERVICES, UNIT, INTEROP = "tests/unit/config/", "tests/unit/services/", "tests/unit/", "tests/interop/"


class Beside(NamedTuple):
    """One option beside libslirp's."""

    libslirp: str
    ours: str  #: what is different; empty: nothing
    tests: tuple[str, ...]  #: file::function of each


OPTIONS = {
    "id": Beside(
        "needed by -netdev, not by -nic and -net",
        "",
        (CONFIG + "test_qemu.py::test_netdev_is_refused", CONFIG + "test_qemu.py::test_nic_and_net_need_no_id"),
    ),
    "ipv4": Beside(
        "one family that is on, where of the other nothing is said, turns that off",
        "",
        (CONFIG + "test_conflicts.py::test_one_family_alone_that_is_on_is_alone",),
    ),
    "ipv6": Beside(
        "as ipv4",
        "an mtu below 1280 turns it off, unless it is asked for",
        (CONFIG + "test_conflicts.py::test_one_family_alone_that_is_on_is_alone",),
    ),
    "net": Beside(
        "a missing mask is guessed from the address; masks with holes and nets of loopback or multicast are taken",
        "guessed alike; what can have no guests is refused",
        (
            CONFIG + "test_network.py::test_parse_net",
            CONFIG + "test_network.py::test_parse_net_refuses_in_qemus_words",
            CONFIG + "test_network.py::test_no_guest_lives_in_reserved_nets",
        ),
    ),
    "ip": Beside(
        "net=ADDR/24; net= wins over it",
        "",
        (
            CONFIG + "test_network.py::test_parse_ip_is_a_24",
            CONFIG + "test_stack.py::test_net_wins_over_its_legacy_spelling",
        ),
    ),
    "host": Beside(
        "an alias of the host's 127.0.0.1, as is 255.255.255.255; what else is of the net leads to the real network",
        "this one alone; what else is of the net leads nowhere",
        (
            UNIT + "nat/test_targets.py::test_the_host_alias_is_the_hosts_loopback",
            UNIT + "nat/test_targets.py::test_what_is_not_reached",
            UNIT + "nat/test_targets.py::test_no_address_of_the_net_is_let_out",
        ),
    ),
    "ipv6-net": Beside(
        "ipv6-prefix and ipv6-prefixlen in one; 64 where no length is given; fe80::/64 and groups are taken",
        "read alike; what can have no guests is refused",
        (
            CONFIG + "test_ipv6.py::test_parse_prefix",
            CONFIG + "test_ipv6.py::test_parse_prefix_refuses_in_qemus_words",
            CONFIG + "test_ipv6.py::test_no_guest_lives_in_reserved_prefixes",
        ),
    ),
    "ipv6-prefix": Beside(
        "fec0:: where none is given", "", (CONFIG + "test_stack.py::test_the_prefix_and_its_halves",)
    ),
    "ipv6-prefixlen": Beside(
        "64 where none is given, or 0",
        "",
        (CONFIG + "test_stack.py::test_the_prefix_and_its_halves", CONFIG + "test_ipv6.py::test_length_range"),
    ),
    "ipv6-host": Beside(
        "an alias of the host's ::1, as is every other address of the prefix",
        "this one alone, and fe80::2",
        (
            UNIT + "nat/test_targets.py::test_the_host_alias_is_the_hosts_loopback_in_ipv6",
            UNIT + "nat/test_targets.py::test_no_address_of_the_prefix_is_let_out",
        ),
    ),
    "restrict": Beside(
        "DHCPv6 and TFTP over IPv6 are cut off too; fixed from the start",
        "they work; can be set at run time",
        (
            UNIT + "control/test_commands.py::test_dhcp6_works_whatever_restrict_says",
            UNIT + "control/test_commands.py::test_tftp_works_whatever_restrict_says",
            UNIT + "control/test_commands.py::test_restrict_that_is_set_later_ends_what_it_forbids_and_nothing_else",
        ),
    ),
    "dhcpstart": Beside(
        "16 leases; the default is .15 in a /28 and a /29 too, where that is the broadcast address",
        "the pool is the rest of the net; .5 there",
        (
            SERVICES + "test_dhcp.py::test_the_whole_of_a_net_can_be_leased_from_one_link",
            CONFIG + "test_dhcp.py::test_default_start_follows_the_net",
        ),
    ),
    "hostname": Beside(
        "cut to 32 bytes",
        "up to 255 bytes as it is",
        (SERVICES + "test_dhcp_replies.py::test_a_hostname_is_sent_whole",),
    ),
    "domainname": Beside(
        "DHCP option 15, 1 to 255 bytes",
        "",
        (
            SERVICES + "test_dhcp_replies.py::test_all_options_in_order_for_a_client_that_gives_no_list",
            CONFIG + "test_dhcp.py::test_a_domainname_is_not_empty",
            CONFIG + "test_dhcp.py::test_names_up_to_255_bytes",
        ),
    ),
    "dns": Beside(
        "queries go to the first of the host's resolvers of this family",
        "where one fails, to the next; those of IPv6 too",
        (
            SERVICES + "test_dns_exchange.py::test_silence_asks_the_next_and_still_takes_a_late_answer",
            INTEROP + "test_netns_dns.py::test_next_resolver_when_the_first_fails",
            UNIT + "test_service_set.py::test_names_are_resolved",
        ),
    ),
    "ipv6-dns": Beside(
        "queries go to the first of the host's resolvers of this family",
        "as dns; those of IPv4 too",
        (INTEROP + "test_netns_ipv6_configuration.py::test_names_over_ipv6",),
    ),
    "dnssearch": Beside(
        "by DHCP alone; one bad name and the whole list is not sent",
        "by DHCPv6 and router advertisements too; a bad name is an error",
        (
            UNIT + "test_settings.py::test_each_service_has_its_own_part_of_what_is_given",
            SERVICES + "test_dhcp6_replies.py::test_what_is_asked_for_comes_in_the_clients_order",
            SERVICES + "test_router.py::test_the_search_list_is_whole_names_and_zeros",
            CONFIG + "test_dns.py::test_search_refuses_in_libslirps_words",
        ),
    ),
    "tftp": Beside(
        "one block at a time, of 1428 bytes at most; octet; nothing is sent again; tsize wraps at 2 GiB; "
        "symbolic links lead out of DIR",
        "windowsize and timeout; blocks up to the MTU; netascii; what is lost is sent again; tsize of any file; "
        "nothing leads out of DIR",
        (
            SERVICES + "test_tftp.py::test_options_are_granted_in_their_order",
            SERVICES + "test_tftp.py::test_a_window_is_sent_at_once",
            SERVICES + "test_tftp.py::test_a_block_fits_into_a_packet",
            SERVICES + "test_tftp.py::test_netascii_has_no_size",
            SERVICES + "test_tftp.py::test_what_is_not_acknowledged_is_sent_again_and_in_the_end_no_more",
            SERVICES + "test_tftp.py::test_a_size_beyond_4_gib_is_told",
            UNIT + "host/test_files.py::test_nothing_else",
            INTEROP + "test_netns_tftp.py::test_a_client_gets_a_file",
        ),
    ),
    "bootfile": Beside(
        "the same for every client; 127 bytes at most, and no start with more",
        "by architecture with bootfile-for; up to 1024 bytes",
        (
            SERVICES + "test_dhcp_boot.py::test_each_kind_of_client_has_its_file",
            SERVICES + "test_dhcp_boot.py::test_a_name_too_long_for_the_field_is_an_option",
            CONFIG + "test_boot.py::test_a_name_longer_than_qemus_is_taken",
            SERVICES + "test_dhcp6_replies.py::test_the_boot_file_is_that_of_the_clients_architecture",
        ),
    ),
    "tftp-server-name": Beside(
        "DHCP option 66, and siaddr: looked up for each reply, while everything waits",
        "looked up once, before the network starts",
        (
            UNIT + "test_settings.py::test_the_tftp_servers_name_is_looked_up_once",
            SERVICES + "test_dhcp_boot.py::test_another_server",
        ),
    ),
    "smb": Beside(
        "an smbd for each connection to ports 139 and 445, from where QEMU was built to find it; else no start",
        "looked for in PATH and the usual folders",
        (
            UNIT + "host/test_smb.py::test_users_have_no_sbin_in_their_path",
            UNIT + "host/test_smb.py::test_without_samba",
            INTEROP + "test_netns_smb.py::test_a_guest_reads_and_writes_the_share",
        ),
    ),
    "smbserver": Beside("x.x.2.4 where none is given", "", (CONFIG + "test_smb.py::test_its_address",)),
    "hostfwd": Beside(
        "IPv4; unix: in the newest QEMU; one port a rule; backlog 1",
        f"IPv6, unix:, ranges, @ready; backlog {BACKLOG}",
        (
            CONFIG + "test_forward.py::test_a_rule_reads_and_prints",
            INTEROP + "test_netns_ipv6_configuration.py::test_forwards_lead_to_ipv6_guests",
            UNIT + "test_forwards.py::test_a_client_of_a_unix_socket_is_the_gateway_to_the_guest",
            UNIT + "test_forwards.py::test_a_range_listens_at_each_of_its_ports",
            UNIT + "test_forwards.py::test_a_rule_marked_ready_opens_with_the_guests_port_and_closes_with_it",
            UNIT + "host/test_forward.py::test_many_clients_may_wait",
        ),
    ),
    "guestfwd": Beside(
        "a process of cmd: for each connection, one character device for all of them; TCP over IPv4",
        "a target for each connection; UDP and IPv6 too; character devices other than tcp: and unix: are refused",
        (
            UNIT + "test_guestfwd.py::test_a_command_answers_each_connection",
            UNIT + "test_guestfwd.py::test_a_tcp_target_has_a_connection_for_each_of_a_guests",
            UNIT + "test_guestfwd.py::test_a_unix_target",
            UNIT + "test_guestfwd.py::test_a_udp_target",
            INTEROP + "test_netns_guestfwd.py::test_a_command_answers",
            CONFIG + "test_guestfwd.py::test_a_device_that_cannot_serve_is_refused_in_qemus_words",
        ),
    ),
}
