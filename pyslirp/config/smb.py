"""The folder that guests find as share ``qemu`` of the file server, served by the host's Samba (``smb=DIR,smbserver=ADDR``)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from pyslirp.config.network import DEFAULT_NET, address_in
from pyslirp.config.values import validate
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

PORTS = (139, 445)  #: NetBIOS session service, and SMB over TCP


def default_server(net: IPv4Network) -> IPv4Address:
    """The file server's address where none is given: .4 in a /24."""
    return address_in(net, 0x0204)


DEFAULT_SERVER = default_server(DEFAULT_NET)


def check_folder(folder: str | None) -> None:
    """What can stand in a line of smb.conf."""
    if folder is not None and (not folder or any(letter in folder for letter in '\0\n\r"')):
        raise ConfigError("smb", folder, f"Error accessing shared directory '{folder}'", "this is no folder's name")


@dataclass(frozen=True, slots=True)
class SmbConfig:
    """The file server.  Raises ConfigErrors for a field that cannot work by itself."""

    folder: str | None = None  #: None: there is none
    server: IPv4Address = DEFAULT_SERVER

    def __post_init__(self) -> None:
        """Refuse what one field alone has wrong."""
        validate((check_folder, self.folder))
