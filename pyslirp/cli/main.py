"""The command line: ``pyslirp --listen ADDR [OPTIONS]``, and ``pyslirp demo``, ``run -- qemu-... ...``, ``exec -- ...``,
``ctl PATH ...``.

Exit status: 0 after SIGINT, SIGTERM or SIGHUP, 1 where something of the host stands in the way (an address in use), 2
for what was written wrong; `run` and `exec` pass on the status of their command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

COMMANDS = ("demo", "run", "exec", "ctl")
INTERRUPTED = 130  #: 128 and SIGINT: a shell's status for Ctrl-C before anything has begun


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _command(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _command(arguments: Sequence[str]) -> int:
    if arguments and (wrong := _mistyped(arguments)):
        from pyslirp.cli.arguments import USAGE_ERROR, complain  # noqa: PLC0415 - only where it is wanted

        complain(wrong)
        return USAGE_ERROR
    if arguments and arguments[0] == "demo":
        from pyslirp.cli.demo import demo  # noqa: PLC0415 - only where it is wanted

        return demo(arguments[1:])
    if arguments and arguments[0] == "run":
        from pyslirp.cli.run import run  # noqa: PLC0415 - only where it is wanted

        return run(arguments[1:])
    if arguments and arguments[0] == "exec":
        from pyslirp.cli.exec import exec_  # noqa: PLC0415 - only where it is wanted

        return exec_(arguments[1:])
    if arguments and arguments[0] == "ctl":
        from pyslirp.cli.ctl import ctl  # noqa: PLC0415 - only where it is wanted

        return ctl(arguments[1:])
    from pyslirp.cli.serve import serve  # noqa: PLC0415 - only where it is wanted

    return serve(arguments)


def _mistyped(arguments: Sequence[str]) -> str:
    """What is said of a first word that was meant to be a command and is none; nothing where it may be an option."""
    word = arguments[0]
    if word in COMMANDS or not word.isalpha():
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - hardly ever: who gives an option gives it a value

    from pyslirp.config.fields import BY_NAME  # noqa: PLC0415

    close = get_close_matches(word, COMMANDS, n=1)
    if word in BY_NAME or (not close and get_close_matches(word, BY_NAME, n=1)):
        return ""
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(COMMANDS)}"
    return f"unknown command: '{word}'; {hint}"
