"""``pyslirp ctl PATH COMMAND ...``: a command to a running network, whose ``--control unix:PATH`` listens there.

Exit status: 0 done, 1 where nobody answers or the command has failed, 2 for what was written wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from pyslirp.cli.arguments import HOST_ERROR, USAGE_ERROR, Parser, complain, explain
from pyslirp.cli.report import event_line, report

DESCRIPTION = "Give a run-time command to a network that was started with --control unix:PATH."
CONTROL_SIGNALLED = 141  #: 128 and SIGPIPE: whoever reads our output has gone


def build_parser() -> Parser:
    """The parser of everything in front of the command."""
    from pyslirp.control.commands import COMMANDS  # noqa: PLC0415 - only where it is wanted
    from pyslirp.control.protocol import EVENTS  # noqa: PLC0415

    lines = [(f"{command.name} {command.usage}".rstrip(), command.summary) for command in COMMANDS]
    lines.append((EVENTS, "What happens from now on, line by line, until Ctrl-C"))
    width = max(len(usage) for usage, _ in lines)
    epilog = "\n".join(["commands:", *(f"  {usage:<{width}}  {summary}" for usage, summary in lines)])
    parser = Parser("pyslirp ctl", DESCRIPTION, epilog)
    parser.add_argument("--json", action="store_true", help="print the answer as one line of JSON")
    parser.add_argument("path", metavar="PATH", help="the socket's path; unix:PATH is the same")
    parser.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="one of those below")
    return parser


def ctl(arguments: Sequence[str]) -> int:
    """Carry one command out; the exit status."""
    namespace = build_parser().parse_args(arguments)
    words = [word for word in namespace.words if word != "--json"]
    as_json = namespace.json or len(words) < len(namespace.words)
    try:
        return _ctl(namespace.path, words, as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be said at exit
        return CONTROL_SIGNALLED


def _ctl(path: str, words: Sequence[str], *, as_json: bool) -> int:
    from pyslirp.control.client import Client  # noqa: PLC0415
    from pyslirp.control.command import CommandError, Problem, arguments_to_json, split  # noqa: PLC0415
    from pyslirp.control.commands import COMMANDS  # noqa: PLC0415
    from pyslirp.control.protocol import EVENTS  # noqa: PLC0415
    from pyslirp.errors import LinkError  # noqa: PLC0415

    if not words:
        complain("ctl: no command; 'pyslirp ctl --help' lists them")
        return USAGE_ERROR
    try:
        if list(words) == [EVENTS]:
            with Client(path) as client:
                _stream(client.events(), as_json=as_json)
            return 0
        command, rest = split(words, COMMANDS)
        arguments = arguments_to_json(command.from_words(rest))
        with Client(path) as client:
            answer = client.request(command.name, arguments)
    except CommandError as error:
        complain(f"{error} ({error.hint})" if error.hint else str(error))
        return USAGE_ERROR if error.problem in (Problem.ARGUMENTS, Problem.COMMAND) else HOST_ERROR
    except LinkError as error:
        complain(explain(error))
        return HOST_ERROR
    print(json.dumps(answer) if as_json else report(command.name, answer), flush=True)
    return 0


def _stream(events: Any, *, as_json: bool) -> None:
    for event in events:
        print(json.dumps(event) if as_json else event_line(event), flush=True)
