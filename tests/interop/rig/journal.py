"""The logs of everything that runs, for the report of a test that fails.

A guest, a backend or a bridge registers a function that reads its log while it lives; `conftest` adds what they say
to a failing test's report.  What has ended stays readable until the next test's end, since teardown is where many
failures show.
"""

from __future__ import annotations

from collections.abc import Callable

_LAST_BYTES = 20_000  # of each log; a console that loops must not drown the report

_live: dict[str, Callable[[], str]] = {}
_ended: dict[str, str] = {}


def keep(name: str, read: Callable[[], str]) -> None:
    """Show ``read()`` under ``name`` in the report of a test that fails from now on."""
    _live[name] = read


def drop(name: str) -> None:
    """What ``name`` reads has ended: keep its last words for the test that is running."""
    read = _live.pop(name, None)
    if read is not None:
        _ended[name] = read()


def forget_ended() -> None:
    """The test that is running has been reported: forget the logs of what ended in it."""
    _ended.clear()


def sections() -> list[tuple[str, str]]:
    """Every log as (name, text), long ones cut at their start."""
    texts = [*_ended.items(), *((name, read()) for name, read in _live.items())]
    return [(name, text[-_LAST_BYTES:]) for name, text in texts if text]
