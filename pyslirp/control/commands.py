"""The list of run-time commands.  Every control surface, and docs/control.md, come from `COMMANDS`.

Names, arguments and texts are those of QEMU's monitor where it has the command (net/slirp.c, hmp_hostfwd_add and the
others); what QEMU prints to tell of an error is the text of a CommandError.  Each command is also a method of `Network`
(`Command.method`), and a line of ``pyslirp ctl PATH``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pyslirp._version import __version__
from pyslirp.config.forward import ForwardKey, HostForward
from pyslirp.config.guestfwd import GuestForward, GuestForwardKey
from pyslirp.control.command import SWITCH, TEXT, Command, CommandError, Done, Nothing, Problem, argument, value, values
from pyslirp.control.inspection import (
    Counters,
    Flows,
    FlowsRequest,
    Leases,
    Neighbors,
    Text,
    counters,
    flows,
    info_network,
    info_usernet,
    leases,
    neighbors,
)
from pyslirp.errors import ConfigError, ForwardError
from pyslirp.stack import Stack

Key = TypeVar("Key", ForwardKey, GuestForwardKey)

PROTOCOL_VERSION = 1  #: of the requests and answers of a control socket

NETDEV_ID = "the network's id=, as QEMU's monitor takes it; may be left out"
ADD_SYNTAX = "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, and all else that hostfwd= takes"
REMOVE_SYNTAX = "[tcp|udp]:[HOSTADDR]:HOSTPORT[-LAST] or unix:PATH"
GUEST_ADD_SYNTAX = (
    "[tcp|udp]:[SERVER]:PORT-cmd:COMMAND, -unix:PATH, -tcp:ADDR:PORT or -udp:ADDR:PORT, as guestfwd= has it"
)
GUEST_REMOVE_SYNTAX = "[tcp|udp]:[SERVER]:PORT"


# -- rules of both kinds ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRequest:
    """A command about a forwarding rule, as QEMU's monitor takes it."""

    netdev_id: str | None = argument(TEXT, "NETDEV_ID", NETDEV_ID, None)
    rule: str

    def check_id(self, stack: Stack) -> None:
        """Raises CommandError where another network is meant."""
        own = stack.config.network.id
        if self.netdev_id not in (None, own):
            text = f"unrecognized netdev id '{self.netdev_id}'"
            raise CommandError(Problem.NOT_FOUND, text, f"this network is '{own}'")


def _rule(syntax: str) -> type[RuleRequest]:
    """The request of a command whose rule is written so."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Request(RuleRequest):
        rule: str = argument(TEXT, "RULE", syntax)

    return Request


@contextmanager
def _arguments_of_the_caller() -> Iterator[None]:
    """What is wrong with a rule that a command is given is an error of its arguments."""
    try:
        yield
    except ConfigError as error:
        raise CommandError(Problem.ARGUMENTS, error.reason, error.hint) from None


def _remove(stack: Stack, request: RuleRequest, kind: str, parse: Callable[[str], Key], remove: Callable[[Key], bool]) -> Text:
    """Take a rule of this kind ("host" or "guest") away, and say so in QEMU's words."""
    request.check_id(stack)
    with _arguments_of_the_caller():
        key = parse(request.rule)
    if not remove(key):
        raise CommandError(Problem.NOT_FOUND, f"{kind} forwarding rule for {request.rule} not found")
    return Text(f"{kind} forwarding rule for {request.rule} removed\n")


# -- hostfwd -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Forwarding:
    """A rule in force."""

    rule: str = value("the rule in full, with the port that was really chosen")
    listen: str = value("where the host listens")
    open: bool = value("clients are let in; a rule marked @ready waits for the guest's port")


@dataclass(frozen=True, slots=True)
class HostfwdAdded:
    """What a rule has made."""

    rules: tuple[Forwarding, ...] = values("one, or of a range of ports one for each", Forwarding)


def hostfwd_add(stack: Stack, request: RuleRequest) -> HostfwdAdded:
    """Lead a port of the host to a guest."""
    request.check_id(stack)
    known = {forward.token for forward in stack.forwards}
    try:
        with _arguments_of_the_caller():
            stack.forwards.add(HostForward.parse(request.rule))
    except ForwardError as error:
        text = f"Could not set up host forwarding rule '{request.rule}'"
        raise CommandError(Problem.GENERIC, text, _reason(error)) from None
    made = (forward for forward in stack.forwards if forward.token not in known)
    return HostfwdAdded(tuple(Forwarding(str(one.rule), str(one.listen), one.open) for one in made))


def hostfwd_remove(stack: Stack, request: RuleRequest) -> Text:
    """Take a forwarding rule away; connections that it has brought stay."""
    return _remove(stack, request, "host", ForwardKey.parse, stack.forwards.remove)


def _reason(error: ForwardError) -> str:
    """What a ForwardError says behind QEMU's text, which names the rule in quotes."""
    return (error.strerror or str(error)).rpartition("': ")[2]


# -- guestfwd ----------------------------------------------------------------------------------------------------------


def guestfwd_add(stack: Stack, request: RuleRequest) -> Done:
    """Answer guests at an address of their network by a command, a Unix socket or a port of the host."""
    request.check_id(stack)
    try:
        with _arguments_of_the_caller():
            rule = GuestForward.parse(request.rule)
            _check_target(rule)
            stack.guestfwd.add(rule)
    except ForwardError as error:
        raise CommandError(Problem.GENERIC, error.strerror or str(error)) from None
    return Done()


def _check_target(rule: GuestForward) -> None:
    """A resolver that is slow would stop the network that runs."""
    if rule.target.named:
        text = f"Could not open guest forwarding device 'guestfwd.{rule.protocol}.{rule.port}'"
        raise CommandError(Problem.ARGUMENTS, text, "no name is looked up here: give the target's address")


def guestfwd_remove(stack: Stack, request: RuleRequest) -> Text:
    """Answer no new connections by this rule; those that are open go on."""
    return _remove(stack, request, "guest", GuestForwardKey.parse, stack.guestfwd.remove)


# -- settings ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRestrictRequest:
    """Whether guests are isolated."""

    value: bool = argument(SWITCH, "on|off", "restrict= from now on")


@dataclass(frozen=True, slots=True)
class RestrictSet:
    """What holds now."""

    restrict: bool = value("guests are isolated")
    cut: int = value("flows that were ended, because they are not allowed any more")


def set_restrict(stack: Stack, request: SetRestrictRequest) -> RestrictSet:
    """Isolate the guests (restrict=on), or no longer; flows that are forbidden then are ended."""
    return RestrictSet(request.value, stack.set_restrict(request.value))


# -- about the commands themselves -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """Which pyslirp answers."""

    program: str = value("version of pyslirp")
    protocol: int = value("version of this protocol")


def version(stack: Stack, request: Nothing) -> Version:
    """Which pyslirp answers, and which version of the protocol it speaks."""
    del stack, request
    return Version(__version__, PROTOCOL_VERSION)


@dataclass(frozen=True, slots=True)
class Entry:
    """A command."""

    command: str = value("its name")
    arguments: str = value("as they are written")
    summary: str = value("what it does")


@dataclass(frozen=True, slots=True)
class Help:
    """The commands."""

    commands: tuple[Entry, ...] = values("in the order of the documentation", Entry)


def help_(stack: Stack, request: Nothing) -> Help:
    """The commands that there are."""
    del stack, request
    return Help(tuple(Entry(command.name, command.usage, command.summary) for command in COMMANDS))


def _command(
    name: str, run: Callable[[Stack, Any], Any], request: type[Any] = Nothing, response: type[Any] = Done
) -> Command:
    summary = (run.__doc__ or "").partition("\n")[0].rstrip(".")
    return Command(name, summary, run, request, response)


COMMANDS = (
    _command("hostfwd_add", hostfwd_add, _rule(ADD_SYNTAX), HostfwdAdded),
    _command("hostfwd_remove", hostfwd_remove, _rule(REMOVE_SYNTAX), Text),
    _command("guestfwd_add", guestfwd_add, _rule(GUEST_ADD_SYNTAX), Done),
    _command("guestfwd_remove", guestfwd_remove, _rule(GUEST_REMOVE_SYNTAX), Text),
    _command("info usernet", info_usernet, Nothing, Text),
    _command("info network", info_network, Nothing, Text),
    _command("neighbors", neighbors, Nothing, Neighbors),
    _command("leases", leases, Nothing, Leases),
    _command("flows", flows, FlowsRequest, Flows),
    _command("counters", counters, Nothing, Counters),
    _command("set restrict", set_restrict, SetRestrictRequest, RestrictSet),
    _command("version", version, Nothing, Version),
    _command("help", help_, Nothing, Help),
)
