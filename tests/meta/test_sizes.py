"""No file is a hall, no function a corridor: 600 lines for .py and .pyx, 250 for .pxd, 80 for a function."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.meta import cython_source
from tests.meta.tree import ROOT, cython_files, python_files, relative

FILE_LINES = {".py": 600, ".pyi": 600, ".pyx": 600, ".pxd": 250, ".h": 250, ".c": 600}
FUNCTION_LINES = 80

# What is longer all the same, as it is today: "path" or "path:function" -> lines.  The figure may only fall, and an
# entry that is within the limit has to go.  Nothing is added here; what is too long is divided.
EXCEPTIONS: dict[str, int] = {}


def function_lengths(path: Path, text: str) -> dict[str, int]:
    """Lines of each function, by "path:name"; the longest where several share a name."""
    if path.suffix in (".pyx", ".pxd"):
        found = [(function.name, function.length) for function in cython_source.functions(text)]
    elif path.suffix == ".py":
        found = [
            (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    else:
        found = []
    lengths: dict[str, int] = {}
    for name, length in found:
        key = f"{relative(path)}:{name}"
        lengths[key] = max(length, lengths.get(key, 0))
    return lengths


def sources() -> list[Path]:
    headers = [*(ROOT / "ext").rglob("csrc/*.[ch]"), *(ROOT / "pyslirp").rglob("*.pyi")]
    return [ROOT / "setup.py", *python_files("pyslirp", "tests", "fuzz", "bench"), *cython_files(), *sorted(headers)]


def over_the_limit(path: Path, text: str) -> dict[str, int]:
    """What in this file is longer than allowed: "path" or "path:function" -> lines."""
    lines = len(text.splitlines())
    over = {key: length for key, length in function_lengths(path, text).items() if length > FUNCTION_LINES}
    if lines > FILE_LINES.get(path.suffix, 600):
        over[relative(path)] = lines
    return over


def test_files_and_functions_stay_within_their_limits() -> None:
    over = {key: lines for path in sources() for key, lines in over_the_limit(path, path.read_text()).items()}
    grown = {key: lines for key, lines in over.items() if lines > EXCEPTIONS.get(key, 0)}
    assert not grown, f"divide these: {grown}"
    shrunk = {key: over.get(key) for key, lines in EXCEPTIONS.items() if over.get(key) != lines}
    assert not shrunk, f"shorter than EXCEPTIONS says (None: within the limit, remove it): {shrunk}"


def test_a_long_file_and_a_long_function_are_seen() -> None:
    body = "    x = 1\n" * 80
    assert over_the_limit(ROOT / "a.py", f"def f():\n{body}") == {"a.py:f": 81}
    assert over_the_limit(ROOT / "a.pyx", f"cdef int f(\n    int y,\n) noexcept nogil:\n{body}") == {"a.pyx:f": 83}
    assert over_the_limit(ROOT / "a.pxd", "cdef int x\n" * 251) == {"a.pxd": 251}
    assert over_the_limit(ROOT / "a.py", "x = 1\n" * 601) == {"a.py": 601}
    assert not over_the_limit(ROOT / "a.py", "x = 1\n" * 600)
