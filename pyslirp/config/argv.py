"""Options on the command line: OPTIONS strings, ``--netdev user,...`` and ``--name value``, all of them one Config.

`add_arguments` makes every one of them append to the same list of the namespace, in the order in which argparse meets
them, so that of an option given twice the last is used, whichever way it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from pyslirp.config.fields import FIELDS, Field, Source
from pyslirp.config.qemu import Netdev, split_net, split_netdev, split_nic, split_options
from pyslirp.config.stack import Config

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

DEST = "network_settings"  #: attribute of the namespace: a list of Netdev, or None where nothing is given


def add_arguments(parser: ArgumentParser) -> None:
    """Add every option to `parser`; values are not looked at before `from_arguments`."""
    parser.add_argument(
        DEST,
        nargs="*",
        action="extend",
        type=split_options,
        metavar="OPTIONS",
        help="options as QEMU's -netdev user has them: net=10.0.9.0/24,hostfwd=tcp::2222-:22",
    )
    spellings: tuple[tuple[tuple[str, ...], Callable[[str], Netdev], str, str], ...] = (
        (("--netdev", "-netdev"), split_netdev, "user,id=NAME,...", "the same, whole, or as QEMU's JSON"),
        (("-nic",), split_nic, "user,...", "the same, with the model= and mac= of the guest's NIC, for pyslirp run"),
        (("-net",), split_net, "user,...", "the same, as older QEMUs have it"),
    )
    for names, split, metavar, text in spellings:
        parser.add_argument(*names, dest=DEST, action="append", type=split, metavar=metavar, help=text)
    groups = {
        Source.QEMU: parser.add_argument_group("options of QEMU's -netdev user"),
        Source.OURS: parser.add_argument_group("more options of the network"),
    }
    for field in FIELDS:
        groups[field.source].add_argument(
            f"--{field.name}",
            dest=DEST,
            action="append",
            type=_setting(field.name),
            metavar=field.metavar,
            help=_help(field).replace("%", "%%"),
        )


def from_arguments(namespace: Namespace) -> Config:
    """The Config that the arguments make; raises ConfigErrors with everything that is wrong."""
    given: Iterable[Netdev] = getattr(namespace, DEST, None) or ()
    settings = [setting for netdev in given for setting in netdev.settings]
    return Config.assemble(settings, [error for netdev in given for error in netdev.errors])


def nic_of(namespace: Namespace) -> dict[str, str]:
    """What -nic says about the guest's NIC: model and mac, where they were given."""
    given: Iterable[Netdev] = getattr(namespace, DEST, None) or ()
    return {name: str(value) for netdev in given for name, value in netdev.nic}


def format_arguments(config: Config) -> list[str]:
    """The arguments that make `config`: ``["--net=10.0.9.0/24", ...]``."""
    return [f"--{name}={text}" for name, text in config.settings()]


def _setting(name: str) -> Callable[[str], Netdev]:
    return partial(_netdev_of, name)


def _netdev_of(name: str, text: str) -> Netdev:
    return Netdev([(name, text)], [])


def _help(field: Field) -> str:
    default = field.default()
    text = f"{field.help}, repeatable" if field.many else field.help
    if field.legacy or default in (None, ()):
        return text
    return f"{text} (default {field.render(default)}{f', follows {field.follows}' if field.derive else ''})"
