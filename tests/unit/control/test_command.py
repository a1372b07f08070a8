"""Requests from JSON and from words, responses to JSON: with commands made up for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.control.command import (
    NUMBER,
    SWITCH,
    TEXT,
    Command,
    CommandError,
    Done,
    Nothing,
    Problem,
    argument,
    arguments_to_json,
    find,
    from_entry,
    split,
    to_json,
    value,
    values,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    table: str | None = argument(TEXT, "TABLE", "where", None)
    dish: str = argument(TEXT, "DISH", "what")
    count: int = argument(NUMBER, "COUNT", "how many", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    lit: bool = argument(SWITCH, "on|off", "whether")


@dataclass(frozen=True, slots=True)
class Plate:
    name: str = value("what is on it")


@dataclass(frozen=True, slots=True)
class Served:
    plates: tuple[Plate, ...] = values("in order", Plate)
    notes: dict[str, int] = value("anything")


ORDER = Command("order", "Bring food", lambda _stack, request: request, Order, Served)
LAMP = Command("set lamp", "Switch the lamp", lambda _stack, request: request, Lamp)
COMMANDS = (ORDER, LAMP, Command("info usernet", "Look", lambda *_: Done()), Command("help", "Help", lambda *_: Done()))


def test_a_command_says_how_it_is_written() -> None:
    assert (ORDER.usage, ORDER.method) == ("[TABLE] DISH [COUNT]", "order")
    assert (LAMP.usage, LAMP.method) == ("on|off", "set_lamp")
    assert COMMANDS[2].usage == ""


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["soup"], Order(dish="soup")),
        (["t1", "soup"], Order(table="t1", dish="soup")),
        (["t1", "soup", "3"], Order(table="t1", dish="soup", count=3)),
    ],
)
def test_what_may_be_left_out_is_left_out_from_the_left(words: list[str], made: Order) -> None:
    assert ORDER.from_words(words) == made


@pytest.mark.parametrize(
    ("command", "words", "text", "hint"),
    [
        (ORDER, [], "order: string expected", "order takes [TABLE] DISH [COUNT]"),
        (
            ORDER,
            ["a", "b", "1", "d"],
            "order: extraneous characters at the end of line",
            "order takes [TABLE] DISH [COUNT]",
        ),
        (ORDER, ["a", "b", "x"], "Parameter 'count' expects a number", "order takes [TABLE] DISH [COUNT]"),
        (ORDER, ["a", "b", "9" * 20], "Parameter 'count' expects a number", "order takes [TABLE] DISH [COUNT]"),
        (LAMP, ["yes"], "Parameter 'lit' expects 'on' or 'off'", "set lamp takes on|off"),
        (COMMANDS[3], ["me"], "help: extraneous characters at the end of line", "help takes no arguments"),
    ],
)
def test_words_that_do_not_fit(command: Command, words: list[str], text: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        command.from_words(words)
    assert (str(caught.value), caught.value.hint, caught.value.problem) == (text, hint, Problem.ARGUMENTS)


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ({"dish": "soup"}, Order(dish="soup")),
        ({"dish": "soup", "table": None, "count": 0}, Order(dish="soup", count=0)),
    ],
)
def test_arguments_from_json(arguments: dict[str, Any], made: Order) -> None:
    assert ORDER.from_json(arguments) == made


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        (ORDER, {}, "Parameter 'dish' is missing"),
        (ORDER, {"dish": 1}, "Invalid parameter type for 'dish', expected: string"),
        (ORDER, {"dish": None}, "Invalid parameter type for 'dish', expected: string"),
        (ORDER, {"dish": "soup", "count": True}, "Invalid parameter type for 'count', expected: integer"),
        (ORDER, {"dish": "soup", "count": 1.0}, "Invalid parameter type for 'count', expected: integer"),
        (LAMP, {"lit": "on"}, "Invalid parameter type for 'lit', expected: boolean"),
        (LAMP, {"lit": True, "x": 1}, "Parameter 'x' is unexpected"),
    ],
)
def test_arguments_that_do_not_fit(command: Command, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(CommandError) as caught:
        command.from_json(arguments)
    assert (str(caught.value), caught.value.problem) == (text, Problem.ARGUMENTS)


@given(st.builds(Order, table=st.none() | st.text(), dish=st.text(), count=st.integers()))
def test_a_request_comes_back_from_json(order: Order) -> None:
    assert ORDER.from_json(arguments_to_json(order)) == order


def test_a_response_becomes_plain_values() -> None:
    served = Served((Plate("soup"), Plate("bread")), {"warm": 1})
    assert to_json(served) == {"plates": [{"name": "soup"}, {"name": "bread"}], "notes": {"warm": 1}}
    assert to_json(Done()) == to_json(Nothing()) == {}


def test_an_error_as_json() -> None:
    assert CommandError(Problem.NOT_FOUND, "no soup").to_json() == {"class": "NotFound", "desc": "no soup"}
    error = CommandError(Problem.GENERIC, "no soup", "take bread")
    assert error.to_json() == {"class": "GenericError", "desc": "no soup", "hint": "take bread"}


@pytest.mark.parametrize(
    ("words", "name", "rest"),
    [(["order", "soup"], "order", ["soup"]), (["set", "lamp", "on"], "set lamp", ["on"]), (["help"], "help", [])],
)
def test_a_command_is_found_in_words(words: list[str], name: str, rest: list[str]) -> None:
    command, left = split(words, COMMANDS)
    assert (command.name, left) == (name, rest)


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        (["odrer", "soup"], "unknown command: 'odrer'", "did you mean 'order'?"),
        (["info", "usrnet"], "unknown command: 'info usrnet'", "did you mean 'info usernet'?"),
        (["info"], "unknown command: 'info'", "there are: order, set lamp, info usernet, help"),
        (["zzz"], "unknown command: 'zzz'", "there are: order, set lamp, info usernet, help"),
    ],
)
def test_a_command_that_is_not_there(words: list[str], text: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        split(words, COMMANDS)
    assert (str(caught.value), caught.value.hint, caught.value.problem) == (text, hint, Problem.COMMAND)


def test_a_command_by_its_whole_name() -> None:
    assert find("set lamp", COMMANDS) is LAMP


def test_a_row_is_what_the_snapshot_calls_the_same_and_what_is_worked_out() -> None:
    entry = {"plates": (Plate("soup"),), "notes": {"salt": 1}, "cook": "somebody else's business"}
    assert from_entry(Served, entry) == Served((Plate("soup"),), {"salt": 1})
    assert from_entry(Served, entry, notes={}) == Served((Plate("soup"),), {})
    with pytest.raises(KeyError):
        from_entry(Plate, entry)
