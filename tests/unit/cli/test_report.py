"""What people read, and that no guest can write on their terminal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.cli.report import event_line, printable, report, table
from pyslirp.control.commands import COMMANDS

FLOW = {
    "flow": 1,
    "protocol": "tcp",
    "state": "ESTABLISHED",
    "guest": "10.0.2.15:40000",
    "far": "192.0.2.1:80",
    "inbound": False,
    "served": False,
    "age": 7300.2,
    "bytes_to_host": 123456,
    "bytes_to_guest": 7,
    "details": {},
}


@pytest.mark.parametrize(
    ("name", "answer", "lines"),
    [
        (
            "hostfwd_add",
            {
                "rules": [
                    {"rule": "tcp::1-10.0.2.15:22", "listen": "0.0.0.0:1", "open": True},
                    {"rule": "tcp::2-10.0.2.15:23@ready", "listen": "0.0.0.0:2", "open": False},
                ]
            },
            ["forwarding tcp::1-10.0.2.15:22", "forwarding tcp::2-10.0.2.15:23@ready, once the guest is ready"],
        ),
        ("guestfwd_add", {}, ["answering guests there"]),
        ("guestfwd_remove", {"text": "guest forwarding rule for x removed\n"}, ["guest forwarding rule for x removed"]),
        ("hostfwd_remove", {"text": "host forwarding rule for x removed\n"}, ["host forwarding rule for x removed"]),
        ("info usernet", {"text": "Hub -1 (n0):\n  Protocol\n"}, ["Hub -1 (n0):", "  Protocol"]),
        ("neighbors", {"neighbors": []}, ["no guest was heard of"]),
        (
            "neighbors",
            {
                "neighbors": [
                    {"address": "10.0.2.15", "mac": "52:54:00:12:34:56", "reachable": True, "mtu": 65520, "flows": 3},
                    {"address": "10.0.2.9", "mac": "00:00:00:00:00:00", "reachable": False, "mtu": 0, "flows": 0},
                ]
            },
            [
                "ADDRESS    MAC                STATE         MTU  FLOWS",
                "10.0.2.15  52:54:00:12:34:56  reachable   65520      3",
                "10.0.2.9   00:00:00:00:00:00  unresolved      0      0",
            ],
        ),
        (
            "leases",
            {
                "leases": [
                    {"address": "10.0.2.15", "mac": "m", "state": "bound", "expires_in": 7201, "hostname": "\x1b[2J"}
                ]
            },
            ["ADDRESS    MAC  STATE  EXPIRES  HOSTNAME", "10.0.2.15  m    bound      2 h  \\x1b[2J"],
        ),
        (
            "flows",
            {"flows": [FLOW], "more": True},
            [
                "PROTOCOL  STATE        GUEST                FAR              OUT  IN  AGE",
                "tcp       ESTABLISHED  10.0.2.15:40000  ->  192.0.2.1:80  123456   7  2 h",
                "... and more: give a larger LIMIT",
            ],
        ),
        ("flows", {"flows": [], "more": False}, ["no flow"]),
        ("counters", {"counters": {"a.b": 0, "tcp.rto": 3}}, ["tcp.rto 3"]),
        ("counters", {"counters": {"a.b": 0}}, ["all are 0"]),
        ("set restrict", {"restrict": True, "cut": 2}, ["restrict=on; flows ended: 2"]),
        ("set restrict", {"restrict": False, "cut": 0}, ["restrict=off"]),
        ("version", {"program": "0.1.0", "protocol": 1}, ["pyslirp 0.1.0, protocol 1"]),
        (
            "help",
            {"commands": [{"command": "a", "arguments": "B", "summary": "c"}]},
            ["COMMAND", "a B      c"],
        ),
        ("a command of tomorrow", {"x": 1, "y": None}, ["x 1", "y -"]),
    ],
)
def test_answers(name: str, answer: dict[str, Any], lines: list[str]) -> None:
    assert report(name, answer).split("\n") == lines


def test_an_event() -> None:
    event = {"event": "lease_granted", "data": {"at": 5, "address": "10.0.2.15", "hostname": "a\nb"}}
    assert event_line(event) == "lease_granted address=10.0.2.15 hostname=a\\nb"
    assert event_line({"event": "x", "data": {}}) == "x"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (172800, "2 d"), (None, "never")],
)
def test_spans(seconds: int | None, shown: str) -> None:
    lease = {"address": "a", "mac": "m", "state": "s", "expires_in": seconds, "hostname": None}
    assert shown in report("leases", {"leases": [lease]})


@given(st.text())
def test_nothing_moves_the_cursor(text: str) -> None:
    assert printable(text).isprintable()


def test_a_table_without_rows() -> None:
    assert table(("A",), [], "nothing") == "nothing"


def test_every_command_has_its_report() -> None:
    from pyslirp.cli.report import _REPORTS

    assert _REPORTS.keys() == {command.name for command in COMMANDS}
