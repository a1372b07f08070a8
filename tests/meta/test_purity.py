"""No clock, no random source, no system call: not below the engine's edge, not in the parts of pyslirp that decide.

What is pure runs the same over real sockets and in the simulator, where a seed replays it: `now` and the seed are
arguments everywhere.  Tests keep to the same rule, outside the folders for real peers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.meta import cython_source
from tests.meta.tree import EXT, ROOT, cython_files, edges, module_of, python_files, relative

PURE_PACKAGES = ("wire", "services", "nat", "config")
PURE_MODULES = ("errors", "addresses", "events")
IMPURE_MODULES = {
    "asyncio",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
IMPURE_CALLS = {"open", "input"}
IMPURE_METHODS = {"now", "today", "utcnow", "read_text", "read_bytes", "write_text", "write_bytes"}

IMPURE_FLOORS = ("edge", "reactor")
SYSCALLS = "pyslirp.engine.base.sys"
IMPURE_CIMPORTS = ("libc.time", "libc.stdio", "libc.signal", "libc.errno.errno", "posix", "cpython.time")
IMPURE_LIBC = {"rand", "srand", "random", "getenv", "system", "exit"}
PURE_HEADERS = {
    "stddef.h",
    "stdint.h",
    "stdlib.h",
    "string.h",
    "Python.h",
    "assert.h",
    "limits.h",
    "immintrin.h",
    "arm_neon.h",
}

TESTS_WITH_CLOCKS = ("tests/interop", "tests/platform", "tests/differential", "tests/bench")
TESTS_WITH_SOCKETS = (
    "tests/unit/engine/edge",
    "tests/unit/engine/test_reactor.py",
    "tests/unit/loops",
    "tests/unit/host",
    "tests/unit/links",
    "tests/unit/test_network.py",
    "tests/unit/cli",
    "tests/unit/control",
)


def is_or_under(name: str, roots: tuple[str, ...] | set[str], separator: str = ".") -> bool:
    return any(name == root or name.startswith(root + separator) for root in roots)


def impure_imports(path: Path, text: str) -> Iterator[str]:
    """The modules of IMPURE_MODULES that a Python file imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if is_or_under(name, IMPURE_MODULES):
                yield f"{relative(path)}:{node.lineno}: imports {name}"


def impure_calls(path: Path, text: str) -> Iterator[str]:
    """Calls that read a clock or a file though nothing impure was imported."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else None
            method = node.func.attr if isinstance(node.func, ast.Attribute) else None
            if name in IMPURE_CALLS or method in IMPURE_METHODS:
                yield f"{relative(path)}:{node.lineno}: calls {name or method}()"


def impure_cython(path: Path, text: str) -> Iterator[str]:
    """What a file below the edge may not cimport, import or include."""
    for found in cython_source.imports(text):
        named = f"{found.module}.{found.name}" if found.name else found.module
        outside = found.module == "libc.stdlib" and found.name in IMPURE_LIBC
        if outside or is_or_under(named, (*IMPURE_CIMPORTS, *IMPURE_MODULES, SYSCALLS)):
            yield f"{relative(path)}:{found.line}: {named}"
    for header in sorted(cython_source.headers(text) - PURE_HEADERS):
        if not (EXT / header).is_file():  # ours: looked into below
            yield f"{relative(path)}: includes {header}"


def below_the_edge() -> list[Path]:
    engine = EXT / "pyslirp" / "engine"
    kept = [path for path in cython_files() if path.relative_to(engine.parent).parts[0] == "engine"]
    return [
        path
        for path in kept
        if path.relative_to(engine).parts[0].split(".")[0] not in IMPURE_FLOORS
        and f"{SYSCALLS}." not in f"{module_of(path)}."
    ]


def pure_python() -> list[Path]:
    return [
        *python_files(*(f"pyslirp/{name}" for name in PURE_PACKAGES)),
        *(ROOT / "pyslirp" / f"{name}.py" for name in PURE_MODULES),
    ]


def test_python_that_decides_is_pure() -> None:
    assert pure_python()
    wrong = [
        problem
        for path in pure_python()
        for check in (impure_imports, impure_calls)
        for problem in check(path, path.read_text())
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_engine_is_pure_below_its_edge() -> None:
    assert below_the_edge()
    wrong = [problem for path in below_the_edge() for problem in impure_cython(path, path.read_text())]
    assert not wrong, "\n" + "\n".join(wrong)


def test_headers_of_the_engine_are_pure_where_pure_code_uses_them() -> None:
    used = {header for path in below_the_edge() for header in cython_source.headers(path.read_text())}
    wrong = [
        f"{header} includes {inner}"
        for header in sorted(used)
        if (EXT / header).is_file()
        for inner in sorted(cython_source.headers((EXT / header).read_text()) - PURE_HEADERS)
    ]
    assert not wrong


def test_only_the_edge_uses_system_calls() -> None:
    allowed = (SYSCALLS, *(f"pyslirp.engine.{floor}" for floor in IMPURE_FLOORS))
    wrong = [
        f"{edge.where}: {edge.imported}"
        for edge in edges()
        if is_or_under(edge.imported, (SYSCALLS,)) and not is_or_under(edge.importer, allowed)
    ]
    assert not wrong


def test_tests_read_no_clock_and_open_no_socket() -> None:
    wrong = []
    for path in python_files("tests"):
        name = relative(path)
        if is_or_under(name, (*TESTS_WITH_CLOCKS, "tests/meta", "tests/conftest.py"), "/"):
            continue
        banned = {"time", "random"} if is_or_under(name, TESTS_WITH_SOCKETS, "/") else {"time", "random", "socket"}
        wrong += [
            problem
            for problem in impure_imports(path, path.read_text())
            if problem.rsplit(" ", 1)[1].split(".")[0] in banned
        ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["import time", "from os import urandom", "import asyncio.events as e", "def f():\n import random"]
)
def test_an_impure_import_is_seen(text: str) -> None:
    assert list(impure_imports(ROOT / "planted.py", text))


@pytest.mark.parametrize("text", ["open('x')", "datetime.now()", "Path('x').read_text()"])
def test_an_impure_call_is_seen(text: str) -> None:
    assert list(impure_calls(ROOT / "planted.py", text))


@pytest.mark.parametrize(
    "text",
    [
        "from libc.time cimport time",
        "from posix cimport unistd",
        "from posix.unistd cimport read",
        "from libc.stdlib cimport malloc, rand",
        "import time",
        "from pyslirp.engine.base.sys cimport socket",
        "from pyslirp.engine.base.sys.socket cimport recvmmsg",
        'cdef extern from "<sys/socket.h>":\n    int socket()',
        'cdef extern from *:\n    """\n    #include <time.h>\n    """\n    int clock()',
    ],
)
def test_an_impure_line_of_cython_is_seen(text: str) -> None:
    assert list(impure_cython(ROOT / "planted.pyx", text))


def test_what_is_pure_passes() -> None:
    text = "from libc.stdlib cimport free, malloc\nfrom pyslirp.engine.base.seq cimport seq_lt\n#include <string.h>\n"
    assert not list(impure_cython(ROOT / "planted.pyx", text))
    assert not list(impure_imports(ROOT / "planted.py", "import dpkt.dhcp, ipaddress\nfrom . import random"))
    assert not list(impure_calls(ROOT / "planted.py", "lease.expire(now)"))
