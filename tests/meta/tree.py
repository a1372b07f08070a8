"""The source tree as the meta tests see it: files, the modules they are, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.meta import cython_source

ROOT = Path(__file__).resolve().parents[2]
EXT = ROOT / "ext"
PACKAGE = ROOT / "pyslirp"
ENGINE = "pyslirp.engine"


class Edge(NamedTuple):
    """`importer` imports `imported`, a module of pyslirp or the dotted name of something outside."""

    importer: str
    imported: str
    where: str  #: path:line


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def python_files(*folders: str) -> list[Path]:
    """Every .py under the given folders of the repository, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def cython_files() -> list[Path]:
    return sorted([*EXT.rglob("*.pyx"), *EXT.rglob("*.pxd"), *EXT.rglob("*.pxi")])


def module_of(path: Path) -> str:
    """The dotted name of a source file; a package's __init__ is the package."""
    base = EXT if path.is_relative_to(EXT) else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> frozenset[str]:
    """All modules of pyslirp, compiled ones and header-only .pxd included."""
    return frozenset(module_of(path) for path in [*python_files("pyslirp"), *cython_files()])


def absolute(importer: str, is_package: bool, level: int, module: str) -> str:
    """What `from <level dots><module>` means inside `importer`."""
    if level == 0:
        return module
    parts = importer.split(".")
    kept = parts[: len(parts) - level + (1 if is_package else 0)]
    return ".".join([*kept, module] if module else kept)


def target(module: str, name: str | None, known: Iterable[str]) -> str:
    """`from module import name` imports module.name where that is a module, else module."""
    return f"{module}.{name}" if name and f"{module}.{name}" in known else module


def python_edges(path: Path, text: str, known: Iterable[str]) -> Iterator[Edge]:
    """The imports of a Python file, those inside functions and under TYPE_CHECKING too."""
    importer, is_package = module_of(path), path.stem == "__init__"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Edge(importer, alias.name, f"{relative(path)}:{node.lineno}")
        elif isinstance(node, ast.ImportFrom):
            module = absolute(importer, is_package, node.level, node.module or "")
            for alias in node.names:
                yield Edge(importer, target(module, alias.name, known), f"{relative(path)}:{node.lineno}")


def cython_edges(path: Path, text: str, known: Iterable[str]) -> Iterator[Edge]:
    """The imports and cimports of a Cython file."""
    importer, is_package = module_of(path), path.stem == "__init__"
    for found in cython_source.imports(text):
        bare = found.module.lstrip(".")
        module = absolute(importer, is_package, len(found.module) - len(bare), bare)
        yield Edge(importer, target(module, found.name, known), f"{relative(path)}:{found.line}")


@cache
def edges() -> tuple[Edge, ...]:
    """Every import of every source file of pyslirp."""
    found: list[Edge] = []
    for path in python_files("pyslirp"):
        found += python_edges(path, path.read_text(), modules())
    for path in cython_files():
        found += cython_edges(path, path.read_text(), modules())
    return tuple(dict.fromkeys(found))
