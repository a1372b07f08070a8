"""What every command of the command line shares: the parser, the options of the network, how errors are said."""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

from pyslirp.config.argv import DEST, add_arguments, from_arguments
from pyslirp.config.link import ConnectAddress, ControlAddress, ListenAddress
from pyslirp.config.qemu import split_options
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigError, ConfigErrors, SlirpError

if TYPE_CHECKING:
    from pyslirp.stack import Stack

AnyAddress = TypeVar("AnyAddress", bound=ListenAddress)

IN_PLACE = "--OPTIONS"  #: the option that OPTIONS become, known to nobody
_PCAP_HINTS = {
    errno.ENOENT: "; the directory must exist",
    errno.EACCES: "; choose a path that you may write to",
    errno.EISDIR: "; give the name of a file in it",
    errno.ENOSPC: "; make room, or choose a path on another disk",
}

STANDARD_OUTPUT = 1
DEFAULT_COLUMNS = 80  #: of what is no terminal
HOST_ERROR = 1
USAGE_ERROR = 2


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal; argparse's own way to find that out, at the first option, imports shutil and four compressors."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS", "0")) or os.get_terminal_size(STANDARD_OUTPUT).columns
        except (OSError, ValueError):
            columns = 0
        super().__init__(prog, width=(columns or DEFAULT_COLUMNS) - 2)


class Parser(argparse.ArgumentParser):
    """argparse, with a hint where an option is misspelt, and with OPTIONS that keep their place among the others."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """As parse_intermixed_args, but of an option given twice the last counts, whichever way it is written.

        argparse would take all options first and then the OPTIONS between them; so those become options too.
        """
        if "--" in words:
            self.error("'--' begins the command of `pyslirp run` and `pyslirp exec`; it has no meaning here")
        valued = {option for action in self._actions if action.nargs != 0 for option in action.option_strings}
        rest, ordered = iter(words), []
        for word in rest:
            ordered.append(word if word.startswith("-") else f"{IN_PLACE}={word}")
            if word in valued:
                ordered += itertools.islice(rest, 1)
        return self.parse_args(ordered)

    def error(self, message: str) -> NoReturn:
        """Print the message and what may have been meant; exit status 2."""
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            message += self._meant(words.split()[0].partition("=")[0])
        complain(message)
        sys.exit(USAGE_ERROR)

    def _meant(self, word: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415 - only who has mistyped waits for it

        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        known = [option for action in shown for option in action.option_strings]
        close = get_close_matches(word, known, n=1)
        return f"; did you mean {close[0]}?" if close else "; see --help"


def complain(text: str) -> None:
    """Each line to standard error, with our name in front."""
    for line in text.splitlines():
        print(f"pyslirp: {line}", file=sys.stderr)


def add_common(parser: argparse.ArgumentParser) -> None:
    """What every command takes: the options of the network, and how it is observed."""
    parser.add_argument("--pcap", metavar="FILE", help="write every frame to a pcapng file, for Wireshark")
    parser.add_argument("--control", metavar="unix:PATH", help="take run-time commands there (pyslirp ctl PATH ...)")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="say what happens (-vv: each flow too)")
    add_arguments(parser)
    parser.add_argument(IN_PLACE, dest=DEST, action="append", type=split_options, help=argparse.SUPPRESS)


def read_config(namespace: argparse.Namespace) -> tuple[Config | None, list[ListenAddress], list[ConnectAddress]]:
    """Everything that was written, checked at once.

    The Config is None where something was wrong; all of that has been said.
    """
    errors: list[ConfigError] = []
    listen = _addresses(ListenAddress, getattr(namespace, "listen", ()), errors)
    connect = _addresses(ConnectAddress, getattr(namespace, "connect", ()), errors)
    if namespace.control is not None:
        _addresses(ControlAddress, [namespace.control], errors)
    config = None
    try:
        config = from_arguments(namespace)
    except ConfigErrors as found:
        errors += found.errors
    if errors:
        complain("\n".join(str(error) for error in errors))
        return None, listen, connect
    return config, listen, connect


def begin(stack: Stack, namespace: argparse.Namespace) -> None:
    """Start a stack, with what the common options ask for.

    Raises SlirpError for a capture that cannot be written and a forward that cannot be set up.
    """
    if namespace.verbose:
        from pyslirp.cli.narration import narrate  # noqa: PLC0415 - who does not want it need not wait for it

        narrate(stack.bus)
    if namespace.pcap:
        try:
            stack.start_capture(namespace.pcap)
        except OSError as error:
            hint = _PCAP_HINTS.get(error.errno or 0, "")
            raise SlirpError(f"--pcap {namespace.pcap}: {explain(error)}{hint}") from None
    stack.start()
    if namespace.control is not None:
        from pyslirp.control.server import ControlSocket  # noqa: PLC0415 - who does not want it need not wait for it

        ControlSocket(stack, ControlAddress.parse(namespace.control))


def explain(error: Exception) -> str:
    """What an error says to people: without its errno."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _addresses(kind: type[AnyAddress], texts: Sequence[str], errors: list[ConfigError]) -> list[AnyAddress]:
    addresses = []
    for text in texts:
        try:
            addresses.append(kind.parse(text))
        except ConfigError as error:
            errors.append(error)
    return addresses
