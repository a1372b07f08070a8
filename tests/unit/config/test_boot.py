"""What guests boot from, as it is configured."""

from __future__ import annotations

import pytest

from pyslirp.config.boot import ARCHITECTURES, BootConfig, ClientBootfile, parse_text
from pyslirp.errors import ConfigError, ConfigErrors


@pytest.mark.parametrize("client", [*ARCHITECTURES, "ipxe", "0", "65535"])
def test_kinds_of_clients(client: str) -> None:
    one = ClientBootfile.parse(f"{client}=a=b")
    assert (one.client, one.name, str(one)) == (client, "a=b", f"{client}=a=b")


def test_architectures_are_those_of_iana() -> None:
    assert ClientBootfile.parse("efi64=x").architectures == (7, 9)
    assert ClientBootfile.parse("11=x").architectures == (11,)
    assert ClientBootfile.parse("ipxe=x").architectures == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("efi64", "no file is named (write CLIENT=NAME)"),
        ("efi46=x", "'efi46' is no kind of client (did you mean 'efi64'?)"),
        ("=x", "'' is no kind of client (one of bios, efi-ia32,"),
        ("-1=x", "'-1' is no kind of client"),
    ],
)
def test_what_is_none(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ClientBootfile.parse(text)
    assert str(caught.value).startswith(f"bootfile-for={text}: {reason}")


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 1025])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigErrors):
        BootConfig(bootfile=name)
    with pytest.raises(ConfigError):
        ClientBootfile("bios", name)


def test_a_name_longer_than_qemus_is_taken() -> None:
    """QEMU 7.2 ends with an assertion from 128 bytes on."""
    assert BootConfig(bootfile="http://" + "x" * 500).bootfile


@pytest.mark.parametrize(
    ("field", "value"), [("tftp", ""), ("tftp", "a\0"), ("server_name", ""), ("server_name", "\0")]
)
def test_other_names_that_cannot_be(field: str, value: str) -> None:
    with pytest.raises(ConfigErrors):
        BootConfig(**{field: value})  # type: ignore[arg-type]


def test_nothing_behind_an_option_is_nothing() -> None:
    assert parse_text("") is None
    assert parse_text("x") == "x"
