from __future__ import annotations

import io
import logging

import pytest

from pyslirp.observe import log
from pyslirp.observe.log import MESSAGE_LIMIT, RateLimited

SECOND = 1_000_000_000


class Clock:
    """A clock that is moved by hand."""

    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limited(clock: Clock, caplog: pytest.LogCaptureFixture) -> RateLimited:
    caplog.set_level(logging.INFO)
    return RateLimited(logging.getLogger("test.limited"), burst=2, interval_ns=10 * SECOND, clock=clock)


def test_a_burst_passes_and_the_rest_is_counted(
    limited: RateLimited, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for port in range(7):
        limited.warning("port %d closed", port)
    clock.now = 10 * SECOND
    limited.warning("port %d closed", 7)
    limited.warning("port %d closed", 8)
    assert caplog.messages == [
        "port 0 closed",
        "port 1 closed",
        "port 7 closed (suppressed 5 like this)",
        "port 8 closed",
    ]


def test_messages_have_an_allowance_each(limited: RateLimited, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(4):
        limited.info("one")
        limited.warning("other")
    assert caplog.messages == ["one", "other", "one", "other"]


def test_what_the_level_keeps_out_costs_nothing(limited: RateLimited, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        limited.debug("detail")
    limited.finish()
    assert not caplog.messages


def test_the_end_tells_what_was_never_told(limited: RateLimited, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        limited.warning("bad frame from %s", "guest")
    limited.finish()
    limited.finish()
    assert caplog.messages[2:] == ["suppressed 3 like this: bad frame from %s"]


def test_messages_made_up_without_end_share_one_allowance(
    limited: RateLimited, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(MESSAGE_LIMIT + 50):
        limited.warning(f"made up {number}")
    assert len(caplog.messages) == MESSAGE_LIMIT + 2


def test_the_record_names_the_callers_line(limited: RateLimited, caplog: pytest.LogCaptureFixture) -> None:
    limited.warning("here")
    assert caplog.records[0].filename == "test_log.py"
    assert caplog.records[0].funcName == "test_the_record_names_the_callers_line"


@pytest.mark.parametrize(
    ("verbosity", "seen"),
    [(0, ["pyslirp: warned"]), (1, ["warned", "informed"]), (2, ["warned", "informed", "detailed"]), (7, ["detailed"])],
)
def test_verbosity(untouched_log: logging.Logger, verbosity: int, seen: list[str]) -> None:
    stream = io.StringIO()
    log.set_up(verbosity, stream)
    logger = logging.getLogger("pyslirp.links")
    logger.warning("warned")
    logger.info("informed")
    logger.debug("detailed")
    lines = stream.getvalue().splitlines()
    assert all(any(line.endswith(text) for line in lines) for text in seen)
    assert len(lines) == min(verbosity, 2) + 1
    assert all("pyslirp.links" in line for line in lines) == (verbosity > 0)


def test_a_second_set_up_takes_the_firsts_place(untouched_log: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    log.set_up(0, first)
    log.set_up(1, second)
    untouched_log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
