"""What holds for every test: which build runs, what a skip means, how Hypothesis searches, what may run beside others.

`make test` runs pytest twice: with `--part=beside` in a worker for each core, then with `--part=alone` what those would
disturb.  Without `--part` everything runs, one after the other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ".ci/packages.txt"
FLAVOUR = os.environ.get("PYSLIRP_BUILD") or "release"
ALONE = [ROOT / "tests" / name for name in ("differential", "interop", "platform")]  #: all of it is marked `alone`
NO_SKIP = os.environ.get("PYSLIRP_NO_SKIP", "") not in ("", "0")

# No deadlines: they measure the machine.  In CI the same examples every time, so that a verdict belongs to its commit.
settings.register_profile("pyslirp", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI")))
settings.load_profile("pyslirp")


def wrong_build(engine: Path) -> str | None:
    """Why the engine package at `engine` is not the flavour that PYSLIRP_BUILD names; None where it is.

    Without this, a sanitizer run that picked up the release build by some path would be green and prove nothing.
    """
    if FLAVOUR == "release":
        return f"the release build was asked for, not {engine}" if ROOT / "build" in engine.parents else None
    if engine != ROOT / "build" / FLAVOUR / "lib" / "pyslirp" / "engine":
        return f"PYSLIRP_BUILD={FLAVOUR}, but the engine is imported from {engine}; run `make {FLAVOUR}`"
    if FLAVOUR in ("sanitize", "fuzz"):
        for module in engine.rglob("*.so"):
            if b"__asan_init" not in module.read_bytes():
                return f"{module} was built without the address sanitizer"
    return None


@pytest.fixture(autouse=True)
def untouched_log() -> Generator[logging.Logger, None, None]:
    """pyslirp's logger, put back as it was: a command line that a test has run takes it over."""
    logger = logging.getLogger("pyslirp")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield logger
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part", choices=("beside", "alone"), help="only the tests that may run beside others, or only those that may not"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what runs alone, and keep the part that was asked for; the rest is left out, not skipped."""
    for item in items:
        if any(folder in item.path.parents for folder in ALONE):
            item.add_marker("alone")
    part = config.getoption("--part")
    if part is None:
        return
    parts: dict[str, list[pytest.Item]] = {"beside": [], "alone": []}
    for item in items:
        parts["alone" if item.get_closest_marker("alone") else "beside"].append(item)
    items[:] = parts.pop(part)
    (left_out,) = parts.values()
    config.hook.pytest_deselected(items=left_out)


def pytest_configure(config: pytest.Config) -> None:
    import pyslirp.engine

    if problem := wrong_build(Path(pyslirp.engine.__file__).resolve().parent):
        raise pytest.UsageError(problem)


def pytest_report_header() -> str:
    return f"pyslirp build: {FLAVOUR}" + ("; a skip is a failure (PYSLIRP_NO_SKIP)" if NO_SKIP else "")


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that keeps the reason.  (An expected failure is not a skip.)"""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"PYSLIRP_NO_SKIP: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if NO_SKIP:
        forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if NO_SKIP:
        forbid_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.section("skipped tests")
        terminalreporter.line(
            f"{skipped} tests were skipped for the reasons above.  As root on Debian or Ubuntu, this installs"
        )
        terminalreporter.line(f"what they need:  apt-get install $(sed 's/#.*//' {PACKAGES})")
