"""Every source has its unit test at the mirrored place, and every unit test its source.

pyslirp/services/dhcp.py         tests/unit/services/test_dhcp.py
ext/pyslirp/engine/stores/x.pyx  tests/unit/engine/stores/test_x.py

A `.pxd` without a `.pyx` is a source where it holds functions; one that only declares has nothing to test.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from tests.meta.cython_source import functions
from tests.meta.tree import EXT, ROOT, cython_files, python_files

# Sources without a test of their own, and why none is missing.  The list may only shrink: an entry whose test exists,
# or whose source is gone, fails.  A folder's entry ends in a slash and speaks for what is directly in it.
EXCEPTIONS: dict[str, str] = {
    "pyslirp/_version.py": "tests/meta/test_version.py",
    "pyslirp/__main__.py": "three lines; tests/unit/cli runs it",
    "pyslirp/services/base.py": "types without behaviour",
}


def places() -> dict[str, str]:
    """Each source of pyslirp and the place of its test, as paths in the repository; those that only declare too."""
    compiled = {path.with_suffix(".pxd") for path in cython_files() if path.suffix == ".pyx"}
    kept = [(path, ROOT / "pyslirp") for path in python_files("pyslirp")]
    kept += [(path, EXT / "pyslirp") for path in cython_files() if path not in compiled]
    return {
        str(path.relative_to(ROOT)): expected(PurePosixPath(path.relative_to(base)))
        for path, base in kept
        if path.stem != "__init__"
    }


def sources() -> dict[str, str]:
    """Those that must have a test."""
    return {
        source: test
        for source, test in places().items()
        if not source.endswith(".pxd") or functions((ROOT / source).read_text())
    }


def expected(path: PurePosixPath) -> str:
    """The test of the source at `path` (relative to the package)."""
    return str("tests/unit" / path.with_name(f"test_{path.stem.lstrip('_')}.py"))


def excused(source: str) -> str | None:
    """The entry of EXCEPTIONS that speaks for `source`."""
    folder = source.rsplit("/", 1)[0] + "/"
    return next((entry for entry in (source, folder) if entry in EXCEPTIONS), None)


def test_every_source_has_its_test() -> None:
    missing = {
        source: test for source, test in sources().items() if not excused(source) and not (ROOT / test).is_file()
    }
    assert not missing, "\n" + "\n".join(f"{source} wants {test}" for source, test in missing.items())


def test_no_exception_outlives_its_reason() -> None:
    needed = {excused(source) for source, test in sources().items() if not (ROOT / test).is_file()}
    assert not sorted(set(EXCEPTIONS) - needed), "remove these from EXCEPTIONS"


def test_every_unit_test_has_its_source() -> None:
    tests = {str(path.relative_to(ROOT)) for path in python_files("tests/unit") if path.name.startswith("test_")}
    orphans = sorted(tests - set(places().values()))
    assert not orphans, f"no source for: {orphans}"
