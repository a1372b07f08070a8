r"""The notation of the timed packet scripts, after packetdrill's: text to statements.

    // What the script proves.
    set mtu 1500
    +0    < S 0:0(0) win 65535 <mss 1460,sackOK>
    +0    serve
    +0    > S. 0:0(0) ack 1 <...>
    +.01  < . 1:1(0) ack 1 win 65535
    +0    write 1000
    +0    > P. 1:1001(1000) ack 1
    +.04  expect state == ESTABLISHED

A script is lines.  `//` begins a comment.  `set NAME VALUE` lines stand before the first statement.  A statement is a time
and what happens then:

    +SECONDS            so long after the statement before
    +SECONDS~SECONDS    (only of `>`) at some time between
    @SECONDS            so long after the script began
    *                   (only of `>`) whenever the next packet comes

    < SEGMENT           the guest sends a segment
    > SEGMENT           the engine has sent it, then and nothing before
    > icmp TYPE CODE    the engine has sent an ICMP error, e.g. `icmp unreachable port`
    < icmp TYPE CODE seq N [len N] [mtu N]
                        the guest sends one, about the engine's segment N in a packet of so many bytes (1500)
    WORD ARGUMENT...    the host does something, or something is expected (script.py lists the words)

    SEGMENT   [[MARK]] FLAGS FIRST:LAST(LENGTH) [ack N] [win N] [urg N] [<OPTIONS>]
    MARK      the ECN field of the IP header: noecn, ect0, ect1 or ce; of what the engine sends, none written means any
    FLAGS     letters of SFRPUEW, and . for ACK;  - for none
    OPTIONS   ... (whatever there is), or a list of:  mss N,  wscale N,  sackOK,  TS val N ecr N,  sack A:B C:D,  raw HEX

Sequence numbers count from the initial one of whoever sends; acknowledgments and SACK blocks from that of the other side.
A window is the field on the wire, not scaled.  A timestamp value of the engine counts from its first (write `*` for any);
the guest's are as they are.  Of what the engine sends, an absent `win` means any window, an absent `<...>` means no option.
Sizes of packets (`mtu`, `len`) are those of IPv4, whichever version a script runs over (family.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pyslirp.sim.clock import seconds


class NotationError(ValueError):
    """A line that is no statement; its text says where."""


@dataclass(frozen=True, slots=True)
class When:
    """A statement's time."""

    kind: str  #: "+", "@" or "*"
    first_ns: int = 0
    last_ns: int = 0


@dataclass(frozen=True, slots=True)
class WantedOptions:
    """Options as written; `any` for `<...>`."""

    any: bool = False
    mss: int | None = None
    scale: int | None = None
    sack_permitted: bool = False
    timestamps: tuple[int | None, int] | None = None  #: value (None: any), echo
    sack: tuple[tuple[int, int], ...] = ()
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Packet:
    """A segment as written."""

    from_guest: bool
    flags: str
    seq: int
    length: int
    ack: int | None
    window: int | None
    urgent: int
    options: WantedOptions
    mark: int | None = None  #: ECN field; None: not written


@dataclass(frozen=True, slots=True)
class IcmpError:
    """`icmp TYPE CODE`, and what the guest's quotes."""

    kind: str
    code: str
    from_guest: bool = False
    seq: int = 0
    packet_bytes: int = 1500
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    """What the host does, or what is expected."""

    word: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """One line."""

    line: int
    text: str
    when: When
    what: Packet | IcmpError | Action


@dataclass
class Script:
    """A whole file."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)


MARKS = ("noecn", "ect1", "ect0", "ce")  #: by the two bits of the ECN field (RFC 3168 section 5)

_NUMBER = r"\d*\.?\d+"
_WHEN = re.compile(rf"(?:([+@])({_NUMBER})(?:~\+?({_NUMBER}))?|(\*))\s+(.*)")
_SEGMENT = re.compile(
    r"(?:\[(noecn|ect0|ect1|ce)\]\s+)?([SFRPUEW.-]+)\s+(\d+):(\d+)\((\d+)\)(?:\s+ack\s+(\d+))?(?:\s+win\s+(\d+))?(?:\s+urg\s+(\d+))?(?:\s+<([^>]*)>)?"
)
_WORDS = re.compile(r'"([^"]*)"|(\S+)')


def parse(text: str, name: str = "script") -> Script:
    """The script in `text`.  Raises NotationError."""
    script = Script(name)
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.split("//", 1)[0].strip()
        if not line:
            continue
        try:
            if line.startswith("set "):
                _setting(script, line)
            else:
                script.statements.append(_statement(number, line))
        except ValueError as error:
            raise NotationError(f"{name}:{number}: {error}: {line}") from error
    return script


def _setting(script: Script, line: str) -> None:
    _, name, value = line.split(None, 2)
    if script.statements:
        raise ValueError("settings stand before the first statement")
    script.settings[name] = value


def _statement(number: int, line: str) -> Statement:
    found = _WHEN.fullmatch(line)
    if not found:
        raise ValueError("a statement begins with +SECONDS, @SECONDS or *")
    sign, first, last, star, rest = found.groups()
    when = When("*") if star else When(sign, seconds(float(first)), seconds(float(last or first)))
    what = _what(rest)
    sent = isinstance(what, Packet | IcmpError) and not what.from_guest
    if not sent and (when.kind == "*" or when.first_ns != when.last_ns):
        raise ValueError("only what the engine sends may come at an unknown time")
    return Statement(number, line, when, what)


def _what(text: str) -> Packet | IcmpError | Action:
    if text[0] in "<>":
        body = text[1:].strip()
        if body.startswith("icmp "):
            return _icmp(body, text[0] == "<")
        return _packet(body, text[0] == "<")
    words = tuple(quoted or plain for quoted, plain in _WORDS.findall(text))
    return Action(words[0], words[1:])


def _icmp(text: str, from_guest: bool) -> IcmpError:
    _, kind, code, *words = text.split()
    told = {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    if (not from_guest and told) or not told.keys() <= {"seq", "len", "mtu"}:
        raise ValueError("no ICMP error")
    return IcmpError(kind, code, from_guest, told.get("seq", 0), told.get("len", 1500), told.get("mtu", 0))


def _packet(text: str, from_guest: bool) -> Packet:
    found = _SEGMENT.fullmatch(text)
    if not found:
        raise ValueError("no segment")
    mark, flags, first, last, length, ack, window, urgent, options = found.groups()
    if int(last) - int(first) != int(length):
        raise ValueError(f"{first}:{last} is not {length} bytes")
    if ("." in flags) != (ack is not None):
        raise ValueError("ack N and the flag . go together")
    if from_guest and window is None and "R" not in flags:
        raise ValueError("a segment of the guest needs a window")
    return Packet(
        from_guest,
        "".join(letter for letter in "FSRP.UEW" if letter in flags),
        int(first),
        int(length),
        None if ack is None else int(ack),
        None if window is None else int(window),
        int(urgent or 0),
        _options(options),
        None if mark is None else MARKS.index(mark),
    )


def _options(text: str | None) -> WantedOptions:
    if text is None:
        return WantedOptions()
    if text.strip() == "...":
        return WantedOptions(any=True)
    mss: int | None = None
    scale: int | None = None
    sack_permitted = False
    timestamps: tuple[int | None, int] | None = None
    sack: tuple[tuple[int, int], ...] = ()
    raw = b""
    for option in text.split(","):
        name, *words = option.split()
        if name == "mss":
            mss = int(words[0])
        elif name == "wscale":
            scale = int(words[0])
        elif name == "sackOK":
            sack_permitted = True
        elif name == "TS":
            _, value, _, echo = words
            timestamps = (None if value == "*" else int(value), int(echo))
        elif name == "sack":
            sack = tuple(_block(word) for word in words)
        elif name == "raw":
            raw = bytes.fromhex("".join(words))
        elif name != "nop":
            raise ValueError(f"no option {name}")
    return WantedOptions(False, mss, scale, sack_permitted, timestamps, sack, raw)


def _block(word: str) -> tuple[int, int]:
    start, end = word.split(":")
    return int(start), int(end)
