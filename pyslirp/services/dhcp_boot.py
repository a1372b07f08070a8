"""What DHCP tells a client that boots from the network (RFC 951, RFC 2132 sections 9.4 and 9.5, RFC 4578, PXE 2.1).

The boot file's name stands in the `file` field, where every client finds it, and in option 67 for who asks for it or
when the field is too short; the server's address in `siaddr`, its name in option 66.  A boot file that is an http or https
URL comes with the vendor class HTTPClient, without which UEFI does not take it (UEFI 2.10 section 24.7.3); the machine's
UUID goes back as it came (RFC 4578 section 2.3).

The vendor class PXEClient is never sent: it would make a client look for boot servers by PXE's discovery rather than
take the file that is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from pyslirp.records import dataclass, field
from pyslirp.services.dhcp_message import FILE_BYTES, Option, Request

HTTP_CLIENT = b"HTTPClient"
IPXE = b"iPXE"  #: in the user class (option 77) of an iPXE


@dataclass(frozen=True, slots=True)
class BootSettings:
    """What there is to boot from."""

    bootfile: str | None = None
    by_architecture: Mapping[int, str] = field(default_factory=dict)  #: before `bootfile`; numbers of option 93
    for_ipxe: str | None = None  #: before both
    server: IPv4Address | None = None  #: siaddr; None: the gateway's
    server_name: str | None = None  #: option 66


@dataclass(frozen=True, slots=True)
class Boot:
    """What one client is told."""

    file: bytes = b""  #: the field, at most FILE_BYTES - 1
    options: tuple[tuple[int, bytes], ...] = ()  #: that it gets whether it asks for them or not
    asked: dict[int, bytes] = field(default_factory=dict)  #: for who asks


def boot_for(settings: BootSettings, request: Request) -> Boot:
    """What `request`'s sender is told."""
    name = _bootfile(settings, request)
    encoded = name.encode("utf-8", "surrogateescape") if name is not None else b""
    short = len(encoded) < FILE_BYTES
    options: list[tuple[int, bytes]] = []
    asked: dict[int, bytes] = {}
    if settings.server_name is not None:
        asked[Option.TFTP_SERVER_NAME] = settings.server_name.encode("utf-8", "surrogateescape")
    if encoded and short:
        asked[Option.BOOTFILE_NAME] = encoded
    elif encoded:
        options.append((Option.BOOTFILE_NAME, encoded))
    if encoded.lower().startswith((b"http://", b"https://")):
        options.append((Option.VENDOR_CLASS, HTTP_CLIENT))
    if machine := request.options.get(Option.CLIENT_MACHINE_ID):
        options.append((Option.CLIENT_MACHINE_ID, machine))
    return Boot(encoded if short else b"", tuple(options), asked)


def _bootfile(settings: BootSettings, request: Request) -> str | None:
    if settings.for_ipxe is not None and IPXE in request.options.get(Option.USER_CLASS, b""):
        return settings.for_ipxe
    listed = request.options.get(Option.CLIENT_ARCHITECTURE, b"")
    for at in range(0, len(listed) - 1, 2):
        name = settings.by_architecture.get(int.from_bytes(listed[at : at + 2], "big"))
        if name is not None:
            return name
    return settings.bootfile
