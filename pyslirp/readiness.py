"""Does a guest's port accept connections?  What the host forwarding rules marked ``@ready`` go by.

A port is asked by a TCP connection to it, which is reset as soon as it is there.  Until it accepts it is asked again
and again, at first often and then with the pauses doubled; once it does, now and then, and at once when it has refused
a client.  So a readiness probe of the host's (a health check, ``wait-for-it``) that finds the forwarded port open has
found the guest's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pyslirp.addresses import Endpoint
from pyslirp.errors import ClosedError, SlirpError
from pyslirp.flows import ServedStream, StreamHandler

FIRST_PAUSE_NS = 50_000_000  #: after the first refusal
LONGEST_PAUSE_NS = 2_000_000_000  #: between questions to a port that does not accept
AGAIN_NS = 5_000_000_000  #: between questions to one that does
PATIENCE_NS = 3_000_000_000  #: for an answer; a port that gives none does not accept

StreamFactory = Callable[[ServedStream], StreamHandler]
Connect = Callable[[Endpoint, StreamFactory], ServedStream]  #: raises SlirpError where it cannot be begun


class Cancellable(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """It will not be made."""


CallLater = Callable[[int, Callable[[], None]], Cancellable]  #: is given nanoseconds and what to call


class _Question:
    """One connection to the port, which has an answer or gives up (StreamHandler)."""

    def __init__(self, stream: ServedStream, answered: Callable[[bool], None]) -> None:
        self._stream = stream
        self._answered: Callable[[bool], None] | None = answered

    def connected(self) -> None:
        self._answer(accepts=True)

    def readable(self) -> None:
        """Whatever a server says first is not for us."""

    def writable(self) -> None:
        """Nothing is ever sent."""

    def finished(self) -> None:
        """The reset is on its way."""

    def closed(self, reason: str) -> None:
        del reason
        self._answer(accepts=False)

    def drop(self) -> None:
        """No answer is wanted any more."""
        self._answered = None
        self._stream.abort()

    def _answer(self, *, accepts: bool) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            self._stream.abort()
            answered(accepts)


class Watch:
    """What is known of one port; `changed` is told whenever that becomes something else."""

    def __init__(
        self, guest: Endpoint, connect: Connect, call_later: CallLater, changed: Callable[[bool], None]
    ) -> None:
        self._guest = guest
        self._connect = connect
        self._call_later = call_later
        self._changed = changed
        self._pause = FIRST_PAUSE_NS
        self._question: _Question | None = None
        self._timer: Cancellable | None = None
        self.ready = False  #: it accepted when it was asked last

    def ask(self) -> None:
        """Ask now, unless an answer is awaited already."""
        if self._question is not None:
            return
        self._stop_timer()
        try:
            self._connect(self._guest, self._made)
        except ClosedError:
            return
        except SlirpError:  # no flow is free: as if nobody had answered
            self._answered(accepts=False)
            return
        self._timer = self._call_later(PATIENCE_NS, self._give_up)

    def close(self) -> None:
        """Ask no more, and tell nothing."""
        self._stop_timer()
        question, self._question = self._question, None
        if question is not None:
            question.drop()

    def _made(self, stream: ServedStream) -> StreamHandler:
        self._question = _Question(stream, self._answered)
        return self._question

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _give_up(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question.drop()
            self._answered(accepts=False)

    def _answered(self, accepts: bool) -> None:
        self._question = None
        self._stop_timer()
        if accepts:
            self._pause = FIRST_PAUSE_NS
        pause = AGAIN_NS if accepts else self._pause
        self._timer = self._call_later(pause, self.ask)
        if not accepts:
            self._pause = min(2 * self._pause, LONGEST_PAUSE_NS)
        if accepts != self.ready:
            self.ready = accepts
            self._changed(accepts)
