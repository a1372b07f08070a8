"""Guest forwarding at work: addresses of the guests' network behind which commands and sockets of the host answer.

Asked after the servers of this process and before the address plan, so that ``restrict=on`` leaves them.  A target by
TCP or UDP is the host's socket of a flow like any other; a unix socket or a command is one that is connected already.

The bytes of a connection pass through the engine alone; Python is there when it begins and, for a command, when it ends.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence

from pyslirp.addresses import Address, Endpoint, pack
from pyslirp.config.guestfwd import UNSPECIFIED, GuestForward, GuestForwardKey
from pyslirp.errors import ForwardError, SlirpError
from pyslirp.host.command import Commands
from pyslirp.host.programs import find
from pyslirp.verdicts import TCP, UDP, Allow, Attach, FlowName, Verdict

_log = logging.getLogger("pyslirp.guestfwd")
_PROTOCOLS = {"tcp": TCP, "udp": UDP}

Endings = dict[int, Callable[[str], None]]  #: by flow; told how it has ended
Take = Callable[
    [str, Endpoint], None
]  #: makes an address ours; raises SlirpError where something answers there already


class GuestForwards:
    """The guest forwarding rules of one network."""

    def __init__(self, default: Address, take: Take, commands: Commands, endings: Endings) -> None:
        """`default`: the server of rules that name none; `take` is asked with a protocol and an endpoint."""
        self._default = default
        self._take = take
        self._commands = commands
        self._endings = endings
        self._rules: dict[GuestForwardKey, GuestForward] = {}
        self._verdicts: dict[tuple[int, bytes, int], Verdict] = {}

    def __iter__(self) -> Iterator[GuestForward]:
        return iter(tuple(self._rules.values()))

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def commands(self) -> int:
        """How many commands are running."""
        return len(self._commands)

    def add(self, rule: GuestForward, address: Address | None = None) -> None:
        """Answer guests by a rule from now on.

        address: the target host's, where `look_up` has been asked already; else a name is looked up here, which may take
        seconds.  A command that is not there is warned of.

        Raises ForwardError in QEMU's words where something answers there already, the address cannot be a
        server's, or the target's host has no address.
        """
        rule = rule.towards(self._default)
        verdict = self._verdict(rule, address)
        self._claim(rule.key, verdict, f"Conflicting/invalid host:port in guest forwarding rule '{rule}'")
        self._rules[rule.key] = rule
        if rule.target.kind == "cmd":
            _look_for(rule.target.arguments[0], rule)

    def add_command(self, server: Endpoint, arguments: Callable[[], Sequence[str]], name: str, refusal: str) -> None:
        """Answer guests' TCP to `server` by a command of a network server's kind, which looks at who is connected.

        Its words are asked for with each connection.

        Raises ForwardError, whose text begins with `refusal`.
        """
        key = GuestForwardKey("tcp", *server)
        self._claim(key, self._by_command(arguments, name, tcp=True), refusal)

    def remove(self, key: GuestForwardKey) -> bool:
        """Answer no new connections by this rule; those that are open go on.  False: there is no such rule."""
        if key.server == UNSPECIFIED:
            key = key._replace(server=self._default)
        if self._rules.pop(key, None) is None:
            return False
        del self._verdicts[_engine_key(key)]
        return True

    def decide(self, name: FlowName) -> Verdict | None:
        """Where this new flow of a guest goes; None: no rule is about it."""
        return self._verdicts.get((name.protocol, name.far, name.far_port))

    def close(self) -> None:
        """End the commands that run."""
        self._verdicts.clear()
        self._commands.close()

    def _claim(self, key: GuestForwardKey, verdict: Verdict, refusal: str) -> None:
        if _engine_key(key) in self._verdicts:
            raise ForwardError(errno.EADDRINUSE, f"{refusal}: {key} has a rule already")
        try:
            self._take(key.protocol, Endpoint(key.server, key.port))
        except SlirpError as error:
            raise ForwardError(None, f"{refusal}: {error}") from None
        self._verdicts[_engine_key(key)] = verdict

    def _verdict(self, rule: GuestForward, address: Address | None) -> Verdict:
        target = rule.target
        if target.kind == "cmd":
            return self._by_command(lambda: target.arguments, str(target))
        if target.kind == "unix":
            return Attach(lambda _: _connect_unix(target.text), str(target))
        return Allow(pack(address or look_up(rule)), target.port)

    def _by_command(self, arguments: Callable[[], Sequence[str]], name: str, *, tcp: bool = False) -> Attach:
        def start(flow: int) -> int:
            ours, command = self._commands.start(arguments(), tcp=tcp)
            self._endings[flow] = lambda _: command.hang_up()
            return ours.detach()

        return Attach(start, name)


def _engine_key(key: GuestForwardKey) -> tuple[int, bytes, int]:
    return _PROTOCOLS[key.protocol], pack(key.server), key.port


def _connect_unix(path: str) -> int:
    """A connected non-blocking descriptor.  Raises OSError: EAGAIN where the server's backlog is full."""
    client = socket.socket(socket.AF_UNIX)
    try:
        client.setblocking(False)
        client.connect(path)
    except BaseException:
        client.close()
        raise
    return client.detach()


def _look_for(program: str, rule: GuestForward) -> None:
    """Warn of a command that is not there.  QEMU says nothing and starts; by the time that a guest comes it may be there."""
    if find(program) is None:
        told = "cannot be run; connections are refused until it can"
        if "/" not in program:
            told = "is not in PATH; connections are refused until it is: install it, or give its path"
        _log.warning("guestfwd=%s: the program '%s' %s", rule, program, told)


def look_up(rule: GuestForward) -> Address:
    """The address of the host that a rule leads to; a name is looked up once, when the rule is made.

    The host's resolver may take seconds over a name: a network that runs asks it in another thread.  Raises
    ForwardError in QEMU's words where the host has no address.
    """
    target = rule.target
    kind = socket.SOCK_STREAM if target.kind == "tcp" else socket.SOCK_DGRAM
    try:
        found = socket.getaddrinfo(target.text, target.port, type=kind)
    except (OSError, UnicodeError) as error:
        label = f"guestfwd.{rule.protocol}.{rule.port}"
        number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, str(error))
        raise ForwardError(
            number, f"Could not open guest forwarding device '{label}': {target.text}: {reason}"
        ) from None
    return Endpoint.of(str(found[0][4][0]).partition("%")[0], target.port).address
