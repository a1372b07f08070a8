"""What is public says so: `__all__` is complete and holds, and every public name explains itself.  (ruff sorts it.)"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.meta.tree import ROOT, module_of, python_files, relative

PUBLIC = "pyslirp"


def exported(text: str) -> list[str] | None:
    """The names in `__all__`, in their order; None where a module has none."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and [getattr(name, "id", "") for name in node.targets] == ["__all__"]:
            return [str(name) for name in ast.literal_eval(node.value)]
    return None


def reexported(text: str) -> set[str]:
    """The names that a module has got from other modules of pyslirp."""
    return {
        alias.asname or alias.name
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("pyslirp."))
        for alias in node.names
    }


def with_all() -> list[Path]:
    return [path for path in python_files("pyslirp") if exported(path.read_text()) is not None]


def test_a_package_that_reexports_lists_what() -> None:
    wrong = [
        relative(path)
        for path in python_files("pyslirp")
        if path.stem == "__init__"
        and {name for name in reexported(path.read_text()) if not name.startswith("_")}
        - set(exported(path.read_text()) or ())
    ]
    assert not wrong, f"re-exported and not in __all__: {wrong}"


def test_every_all_holds() -> None:
    for path in with_all():
        names = exported(path.read_text()) or []
        module = importlib.import_module(module_of(path))
        assert not [name for name in names if not hasattr(module, name)], relative(path)


def test_pyslirp_itself_has_public_names_only() -> None:
    path = ROOT / "pyslirp" / "__init__.py"
    names = exported(path.read_text())
    assert names, "pyslirp/__init__.py lists the public names in __all__"
    module = importlib.import_module(PUBLIC)
    undocumented = [
        name for name in names if callable(getattr(module, name)) and not inspect.getdoc(getattr(module, name))
    ]
    assert not undocumented


@pytest.mark.parametrize(("text", "names"), [("__all__ = ['b', 'a']", ["b", "a"]), ("x = 1", None)])
def test_all_is_read(text: str, names: list[str] | None) -> None:
    assert exported(text) == names


def test_reexports_are_read() -> None:
    assert reexported("from .a import b as c\nfrom pyslirp.d import e\nfrom dpkt import f\nimport g") == {"c", "e"}
