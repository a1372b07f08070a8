"""Handlers that remember, and everything that a stack publishes: what tests of whole networks look at."""

from __future__ import annotations

from typing import Any

from pyslirp.events import Event
from pyslirp.flows import ServedDatagrams, ServedStream
from pyslirp.stack import Stack


class Recorder:
    """A handler in this process: keeps what it hears, answers with the same."""

    def __init__(self, stream: ServedStream) -> None:
        self.stream = stream
        self.calls: list[str] = []
        self.received = bytearray()

    def connected(self) -> None:
        self.calls.append("connected")

    def readable(self) -> None:
        while data := self.stream.read():
            self.received += data
            self.stream.write(data)

    def writable(self) -> None:
        self.calls.append("writable")

    def finished(self) -> None:
        self.calls.append("finished")
        self.stream.finish()

    def closed(self, reason: str) -> None:
        self.calls.append(reason)


class Recorders(list[Recorder]):
    """Makes handlers."""

    def __call__(self, stream: ServedStream) -> Recorder:
        self.append(Recorder(stream))
        return self[-1]


class EchoDatagrams:
    """Answers datagrams with the same."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def received(self, flow: ServedDatagrams, data: bytes) -> None:
        self.calls.append((flow.guest, flow.far, data))
        flow.reply(data)

    def ended(self, _flow: ServedDatagrams) -> None:
        self.calls.append("ended")


class Events:
    """Everything that is published."""

    def __init__(self, stack: Stack) -> None:
        self._subscription = stack.bus.subscribe()
        self._seen: list[Event] = []

    def of(self, kind: type[Event]) -> list[Any]:
        while (event := self._subscription.pop()) is not None:
            self._seen.append(event)
        return [event for event in self._seen if isinstance(event, kind)]
