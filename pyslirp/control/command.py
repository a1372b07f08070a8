"""What a run-time command is: a function of a stack, a dataclass each way, and how both look in JSON and in words.

A request is a dataclass whose fields were made by `argument`; it comes from JSON (`Command.from_json`) or from the words
of a command line (`Command.from_words`).  Of the words, those that may be left out are left out from the left, as in
QEMU's ``hostfwd_add [netdev_id] RULE``.  A response is a dataclass too, whose fields were made by `value` or `values`;
`to_json` makes plain values of it.  docs/control.md is made from the same fields.

Nothing here knows which commands there are (commands.py has the list) or who asks (server.py, network.py, cli/ctl.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from pyslirp.errors import SlirpError
from pyslirp.stack import Stack

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


AnyResponse = TypeVar("AnyResponse", bound="DataclassInstance")


class Problem(Enum):
    """The class of an error, for programs; people read the description."""

    GENERIC = "GenericError"  #: the command could not do what was asked
    NOT_FOUND = "NotFound"  #: it is about something that is not there
    ARGUMENTS = "InvalidArguments"  #: its arguments are not those that it takes
    COMMAND = "CommandNotFound"
    REQUEST = "InvalidRequest"  #: the line is no request
    VERSION = "UnsupportedVersion"  #: of the protocol
    BUSY = "TooManyClients"


class CommandError(SlirpError):
    """A command has failed; `str` of it is QEMU's text where QEMU has one, `hint` is what to do about it."""

    def __init__(self, problem: Problem, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.problem = problem
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """The value of "error" in an answer."""
        told = {"class": self.problem.value, "desc": str(self)}
        return told | {"hint": self.hint} if self.hint else told


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of argument."""

    name: str  #: as QAPI calls it
    type: type[Any]
    read: Callable[[str], Any]  #: from a word; raises ValueError


def _switch(word: str) -> bool:
    if word not in ("on", "off"):
        raise ValueError(word)
    return word == "on"


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 20):
        raise ValueError(word)
    return int(word)


TEXT = Kind("string", str, str)
NUMBER = Kind("integer", int, _number)
SWITCH = Kind("boolean", bool, _switch)


def argument(kind: Kind, metavar: str, sentence: str, default: Any = MISSING) -> Any:
    """A field of a request; without a default it must be given."""
    metadata = {"kind": kind, "metavar": metavar, "sentence": sentence}
    return field(default=default, metadata=metadata) if default is not MISSING else field(metadata=metadata)


def value(sentence: str) -> Any:
    """A field of a response."""
    return field(metadata={"sentence": sentence})


def values(sentence: str, item: type[Any]) -> Any:
    """A field of a response that holds a tuple of dataclasses."""
    return field(metadata={"sentence": sentence, "item": item})


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The request of a command without arguments."""


@dataclass(frozen=True, slots=True)
class Done:
    """The response of a command that has nothing to tell."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str  #: as it is written: one word, or two of which the first is "info" or "set"
    summary: str  #: one line
    run: Callable[[Stack, Any], Any]  #: request to response; raises CommandError
    request: type[Any] = Nothing
    response: type[Any] = Done

    @property
    def method(self) -> str:
        """The name of the same thing as a method of `Network`."""
        return self.name.replace(" ", "_")

    @property
    def usage(self) -> str:
        """The arguments as people write them: ``[NETDEV_ID] RULE``."""
        return " ".join(f"[{one.metavar}]" if one.optional else one.metavar for one in arguments_of(self.request))

    def from_json(self, given: Mapping[str, Any]) -> Any:
        """The request; raises CommandError in the words of QAPI's visitors."""
        known = {one.name: one for one in arguments_of(self.request)}
        for name in given:
            if name not in known:
                raise CommandError(Problem.ARGUMENTS, f"Parameter '{name}' is unexpected", self._takes())
        found = {name: self._checked(one, given[name]) for name, one in known.items() if name in given}
        for name, one in known.items():
            if name not in found and not one.optional:
                raise CommandError(Problem.ARGUMENTS, f"Parameter '{name}' is missing", self._takes())
        return self.request(**found)

    def _checked(self, one: Argument, given: object) -> object:
        if one.optional and given is None:
            return one.default
        if not isinstance(given, one.kind.type) or (isinstance(given, bool) and one.kind.type is not bool):
            text = f"Invalid parameter type for '{one.name}', expected: {one.kind.name}"
            raise CommandError(Problem.ARGUMENTS, text, self._takes())
        return given

    def from_words(self, words: Sequence[str]) -> Any:
        """The request; raises CommandError."""
        known = arguments_of(self.request)
        if len(words) > len(known):
            raise CommandError(
                Problem.ARGUMENTS, f"{self.name}: extraneous characters at the end of line", self._takes()
            )
        given: dict[str, Any] = {}
        spare = len(words) - sum(not one.optional for one in known)
        rest = iter(words)
        for one in known:
            if one.optional and spare <= 0:
                continue
            spare -= one.optional
            word = next(rest, None)
            if word is None:
                raise CommandError(Problem.ARGUMENTS, f"{self.name}: {one.kind.name} expected", self._takes())
            given[one.name] = self._read(one, word)
        return self.request(**given)

    def _read(self, one: Argument, word: str) -> object:
        try:
            return one.kind.read(word)
        except ValueError:
            expected = "'on' or 'off'" if one.kind is SWITCH else "a number"
            text = f"Parameter '{one.name}' expects {expected}"
            raise CommandError(Problem.ARGUMENTS, text, self._takes()) from None

    def _takes(self) -> str:
        return f"{self.name} takes {self.usage}" if self.usage else f"{self.name} takes no arguments"


@dataclass(frozen=True, slots=True)
class Argument:
    """A field of a request."""

    name: str
    kind: Kind
    metavar: str
    sentence: str
    default: Any  #: MISSING: it must be given

    @property
    def optional(self) -> bool:
        """It may be left out."""
        return self.default is not MISSING


def arguments_of(request: type[Any]) -> list[Argument]:
    """The fields of a request, in the order of the words."""
    return [
        Argument(one.name, one.metadata["kind"], one.metadata["metavar"], one.metadata["sentence"], one.default)
        for one in dataclasses.fields(request)
    ]


def arguments_to_json(request: Any) -> dict[str, Any]:
    """The value of "arguments" from which `Command.from_json` makes this request."""
    return {
        one.name: getattr(request, one.name)
        for one in arguments_of(type(request))
        if getattr(request, one.name) != one.default
    }


def from_entry(response: type[AnyResponse], entry: Mapping[str, Any], **other: Any) -> AnyResponse:
    """A row of a response: its fields are `other`, and of a row of the stack's snapshot those of the same names."""
    names = [one.name for one in dataclasses.fields(response)]
    return response(**{name: other[name] if name in other else entry[name] for name in names})


def to_json(response: Any) -> Any:
    """A response as plain values.  (dataclasses.asdict copies every value, which for thousands of flows takes long.)"""
    if dataclasses.is_dataclass(response):
        return {one.name: to_json(getattr(response, one.name)) for one in dataclasses.fields(response)}
    if isinstance(response, tuple):
        return [to_json(item) for item in response]
    return response


def find(name: str, commands: Iterable[Command]) -> Command:
    """The command of this name; raises CommandError."""
    known = {command.name: command for command in commands}
    found = known.get(name)
    if found is not None:
        return found
    from difflib import get_close_matches  # noqa: PLC0415 - only who has mistyped waits for it

    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
    raise CommandError(Problem.COMMAND, f"unknown command: '{name}'", hint)


def split(words: Sequence[str], commands: Iterable[Command]) -> tuple[Command, list[str]]:
    """The command that begins these words, and what is left for its arguments; raises CommandError."""
    known = {command.name: command for command in commands}
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in known:
            return known[name], list(words[length:])
    return find(" ".join(words[:2]) if words[:1] in (["info"], ["set"]) else "".join(words[:1]), known.values()), []
