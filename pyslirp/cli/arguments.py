"""What every command of the command line shares: the parser, the options of the network, how errors are said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import NoReturn, TypeVar

from pyslirp.config.argv import add_arguments, from_arguments
from pyslirp.config.link import ConnectAddress, ListenAddress
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigError, ConfigErrors

AddressKind = TypeVar("AddressKind", bound=ListenAddress)

USAGE_ERROR = 2
HOST_ERROR = 1


class Parser(argparse.ArgumentParser):
    """argparse, with a hint where an option is misspelt."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print the message and what may have been meant; exit status 2."""
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            close = get_close_matches(words.split()[0].partition("=")[0], known, n=1)
            message += f"; did you mean {close[0]}?" if close else "; see --help"
        complain(message)
        sys.exit(USAGE_ERROR)


def complain(text: str) -> None:
    """Each line to standard error, with our name in front."""
    for line in text.splitlines():
        print(f"pyslirp: {line}", file=sys.stderr)


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every command takes: the options of the network, and how it is observed."""
    parser.add_argument("--pcap", metavar="FILE", help="write every frame to a pcapng file, for Wireshark")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say what happens (-vv: in detail)")
    add_arguments(parser)


def read_config(namespace: argparse.Namespace) -> tuple[Config | None, list[ListenAddress], list[ConnectAddress]]:
    """Everything that was written, checked at once; the Config is None where something was wrong (and has been said)."""
    errors: list[ConfigError] = []
    listen: list[ListenAddress] = []
    connect: list[ConnectAddress] = []
    for text in getattr(namespace, "listen", []):
        _collect(errors, partial(_append, listen, ListenAddress, text))
    for text in getattr(namespace, "connect", []):
        _collect(errors, partial(_append, connect, ConnectAddress, text))
    config = None
    try:
        config = from_arguments(namespace)
    except ConfigErrors as found:
        errors += found.errors
    if errors:
        complain("\n".join(str(error) for error in errors))
        return None, listen, connect
    return config, listen, connect


def _append(addresses: list[AddressKind], kind: type[AddressKind], text: str) -> None:
    addresses.append(kind.parse(text))


def _collect(errors: list[ConfigError], parse: Callable[[], object]) -> None:
    try:
        parse()
    except ConfigError as error:
        errors.append(error)
