"""What guests boot from: the folder that TFTP serves, and which file of it (or URL) DHCP names.

``bootfile=`` is for every guest; ``bootfile-for=CLIENT=NAME`` for those of one kind, which is an architecture as the
client tells it (DHCP option 93, RFC 4578 section 2.1; the numbers are IANA's, RFC 5970 section 3.3), or ``ipxe``: an iPXE,
whatever it runs on, so that a ROM can load an iPXE and that one go on with another file.
"""

from __future__ import annotations

from pyslirp.config.values import choice_hint, text_bytes, validate
from pyslirp.errors import ConfigError
from pyslirp.records import dataclass

MAX_SERVER_NAME_BYTES = 255  #: what the length byte of a DHCP option can say
MAX_BOOTFILE_BYTES = 1024  #: of a URL, say; libslirp ends at 128
IPXE = "ipxe"

ARCHITECTURES = {
    "bios": (0,),
    "efi-ia32": (6,),
    "efi64": (7, 9),  # 9 is x86-64 by an older reading of the list, which firmware has followed both ways
    "efi-arm32": (10,),
    "efi-arm64": (11,),
    "efi-riscv32": (25,),
    "efi-riscv64": (27,),
    "http-efi-ia32": (15,),
    "http-efi64": (16,),
    "http-efi-arm32": (18,),
    "http-efi-arm64": (19,),
    "http-efi-riscv64": (28,),
}


@dataclass(frozen=True, slots=True)
class ClientBootfile:
    """The boot file of one kind of clients."""

    client: str  #: one of ARCHITECTURES, IPXE, or a number of IANA's list
    name: str

    def __post_init__(self) -> None:
        """Raises ConfigError for a kind of clients that is not known."""
        if self.client not in (*ARCHITECTURES, IPXE) and not self.client.isdecimal():
            hint = choice_hint(self.client, [*ARCHITECTURES, IPXE]) or f"one of {', '.join(ARCHITECTURES)}, {IPXE}"
            raise ConfigError("bootfile-for", self, f"'{self.client}' is no kind of client", hint)
        _check_name("bootfile-for", self.name)

    def __str__(self) -> str:
        return f"{self.client}={self.name}"

    @property
    def architectures(self) -> tuple[int, ...]:
        """IANA's numbers; none of IPXE."""
        return (int(self.client),) if self.client.isdecimal() else ARCHITECTURES.get(self.client, ())

    @classmethod
    def parse(cls, text: str) -> ClientBootfile:
        """``efi64=ipxe.efi``; raises ConfigError."""
        client, equals, name = text.partition("=")
        if not equals:
            raise ConfigError("bootfile-for", text, "no file is named", "write CLIENT=NAME")
        return cls(client, name)


def parse_text(text: str) -> str | None:
    """An option with nothing behind it is as if it were not given."""
    return text or None


def _check_name(option: str, name: str) -> None:
    if not name or "\0" in name:
        raise ConfigError(option, name, "this is no file's name")
    if len(text_bytes(name)) > MAX_BOOTFILE_BYTES:
        raise ConfigError(option, name, f"'{option}' parameter cannot exceed {MAX_BOOTFILE_BYTES} bytes")


def check_bootfile(name: str | None) -> None:
    """What DHCP can carry.  (QEMU ends at 127 bytes, with an assertion.)"""
    if name is not None:
        _check_name("bootfile", name)


def check_server_name(name: str | None) -> None:
    """QEMU's limit and words."""
    if name is None:
        return
    if len(text_bytes(name)) > MAX_SERVER_NAME_BYTES:
        raise ConfigError(
            "tftp-server-name", name, f"'tftp-server-name' parameter cannot exceed {MAX_SERVER_NAME_BYTES} bytes"
        )
    if not name or "\0" in name:
        raise ConfigError("tftp-server-name", name, "this is no server's name")


def check_tftp(folder: str | None) -> None:
    """As QEMU does, whether it is there is not asked: it may come later."""
    if folder is not None and (not folder or "\0" in folder):
        raise ConfigError("tftp", folder, "this is no folder's name")


@dataclass(frozen=True, slots=True)
class BootConfig:
    """What guests boot from.  Raises ConfigErrors for a field that cannot work by itself."""

    tftp: str | None = None  #: the folder; None: there is no TFTP server
    bootfile: str | None = None  #: a name for the TFTP server, or an http or https URL
    by_client: tuple[ClientBootfile, ...] = ()  #: the first that fits a client, before `bootfile`
    server_name: str | None = (
        None  #: of another TFTP server than this network's: option 66, and siaddr where it is known
    )

    def __post_init__(self) -> None:
        """Refuse what one field alone has wrong."""
        validate(
            (check_tftp, self.tftp),
            (check_bootfile, self.bootfile),
            (check_server_name, self.server_name),
        )
