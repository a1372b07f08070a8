"""QEMU's option strings: ``user,id=n,net=10.0.9.0/24,hostfwd=tcp::2222-:22`` to and from a Config.

The rules are those of QemuOpts (util/qemu-option.c, opts_do_parse): options are separated by commas, a comma inside a
value is doubled, a name ends at the first ``=`` or ``,``.  A name alone is a legacy switch: ``restrict`` is on and
``norestrict`` is off.  In ``-netdev`` the first one without a ``=`` is the type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyslirp.config.link import LOOPBACK, ListenAddress
from pyslirp.config.stack import Config, Setting
from pyslirp.errors import ConfigError

TYPE = "user"
NIC_OPTIONS = frozenset(("model", "mac"))  #: of -nic, that are about the NIC and not about the network

_NAME = re.compile(r"[^=,]*")
_VALUE = re.compile(r"(?:[^,]|,,)*")


class Netdev(NamedTuple):
    """An option string taken apart."""

    settings: list[Setting]  #: in the order written; a legacy switch has a bool
    errors: list[ConfigError]  #: what is wrong with the string as a whole
    nic: tuple[Setting, ...] = ()  #: of -nic: what belongs to the guest's NIC, model= and mac=


def parse_netdev(text: str) -> Config:
    """The argument of QEMU's ``-netdev``: ``user,id=NAME[,OPTIONS]``.  Raises ConfigErrors."""
    found = split_netdev(text)
    return Config.assemble(found.settings, found.errors)


def parse_options(text: str) -> Config:
    """OPTIONS alone, or behind ``user,``; the id may be left out.  Raises ConfigErrors."""
    found = split_options(text)
    return Config.assemble(found.settings, found.errors)


def format_netdev(config: Config) -> str:
    """The argument of ``-netdev`` that `parse_netdev` makes `config` from; options at their default are left out."""
    options = [("id", config.network.id), *(item for item in config.settings() if item[0] != "id")]
    return f"{TYPE},{_join(options)}"


def format_options(config: Config) -> str:
    """The options that `parse_options` makes `config` from; empty where all are at their default."""
    return _join(config.settings())


def split_netdev(text: str) -> Netdev:
    """`parse_netdev`, up to the settings.  Of another type than user nothing is said but that."""
    if text.lstrip().startswith("{"):
        return _split_json(text)
    return _of_type_user(text, list(_split(text, implied="type")), named=True)


def split_nic(text: str) -> Netdev:
    """The argument of QEMU's ``-nic``, which is a -netdev and the NIC for it in one; the id may be left out."""
    found = _of_type_user(text, list(_split(text, implied="type")), named=False)
    nic = tuple(setting for setting in found.settings if setting[0] in NIC_OPTIONS)
    return Netdev([setting for setting in found.settings if setting[0] not in NIC_OPTIONS], found.errors, nic)


def split_net(text: str) -> Netdev:
    """The argument of QEMU's legacy ``-net``; the id may be left out."""
    return _of_type_user(text, list(_split(text, implied="type")), named=False)


def _split_json(text: str) -> Netdev:
    """``{"type":"user","id":"n0","hostfwd":[{"str":"tcp::2222-:22"}]}``; members of lists may be plain strings too."""
    import json  # noqa: PLC0415 - who writes options need not wait for it

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Netdev([], [ConfigError("netdev", text, "JSON parse error", 'write {"type":"user","id":"NAME"}')])
    if not isinstance(found, dict):
        return Netdev([], [ConfigError("netdev", text, "Expected a JSON object")])
    settings: list[Setting] = []
    errors: list[ConfigError] = []
    for name, given in found.items():
        for item in given if isinstance(given, list) else [given]:
            value = item["str"] if isinstance(item, dict) and item.keys() == {"str"} else item
            if isinstance(value, str | bool | int):
                settings.append((name, value))
            else:
                reason = f"Invalid parameter type for '{name}', expected: string"
                errors.append(ConfigError("netdev", text, reason))
    taken = _of_type_user(text, settings, named=True)
    return Netdev(taken.settings, [*errors, *taken.errors])


def _of_type_user(text: str, settings: list[Setting], *, named: bool) -> Netdev:
    """`settings` without their type, which must be user; named: there must be an id."""
    kind = dict(settings).get("type")
    if kind is None:
        return Netdev([], [ConfigError("netdev", text, "Parameter 'type' is missing", "write user,id=NAME")])
    if kind != TYPE:
        reason = f"Parameter 'type' does not accept value '{kind}'"
        return Netdev([], [ConfigError("netdev", text, reason, "only user is a network of this program")])
    options = [(name, value) for name, value in settings if name != "type"]
    errors = []
    if named and not any(name == "id" for name, _ in options):
        errors.append(ConfigError("netdev", text, "Parameter 'id' is missing"))
    return Netdev(options, errors)


def split_options(text: str) -> Netdev:
    """`parse_options`, up to the settings."""
    first = _NAME.match(text)
    if first is not None and first.group() == TYPE and not text.startswith(f"{TYPE}="):
        text = text[len(TYPE) + 1 :]
    return Netdev(list(_split(text)), [])


def peer_netdev(address: ListenAddress, name: str = "n") -> str | None:
    """The argument of ``-netdev`` by which a QEMU joins a network that listens at `address`.

    None for a descriptor, whose address only its socket knows.  An address that stands for all is replaced by loopback.
    """
    if address.kind == "fd":
        return None
    if address.kind == "unix":
        where = [("addr.type", "unix"), ("addr.path", address.path)]
        return f"stream,{_join([('id', name), ('server', 'off'), *where])}"
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(address.host, address.host)
    if ":" not in host:
        return f"socket,{_join([('id', name), ('connect', f'{host}:{address.port}')])}"
    where = [("addr.type", "inet"), ("addr.host", host), ("addr.port", str(address.port))]
    return f"stream,{_join([('id', name), ('server', 'off'), *where])}"


def _split(text: str, implied: str = "") -> Iterator[Setting]:
    """Name and value of each option; a first one without a name gets the name `implied`, where that is given."""
    at = 0
    while at < len(text):
        at, name = _match(_NAME, text, at)
        if text[at : at + 1] == "=":
            at, value = _match(_VALUE, text, at + 1)
            yield name, value.replace(",,", ",")
        elif implied:
            at, value = _match(_VALUE, text, at - len(name))
            yield implied, value.replace(",,", ",")
        else:
            yield (name[2:], False) if name.startswith("no") else (name, True)
        implied = ""
        at += 1  # the comma


def _match(pattern: re.Pattern[str], text: str, at: int) -> tuple[int, str]:
    match = pattern.match(text, at)
    assert match is not None, "both patterns match the empty string"
    return match.end(), match.group()


def _join(options: list[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value.replace(',', ',,')}" for name, value in options)
