"""A fuzz target: a module fuzz/NAME.py with `fuzz(data)`, its seeds in corpus/NAME/, its words in dict/NAME.dict."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
PACKAGE = FOLDER.name
CRASH = "crash-"  #: how the name of a kept crash begins; it is a seed like the others from then on

Function = Callable[[bytes], Hashable | None]

_ENTRY = re.compile(r'^\s*(?:[\w.]+\s*(?:@\d+)?\s*=\s*)?"((?:[^"\\]|\\.)*)"\s*$')


@dataclass(frozen=True)
class Target:
    """One target.  `folder` holds NAME.py, corpus/ and dict/."""

    name: str
    folder: Path
    package: str

    @property
    def source(self) -> Path:
        """The module's file."""
        return self.folder / f"{self.name}.py"

    @property
    def corpus(self) -> Path:
        """The folder of its seeds; it need not be there."""
        return self.folder / "corpus" / self.name

    def load(self) -> Function:
        """Its `fuzz` function.  What it returns, if anything, says what the input has shown; see `Session`."""
        function: Function = importlib.import_module(f"{self.package}.{self.name}").fuzz
        return function

    def seeds(self) -> list[tuple[str, bytes]]:
        """Name and content of every file of the corpus, in order of name."""
        if not self.corpus.is_dir():
            return []
        return [
            (path.name, path.read_bytes())
            for path in sorted(self.corpus.iterdir())
            if path.is_file() and not path.name.startswith(".")
        ]

    def words(self) -> list[bytes]:
        r"""The dictionary: AFL's and libFuzzer's format, one `name="value"` a line with \xNN for any byte.

        Raises ValueError for a line of another form.
        """
        path = self.folder / "dict" / f"{self.name}.dict"
        return parse_words(path.read_text()) if path.is_file() else []


def parse_words(text: str) -> list[bytes]:
    """The values of a dictionary's lines."""
    words = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _ENTRY.match(line)
        if match is None:
            raise ValueError(f'not a dictionary entry (name="value"): {line}')
        words.append(match[1].encode("latin-1").decode("unicode_escape").encode("latin-1"))
    return words


def is_target(path: Path) -> bool:
    """Whether a module defines `fuzz`; read, not imported, so that looking cannot crash."""
    return any(isinstance(node, ast.FunctionDef) and node.name == "fuzz" for node in ast.parse(path.read_text()).body)


def targets(folder: Path = FOLDER, package: str = PACKAGE) -> dict[str, Target]:
    """All targets by name."""
    return {path.stem: Target(path.stem, folder, package) for path in sorted(folder.glob("*.py")) if is_target(path)}
