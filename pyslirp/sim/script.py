"""Runs timed packet scripts (notation.py) against one Core: a guest made of frames, a host made of statements.

Time is virtual: a statement happens exactly when it says.  Whatever the engine sends must be in the script, in order and
at its time; a packet too many fails as one too few does.  Payload is checked without being written: the guest's stream
and the host's are each an endless pattern, and the bytes of every segment, every read and every write are those of its
place in it.

Words of the host:

    serve | deny reset|port|host|net|prohibited|silent     the verdict on the flow that the guest has opened
    open                       connect to the guest
    write N [= M] [finish|urgent]   queue N bytes; M (default N) are taken; `finish`: and no more will be written;
                               `urgent`: the last of them is urgent data
    read N|all [= M]           take up to N bytes; there are M (default N)
    finish                     no more will be written
    reset                      end the flow
    expect EVENT ["REASON"]    offered, connected, readable, writable, finished, closed has come since last asked
    expect no EVENT            it has not
    expect NAME OP VALUE       a field of Core.flow() or Core.memory(), or a counter (its name has a dot)
    rebase N                   from here on another connection of the same ends: sequence numbers count anew, the guest's
                               from N behind where they began

Settings: `congestion` (`reno`), `mtu` (1500), `reader` (`manual`, or `greedy`: the host reads all at once), `ecn` (`off`, or
`on`: the SYNs ask for it).  `established win N <OPTIONS>` and `opened win N <OPTIONS>` begin with a handshake, of the guest or
of the host, with the guest's SYN as said; its answer to ours comes after `rtt` (0) seconds; N is the field of the guest's
first segment behind it.

A `Variation` chooses the initial sequence numbers and the IP version (family.py): a script must hold wherever the numbers
lie, and over both, so that the tests run each with numbers that wrap within its first bytes, and over IPv6.  `set ip 4` or
`set ip 6` is for what only one of them has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyslirp.addresses import pack
from pyslirp.engine.core import core as engine
from pyslirp.engine.core.core import Core
from pyslirp.sim.apps import pattern
from pyslirp.sim.clock import SECOND_NS, Clock
from pyslirp.sim.family import FAMILIES, GATEWAY_MAC, GUEST_MAC
from pyslirp.sim.link import ETH_HEADER_BYTES
from pyslirp.sim.notation import MARKS, Action, IcmpError, Packet, Script, Statement, WantedOptions, When, parse
from pyslirp.sim.segment import BadFrameError, Options, Segment, Way, build_frame, read_frame

DEFAULTS = {
    "mtu": "1500",
    "reader": "manual",
    "congestion": "reno",
    "ecn": "off",
    "established": "",
    "opened": "",
    "rtt": "0",
    "ip": "4 6",
}
SEED = b"packets by script"[:16]
ISN_TICK_NS = 4000  #: core/streams.pyx: how fast initial sequence numbers advance (RFC 6528)
GUEST_STREAM, HOST_STREAM = 1, 2  #: seeds of the two patterns
PATIENCE_NS = 3600 * SECOND_NS  #: how long `*` waits
SETTLE_ROUNDS = 1000
EVENTS = {
    engine.KIND_FLOW: "offered",
    engine.KIND_CONNECTED: "connected",
    engine.KIND_READABLE: "readable",
    engine.KIND_WRITABLE: "writable",
    engine.KIND_FINISHED: "finished",
    engine.KIND_CLOSED: "closed",
}
REFUSALS = {
    "reset": engine.REFUSE_RESET,
    "port": engine.REFUSE_PORT,
    "host": engine.REFUSE_HOST,
    "net": engine.REFUSE_NET,
    "prohibited": engine.REFUSE_PROHIBITED,
    "silent": engine.REFUSE_SILENT,
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ScriptError(AssertionError):
    """The engine did not do what the script says."""


@dataclass(frozen=True, slots=True)
class Variation:
    """Initial sequence numbers: the guest's, and the engine's for a connection that is made when the script begins."""

    guest_isn: int = 1000
    engine_isn: int | None = None  #: None: whatever it chooses
    version: int = 4  #: of IP


WRAPPING = Variation(0xFFFFFFFF - 500, 0xFFFFFFFF - 300)  #: both wrap soon


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet of the engine."""

    at: int
    segment: Segment | None
    icmp: tuple[int, int] | None

    def show(self, runner: Runner) -> str:
        """In the script's notation, with its time since the script began."""
        time = f"@{(self.at - runner.began) / SECOND_NS:.6f} > "
        return time + (f"icmp {self.icmp}" if self.segment is None else runner.notation(self.segment))


class Runner:
    """One run of one script."""

    def __init__(self, script: Script, variation: Variation | None = None) -> None:
        self.script = script
        variation = variation or Variation()
        chosen = DEFAULTS | script.settings
        if set(chosen) - set(DEFAULTS):
            raise ScriptError(f"{script.name}: no such setting: {sorted(set(chosen) - set(DEFAULTS))}")
        self.family = FAMILIES[variation.version]
        self.mtu = int(chosen["mtu"]) + self.family.extra_bytes
        self.congestion = chosen["congestion"]
        self.ecn = chosen["ecn"] == "on"
        self.greedy = chosen["reader"] == "greedy"
        self.guest, self.far = self.family.guest, self.family.far
        self.way = Way(GUEST_MAC, self.guest, GATEWAY_MAC, self.far)
        self.guest_isn = variation.guest_isn
        self.engine_isn: int | None = None  # known with its first SYN
        self.ts_base: int | None = None  # what the engine's timestamp 0 is on the wire
        self.sent: list[Sent] = []
        self.events: list[tuple[str, str]] = []
        self.flow: int | None = None
        self.written = self.read = 0
        start = SECOND_NS if variation.engine_isn is None else self._start_for(variation.engine_isn)
        self.clock = Clock(start)
        self.core = self._core(start)
        self.began = self._previous = self.clock.now

    # -- making -------------------------------------------------------------------------------------------------------

    def _core(self, now: int) -> Core:
        """A gateway that has heard of its guest."""
        core = Core(SEED, bytes(GATEWAY_MAC), mtu=self.mtu)
        core.set_congestion(self.congestion)
        core.set_ecn(self.ecn)
        self.family.configure(core)
        self.port = core.add_port(self.mtu)
        core.deliver(self.port, [self.family.hello()], now)
        core.collect(self.port)  # its answer to the guest's question
        return core

    def _start_for(self, isn: int) -> int:
        """The time at which the engine's initial sequence number for these ends is `isn` (it follows the clock)."""
        core = self._core(SECOND_NS)
        core.open(pack(self.guest.address), self.guest.port, pack(self.far.address), self.far.port, 0, SECOND_NS)
        core.run(SECOND_NS)
        found = read_frame(core.collect(self.port)[0])
        assert found is not None
        return SECOND_NS + ((isn - found[0].seq) % (1 << 32)) * ISN_TICK_NS

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the whole script.  Raises ScriptError, with the line, at the first thing that differs."""
        for statement in [*self._handshake(), *self.script.statements]:
            try:
                self._step(statement)
            except (AssertionError, KeyError, BadFrameError) as error:
                place = f"{self.script.name}:{statement.line}: {statement.text}"
                raise ScriptError(f"{place}\n  {str(error) or type(error).__name__}") from error
        if self.sent:
            raise ScriptError(f"{self.script.name}: at its end the engine has sent\n{self._unasked()}")

    def _handshake(self) -> list[Statement]:
        """The statements that the settings `established` and `opened` stand for."""
        ours, theirs = self.script.settings.get("established"), self.script.settings.get("opened")
        told = ours or theirs
        if told is None:
            return []
        options = told[told.index("<") :] if "<" in told else ""
        field = int(told.removesuffix(options).removeprefix("win "))
        wanted = parse(f"+0 < S 0:0(0) win 0 {options}").statements[0].what
        assert isinstance(wanted, Packet)
        window = min(field << (wanted.options.scale or 0), 65535)
        stamp = f"<TS val {wanted.options.timestamps[0]} ecr 0>" if wanted.options.timestamps else ""
        ask, yes = ("SEW", "S.E") if self.ecn else ("S", "S.")
        lines = [f"+0 < {ask} 0:0(0) win {window} {options}", "+0 serve", f"+0 > {yes} 0:0(0) ack 1 <...>"]
        rtt = self.script.settings.get("rtt", "0")
        lines += [f"+{rtt} < . 1:1(0) ack 1 win {field} {stamp}"]
        if theirs:
            lines = ["+0 open", f"+0 > {ask} 0:0(0) <...>", f"+{rtt} < {yes} 0:0(0) ack 1 win {window} {options}"]
            lines += ["+0 > . 1:1(0) ack 1 <...>", f"+0 < . 1:1(0) ack 1 win {field} {stamp}"]
        return parse("\n".join([*lines, "+0 expect connected"]), self.script.name).statements

    def _step(self, statement: Statement) -> None:
        what, when = statement.what, statement.when
        if isinstance(what, Packet | IcmpError) and not what.from_guest:
            sent = self._next_sent(when)
            self._previous = sent.at
            self._compare(what, sent)
            return
        time = (self.began if when.kind == "@" else self._previous) + when.first_ns
        self._advance(time)
        self._previous = time
        assert not self.sent, f"before that the engine has sent\n{self._unasked()}"
        if isinstance(what, Packet):
            self.core.deliver(self.port, [build_frame(self._segment(what), self.way)], time)
        elif isinstance(what, IcmpError):
            self.core.deliver(self.port, [self._icmp(what)], time)
        else:
            self._act(what)
        self._settle()

    def _next_sent(self, when: When) -> Sent:
        """The next packet, which must come in time."""
        if when.kind == "*":
            end = self.clock.now + PATIENCE_NS
            while not self.sent and (due := self.core.next_deadline()) is not None and due <= end:
                self._advance(due)
            assert self.sent, "the engine sends nothing more"
            return self.sent.pop(0)
        base = self.began if when.kind == "@" else self._previous
        while not self.sent and (due := self.core.next_deadline()) is not None and due <= base + when.last_ns:
            self._advance(due)
        if not self.sent:
            self._advance(base + when.last_ns)
            raise AssertionError("the engine has sent nothing by then")
        sent = self.sent.pop(0)
        if not base + when.first_ns <= sent.at <= base + when.last_ns:
            after = (sent.at - base) / SECOND_NS
            raise AssertionError(f"the next packet came {after:+.6f} s after the statement before: {sent.show(self)}")
        return sent

    def _advance(self, to: int) -> None:
        """Let time pass, and note what the engine sends on the way."""
        while (due := self.core.next_deadline()) is not None and due <= to:
            self.clock.advance(max(due, self.clock.now))
            self._settle()
        self.clock.advance(max(to, self.clock.now))
        self._settle()

    def _settle(self) -> None:
        """Let everything happen that happens now."""
        for _ in range(SETTLE_ROUNDS):
            more = self.core.run(self.clock.now)
            for punt in self.core.punts():
                self._punt(punt)
                more = True
            for frame in self.core.collect(self.port):
                self._note(frame)
                more = True
            due = self.core.next_deadline()
            if not more and (due is None or due > self.clock.now):
                return
        raise ScriptError(f"{self.script.name}: the engine does not come to rest")

    def _punt(self, punt: engine._Punt) -> None:
        if punt[0] == engine.KIND_FLOW:
            self.flow = punt[1]
        reason = engine.REASONS[punt[4]] if punt[0] == engine.KIND_CLOSED else ""
        self.events.append((EVENTS[punt[0]], reason))
        if punt[0] == engine.KIND_READABLE and self.greedy:
            self._read(1 << 30)

    def _note(self, frame: bytes) -> None:
        """Keep a frame of the engine, unless it asks where the guest is."""
        assert len(frame) <= self.mtu + ETH_HEADER_BYTES, f"a frame of {len(frame)} bytes for an MTU of {self.mtu}"
        if (error := self.family.icmp(frame)) is not None:
            self.sent.append(Sent(self.clock.now, None, error))
            return
        if self.family.asks(frame):
            answer = self.family.answer(frame)
            self.core.deliver(self.port, [answer] if answer else [], self.clock.now)
            return
        found = read_frame(frame)
        assert found is not None, f"neither TCP nor ICMP: {frame.hex()}"
        segment, way = found
        assert way == self.way.back, f"a segment from {way.source} to {way.destination} at {way.destination_mac}"
        self.sent.append(Sent(self.clock.now, segment, None))

    # -- numbers of the script and of the wire ------------------------------------------------------------------------

    def _segment(self, packet: Packet) -> Segment:
        """A segment of the guest, for the wire."""
        ours = self.engine_isn or 0
        written = packet.options
        timestamps = None
        if written.timestamps is not None:
            value, echo = written.timestamps
            assert value is not None, "the guest's timestamp is a number"
            timestamps = value, (echo + (self.ts_base or 0)) % (1 << 32)
        blocks = [((start + ours) % (1 << 32), (end + ours) % (1 << 32)) for start, end in written.sack]
        start = packet.seq - 1 + ("S" in packet.flags)
        return Segment(
            packet.flags,
            packet.seq + self.guest_isn,
            0 if packet.ack is None else packet.ack + ours,
            packet.window or 0,
            pattern(GUEST_STREAM, packet.length, start) if packet.length else b"",
            packet.urgent,
            Options(written.mss, written.scale, written.sack_permitted, timestamps, blocks, written.raw),
            packet.mark or 0,
        )

    def _icmp(self, written: IcmpError) -> bytes:
        """An ICMP error of the guest, with the beginning of the packet that it is about."""
        seq = (written.seq + (self.engine_isn or 0)) % (1 << 32)
        quoted = build_frame(Segment(".", seq), self.way.back)[ETH_HEADER_BYTES:]
        kind = self.family.error(written.kind, written.code)
        extra = self.family.extra_bytes
        mtu = written.mtu + extra if written.mtu else 0
        return self.family.icmp_error(kind, quoted, written.packet_bytes + extra, mtu)

    def notation(self, segment: Segment) -> str:
        """A segment of the engine as a script would write it."""
        seq, ack = self._relative(segment)
        length, options = len(segment.payload), segment.options
        shown = [f"mss {options.mss}"] if options.mss is not None else []
        shown += ["sackOK"] if options.sack_permitted else []
        if options.timestamps is not None:
            value, echo = options.timestamps
            shown += [f"TS val {(value - (value if self.ts_base is None else self.ts_base)) % (1 << 32)} ecr {echo}"]
        shown += [f"wscale {options.scale}"] if options.scale is not None else []
        shown += ["sack " + " ".join(f"{start}:{end}" for start, end in self._blocks(options))] if options.sack else []
        text = f"[{MARKS[segment.mark]}] " if segment.mark else ""
        text += f"{segment.flags or '-'} {seq}:{seq + length}({length})"
        text += f" ack {ack}" if "." in segment.flags else ""
        text += f" win {segment.window}" + (f" urg {segment.urgent}" if segment.urgent else "")
        return text + (f" <{','.join(shown)}>" if shown else "")

    def _relative(self, segment: Segment) -> tuple[int, int]:
        base = self.engine_isn
        if base is None:
            base = segment.seq if "S" in segment.flags else 0
        return (segment.seq - base) % (1 << 32), (segment.ack - self.guest_isn) % (1 << 32)

    def _blocks(self, options: Options) -> tuple[tuple[int, int], ...]:
        isn = self.guest_isn
        return tuple(((start - isn) % (1 << 32), (end - isn) % (1 << 32)) for start, end in options.sack)

    # -- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, wanted: Packet | IcmpError, sent: Sent) -> None:
        if isinstance(wanted, IcmpError):
            expected = self.family.error(wanted.kind, wanted.code)
            assert sent.icmp == expected, f"the engine has sent\n    {sent.show(self)}"
            return
        segment = sent.segment
        assert segment is not None, f"the engine has sent\n    {sent.show(self)}"
        if "S" in segment.flags and self.engine_isn is None:
            self.engine_isn = segment.seq
        if segment.options.timestamps is not None and self.ts_base is None:
            value = wanted.options.timestamps[0] if wanted.options.timestamps else None
            self.ts_base = segment.options.timestamps[0] - (value or 0)
        seq, ack = self._relative(segment)
        same = (
            (segment.flags, seq, len(segment.payload), segment.urgent)
            == (wanted.flags, wanted.seq, wanted.length, wanted.urgent)
            and ("." not in segment.flags or ack == wanted.ack)
            and wanted.window in {None, segment.window}
            and wanted.mark in {None, segment.mark}
            and (wanted.options.any or self._same_options(wanted.options, segment.options))
        )
        assert same, f"the engine has sent\n    {sent.show(self)}"
        start = seq - 1
        assert segment.payload == pattern(HOST_STREAM, len(segment.payload), start), (
            "its payload is not the host's stream"
        )

    def _same_options(self, wanted: WantedOptions, options: Options) -> bool:
        timestamps = None
        if options.timestamps is not None:
            value: int | None = (options.timestamps[0] - (self.ts_base or 0)) % (1 << 32)
            if wanted.timestamps is not None and wanted.timestamps[0] is None:
                value = None
            timestamps = (value, options.timestamps[1])
        found = WantedOptions(
            False, options.mss, options.scale, options.sack_permitted, timestamps, self._blocks(options), options.raw
        )
        return found == wanted

    def _unasked(self) -> str:
        return "\n".join(f"    {sent.show(self)}" for sent in self.sent)

    # -- the host -----------------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        words = action.arguments
        if action.word == "serve":
            self.core.serve(self._flow(), 0, self.clock.now)
        elif action.word == "deny":
            self.core.deny(self._flow(), REFUSALS[words[0]], self.clock.now)
        elif action.word == "open":
            ends = pack(self.guest.address), self.guest.port, pack(self.far.address), self.far.port
            self.flow = self.core.open(*ends, 0, self.clock.now)
            assert self.flow, "the flow cannot be opened"
        elif action.word == "write":
            self._write(words)
        elif action.word == "read":
            most = 1 << 30 if words[0] == "all" else int(words[0])
            got = self._read(most)
            wanted = int(words[2]) if len(words) > 1 else most
            assert got == wanted or (words == ("all",)), f"{got} bytes were there"
        elif action.word == "finish":
            self.core.stream_finish(self._flow())
        elif action.word == "reset":
            self.core.close_flow(self._flow(), self.clock.now)
        elif action.word == "rebase":
            self.guest_isn += int(words[0])
            self.engine_isn = self.ts_base = None
            self.read = self.written = 0
        elif action.word == "expect":
            self._expect(words)
        else:
            raise ScriptError(f"no such word: {action.word}")

    def _flow(self) -> int:
        assert self.flow is not None, "there is no flow yet"
        return self.flow

    def _write(self, words: tuple[str, ...]) -> None:
        length = int(words[0])
        expected = int(words[2]) if "=" in words else length
        urgent = words[-1] == "urgent"
        taken = self.core.stream_write(self._flow(), pattern(HOST_STREAM, length, self.written), urgent)
        self.written += taken
        assert taken == expected, f"{taken} bytes were taken"
        if words[-1] == "finish":
            self.core.stream_finish(self._flow())

    def _read(self, most: int) -> int:
        data = self.core.stream_read(self._flow(), most, self.clock.now)
        assert data == pattern(GUEST_STREAM, len(data), self.read), "what was read is not the guest's stream"
        self.read += len(data)
        return len(data)

    def _expect(self, words: tuple[str, ...]) -> None:
        names = [name for name, _ in self.events]
        if words[0] == "no":
            assert words[1] not in names, f"these have happened: {self.events}"
        elif words[0] in EVENTS.values():
            assert words[0] in names, f"only these have happened: {self.events}"
            _, reason = self.events.pop(names.index(words[0]))
            assert len(words) == 1 or reason == words[1], f"the reason was {reason!r}"
        else:
            name, sign, value = words
            found = self._value(name)
            assert OPERATORS[sign](str(found) if isinstance(found, str) else found, _literal(value)), (
                f"{name} is {found}"
            )

    def _value(self, name: str) -> Any:
        if "." in name:
            return self.core.counters()[name]
        if name in (memory := self.core.memory()):
            return memory[name]
        return self.core.flow(self._flow())[name]


def _literal(text: str) -> int | str | bool:
    return int(text) if text.lstrip("-").isdigit() else {"True": True, "False": False}.get(text, text)


def run(script: Script, variation: Variation | None = None) -> None:
    """Run a script.  Raises ScriptError."""
    Runner(script, variation).run()


def versions(script: Script) -> tuple[int, ...]:
    """The IP versions that a script holds over: both, unless it says `set ip`."""
    return tuple(int(word) for word in (DEFAULTS | script.settings)["ip"].split())
