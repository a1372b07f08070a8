"""The answers of run-time commands as people read them.

Names come from guests: whatever in them a terminal might obey is printed as an escape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Answer = Mapping[str, Any]
RIGHT = frozenset(("MTU", "FLOWS", "OUT", "IN", "AGE", "EXPIRES"))  #: columns of numbers


def report(name: str, answer: Answer) -> str:
    """The answer of the command `name`, without a line feed at its end."""
    return _REPORTS.get(name, _fields)(answer)


def event_line(event: Answer) -> str:
    """An event: its name, then its fields."""
    told = " ".join(f"{name}={printable(value)}" for name, value in event["data"].items() if name != "at")
    return f"{event['event']} {told}".rstrip()


def printable(value: object) -> str:
    """`value` as text in which nothing moves the cursor."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> str:
    """Columns as wide as what is in them; `nothing` where there is no row."""
    if not rows:
        return nothing
    cells = [list(heads), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if head in RIGHT else cell.ljust(width)
            for cell, width, head in zip(row, widths, heads, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _text(answer: Answer) -> str:
    return str(answer["text"]).rstrip("\n")


def _fields(answer: Answer) -> str:
    return "\n".join(f"{name} {printable(value)}" for name, value in answer.items())


def _forwarding(answer: Answer) -> str:
    return "\n".join(
        f"forwarding {printable(one['rule'])}{'' if one['open'] else ', once the guest is ready'}"
        for one in answer["rules"]
    )


def _neighbors(answer: Answer) -> str:
    rows = [
        (one["address"], one["mac"], "reachable" if one["reachable"] else "unresolved", one["mtu"], one["flows"])
        for one in answer["neighbors"]
    ]
    return table(("ADDRESS", "MAC", "STATE", "MTU", "FLOWS"), rows, "no guest was heard of")


def _leases(answer: Answer) -> str:
    rows = [
        (one["address"], one["mac"], one["state"], _span(one["expires_in"]), one["hostname"])
        for one in answer["leases"]
    ]
    return table(("ADDRESS", "MAC", "STATE", "EXPIRES", "HOSTNAME"), rows, "no address was given out")


def _flows(answer: Answer) -> str:
    rows = [
        (
            one["protocol"],
            one["state"],
            one["guest"],
            "<-" if one["inbound"] else "->",
            one["far"],
            one["bytes_to_host"],
            one["bytes_to_guest"],
            _span(int(one["age"])),
        )
        for one in answer["flows"]
    ]
    shown = table(("PROTOCOL", "STATE", "GUEST", "", "FAR", "OUT", "IN", "AGE"), rows, "no flow")
    return f"{shown}\n... and more: give a larger LIMIT" if answer["more"] else shown


def _counters(answer: Answer) -> str:
    return "\n".join(f"{name} {number}" for name, number in answer["counters"].items() if number) or "all are 0"


def _restrict(answer: Answer) -> str:
    ended = f"; flows ended: {answer['cut']}" if answer["cut"] else ""
    return f"restrict={'on' if answer['restrict'] else 'off'}{ended}"


def _help(answer: Answer) -> str:
    rows = [(f"{one['command']} {one['arguments']}", one["summary"]) for one in answer["commands"]]
    return table(("COMMAND", ""), rows, "no command")


def _span(seconds: int | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


_REPORTS: dict[str, Callable[[Answer], str]] = {
    "hostfwd_add": _forwarding,
    "hostfwd_remove": _text,
    "guestfwd_add": lambda _: "answering guests there",
    "guestfwd_remove": _text,
    "info usernet": _text,
    "info network": _text,
    "neighbors": _neighbors,
    "leases": _leases,
    "flows": _flows,
    "counters": _counters,
    "set restrict": _restrict,
    "version": lambda answer: f"pyslirp {printable(answer['program'])}, protocol {answer['protocol']}",
    "help": _help,
}
