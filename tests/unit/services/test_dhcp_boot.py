"""What a client that boots from the network is told."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from pyslirp.services.dhcp import DhcpService
from pyslirp.services.dhcp_boot import BootSettings
from tests.unit.services.dhcp_guest import HOST, Guest, Reply, settings

LONG = "http://boot.example.org/" + "x" * 300


def offer(boot: BootSettings, *options: tuple[int, bytes]) -> Reply:
    return Guest(DhcpService(settings(boot=boot))).discover(*options)


def test_a_boot_file_stands_in_the_file_field() -> None:
    reply = offer(BootSettings("/pxelinux.0"))
    assert reply.file == b"/pxelinux.0"
    assert reply.siaddr == HOST
    assert 60 not in reply.options


def test_without_a_boot_file_there_is_none() -> None:
    reply = offer(BootSettings())
    assert reply.file == b""
    assert not reply.options.keys() & {60, 66, 67}


def test_option_67_is_for_who_asks() -> None:
    boot = BootSettings("/pxelinux.0")
    assert offer(boot, (55, bytes([1, 67]))).options[67] == b"/pxelinux.0"
    assert 67 not in offer(boot, (55, bytes([1, 3]))).options
    assert offer(boot).options[67] == b"/pxelinux.0"  # no list: all there is


def test_another_server() -> None:
    reply = offer(BootSettings("x", server=IPv4Address("192.0.2.1"), server_name="boot.example"), (55, b"\x42"))
    assert reply.siaddr == IPv4Address("192.0.2.1")
    assert reply.options[66] == b"boot.example"


@pytest.mark.parametrize(("length", "in_field"), [(127, True), (128, False), (300, False)])
def test_a_name_too_long_for_the_field_is_an_option(length: int, in_field: bool) -> None:
    """libslirp ends with an assertion at 128."""
    name = "x" * length
    reply = offer(BootSettings(name), (57, (1500).to_bytes(2, "big")), (55, b"\1"))
    assert reply.file == (name.encode() if in_field else b"")
    assert reply.options.get(67) == (None if in_field else name.encode())


def test_the_file_field_is_not_for_options_where_it_holds_a_name() -> None:
    search = [f"department-{number}.example{number}.org" for number in range(30)]
    service = DhcpService(settings(boot=BootSettings("/pxelinux.0"), search=search))
    reply = Guest(service).discover((57, (576).to_bytes(2, "big")), (55, bytes([1, 3, 6, 15, 119])))
    assert reply.file == b"/pxelinux.0"
    assert reply.options.get(52, b"\2") == b"\2"


@pytest.mark.parametrize("url", ["http://10.0.2.2/x.efi", "HTTPS://10.0.2.2/x.efi", LONG])
def test_http_boot_is_said_to_be_so(url: str) -> None:
    assert (
        offer(BootSettings(url), (57, b"\5\xdc"), (60, b"HTTPClient:Arch:00016"), (55, b"\1")).options[60] == b"HTTPClient"
    )


def test_the_machines_uuid_goes_back() -> None:
    uuid = b"\0" + bytes(range(16))
    assert offer(BootSettings("x"), (97, uuid), (60, b"PXEClient:Arch:00000"), (55, b"\1")).options[97] == uuid


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ([], b"other"),
        ([(93, b"\0\0")], b"pxelinux.0"),
        ([(93, b"\0\7")], b"ipxe.efi"),
        ([(93, b"\0\x0b\0\7")], b"ipxe.efi"),
        ([(93, b"\0\x0b")], b"other"),
        ([(93, b"\0")], b"other"),
        ([(93, b"\0\0"), (77, b"iPXE")], b"boot.ipxe"),
        ([(93, b"\0\0"), (77, b"\4iPXE")], b"boot.ipxe"),
        ([(77, b"other")], b"other"),
    ],
)
def test_each_kind_of_client_has_its_file(options: list[tuple[int, bytes]], file: bytes) -> None:
    boot = BootSettings("other", {0: "pxelinux.0", 7: "ipxe.efi"}, "boot.ipxe")
    assert offer(boot, *options).file == file


def test_bytes_of_a_command_line_come_through() -> None:
    assert offer(BootSettings("caf\udce9")).file == b"caf\xe9"


@pytest.mark.parametrize("changes", [{"restrict": True}, {"dns_enabled": False}])
def test_booting_works_where_other_things_do_not(changes: dict[str, Any]) -> None:
    reply = Guest(DhcpService(settings(boot=BootSettings("x"), **changes))).discover()
    assert (reply.file, reply.siaddr) == (b"x", HOST)
