"""Logging that a guest cannot flood, and what -v and -vv mean.

Every floor logs to its own logger (`pyslirp.links`, `pyslirp.services.dhcp` ...).  Where a guest can cause a message,
the logger is wrapped in `RateLimited`: of each message (its format string, whatever the arguments) a burst goes through
in each interval, the rest is counted, and the next one that goes through says how many there were.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from pyslirp.records import dataclass

BURST = 5  #: records of one message in one interval
INTERVAL_NS = 10_000_000_000
MESSAGE_LIMIT = 256  #: messages told apart; those beyond share one allowance

ROOT = "pyslirp"
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)  #: by the number of -v

_OTHERS = "(other messages)"


@dataclass(slots=True)
class _Window:
    """What one message has used of its interval."""

    began_ns: int
    passed: int = 0
    suppressed: int = 0


class RateLimited(logging.LoggerAdapter[logging.Logger]):
    """A logger whose every message is limited; use it as any logger."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        burst: int = BURST,
        interval_ns: int = INTERVAL_NS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`burst` records of each message pass in `interval_ns`; `clock` counts nanoseconds."""
        super().__init__(logger, {})
        self._burst = burst
        self._interval_ns = interval_ns
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log `msg % args`, or count it as suppressed."""
        if not self.isEnabledFor(level):
            return
        window = self._window(str(msg))
        if window.passed >= self._burst:
            window.suppressed += 1
            return
        window.passed += 1
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # the caller's line, not this one
        if window.suppressed:
            msg, args = f"{msg} (suppressed %d like this)", (*args, window.suppressed)
            window.suppressed = 0
        self.logger.log(level, msg, *args, **kwargs)

    def finish(self) -> None:
        """Say what was suppressed and never told, at the end of a run."""
        for message, window in self._windows.items():
            if window.suppressed:
                self.logger.info("suppressed %d like this: %s", window.suppressed, message)
                window.suppressed = 0

    def _window(self, message: str) -> _Window:
        now = self._clock()
        if message not in self._windows and len(self._windows) >= MESSAGE_LIMIT:
            message = _OTHERS
        window = self._windows.setdefault(message, _Window(now))
        if now - window.began_ns >= self._interval_ns:
            window.began_ns, window.passed = now, 0
        return window


def set_up(verbosity: int, stream: TextIO | None = None) -> logging.Handler:
    """Send pyslirp's log to `stream` (default: standard error): warnings, with -v what happens, with -vv every detail.

    May be called again: the new handler takes the old one's place.  Other loggers of the process are left alone.
    """
    logger = logging.getLogger(ROOT)
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
    made = logging.StreamHandler(stream or sys.stderr)
    detailed = "%(asctime)s.%(msecs)03d %(levelname).1s %(name)s: %(message)s"
    made.setFormatter(logging.Formatter(detailed if verbosity else "pyslirp: %(message)s", datefmt="%H:%M:%S"))
    logger.addHandler(made)
    logger.setLevel(LEVELS[min(max(verbosity, 0), len(LEVELS) - 1)])
    logger.propagate = False
    return made
