"""``make docs``: the files of this folder that come from the code's own tables.

tests/meta/test_docs.py compares what is written here with what is committed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.libslirp import OPTIONS
from pyslirp.config.fields import FIELDS, Field, Source
from pyslirp.control import protocol, server
from pyslirp.control.command import Command, Problem, arguments_of
from pyslirp.control.commands import COMMANDS
from pyslirp.engine.stores.counters import describe

FOLDER = Path(__file__).resolve().parent

CONTROL_HEAD = f"""# Run-time commands

<!-- Written by `make docs` from pyslirp/control; do not edit. -->

A network that is started with `--control unix:PATH` (or `Network.control("unix:PATH")`) takes commands there. The socket has
mode 0600: whoever may connect may open ports of the host and run programs as the network's user. A socket that a dead process
has left is replaced; one where somebody answers is refused.

    $ pyslirp ctl PATH hostfwd_add tcp::2222-:22
    $ pyslirp ctl --json PATH leases

prints the answer for people, or as JSON. Exit status: 0 done, 1 where nobody answers or the command has failed, 2 for what was
written wrong. Every command is a method of `Network` too.

## The protocol, version {protocol.VERSION}

One JSON object a line, UTF-8, at most {protocol.LINE_BYTES} bytes; one answer for each, in order.

    {{"version": 1, "id": 7, "command": "flows", "arguments": {{"limit": 10}}}}
    {{"version": 1, "id": 7, "return": {{"flows": [], "more": false}}}}
    {{"version": 1, "id": 8, "error": {{"class": "NotFound", "desc": "...", "hint": "..."}}}}

`version`, `id` (a string or a whole number, which comes back) and `arguments` may be left out. What is not known is refused.
`desc` is the text of QEMU's monitor where QEMU has the command; `hint`, which may be missing, says what to do about it.

`events` is a command of the socket alone. After its answer each event is a line:

    {{"version": 1, "event": "lease_granted", "data": {{"at": 123, "address": "10.0.2.15", "mac": "52:54:00:12:34:56"}}}}

`at` is a monotonic clock in nanoseconds. A client that reads too slowly loses the oldest and finds `events_lost` with their
`count` in their place.

At most {server.CLIENTS_MAX} clients are served at once. One command of a client is carried out in a turn of the network, and
while its answer has not been taken nothing more is read from that client.
"""


def control() -> str:
    """docs/control.md."""
    lines = [CONTROL_HEAD, "Classes of errors:", ""]
    lines += [f"- `{problem.value}`" for problem in Problem]
    lines += ["", "## Commands", ""]
    for command in COMMANDS:
        lines += _command(command)
    return "\n".join(lines).rstrip() + "\n"


def _command(command: Command) -> Iterable[str]:
    yield f"### {command.name} {command.usage}".rstrip()
    yield ""
    yield f"{command.summary}. In Python: `Network.{command.method}`."
    yield ""
    for one in arguments_of(command.request):
        optional = ", may be left out" if one.optional else ""
        yield f"- argument `{one.name}` ({one.kind.name}{optional}): {one.sentence}"
    yield from _fields(command.response, "returns ")
    yield ""


def _fields(response: type[Any], word: str, indent: str = "") -> Iterable[str]:
    for one in dataclasses.fields(response):
        yield f"{indent}- {word}`{one.name}`: {one.metadata['sentence']}"
        if "item" in one.metadata:
            yield from _fields(one.metadata["item"], "", indent + "  ")


def counters() -> str:
    """docs/counters.md."""
    lines = ["# Counters", "", "<!-- Written by `make docs` from the engine's table; do not edit. -->", ""]
    lines += [
        "What `pyslirp ctl PATH counters` shows, beside the counters of services, whose names begin with the service's.",
        "",
    ]
    lines += ["| counter | counts |", "| --- | --- |"]
    lines += [f"| `{name}` | {sentence} |" for name, sentence in describe().items()]
    return "\n".join(lines) + "\n"


def options() -> str:
    """docs/options.md."""
    lines = [
        "# Options",
        "",
        "<!-- Written by `make docs` from config/fields.py and docs/libslirp.py; do not edit. -->",
        "",
    ]
    lines += ["Defaults are those of the net 10.0.2.0/24. An option may be repeated where that is said.", ""]
    lines += ["## QEMU's, beside libslirp", ""]
    lines += [
        "| option | default | meaning | libslirp | here | tests of it |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for field in FIELDS:
        if field.source is Source.QEMU:
            beside = OPTIONS[field.name]
            tests = "<br>".join(f"`{test}`" for test in beside.tests)
            cells = [*_option(field), beside.libslirp, beside.ours or "the same", tests]
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Ours", "", "| option | default | meaning |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(_option(field))} |" for field in FIELDS if field.source is Source.OURS]
    return "\n".join(lines) + "\n"


def _option(field: Field) -> list[str]:
    default = field.default()
    shown = "" if field.legacy or default in (None, ()) else f"`{field.render(default)}`"
    repeated = ", repeatable" if field.many else ""
    return [cell.replace("|", "\\|") for cell in (f"`{field.name}={field.metavar}`", shown, field.help + repeated)]


FILES = {"control.md": control, "counters.md": counters, "options.md": options}


def main() -> None:
    """Write them all."""
    for name, make in FILES.items():
        (FOLDER / name).write_text(make())


if __name__ == "__main__":
    main()
