"""Just enough reading of Cython: imports, functions and C headers of a `.pyx` or `.pxd`, without compiling it.

Cython's own parser needs every cimport to resolve and changes between releases; lexically a Cython file is Python plus
a few signs, so blanking strings and comments and joining bracketed lines leaves text that plain patterns read reliably.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

STRING = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<long>\"\"\"(?:\\.|[^\\])*?\"\"\" | '''(?:\\.|[^\\])*?''')
      | (?P<short>"(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*')""",
    re.VERBOSE | re.DOTALL,
)
FUNCTION = re.compile(r"(?:async\s+)?(?:def|cdef|cpdef)\b.*\(.*:$", re.DOTALL)
NOT_FUNCTION = re.compile(
    r"(?:cdef|cpdef)\s+(?:(?:public|api|readonly|packed)\s+)*(?:class|struct|union|enum|extern|cppclass)\b"
)
FUNCTION_NAME = re.compile(r"\b(?!(?:cdef|cpdef|inline)\b)(\w+)\s*\(")
IMPORT = re.compile(r"(?:cimport|import)\s+(?P<modules>[\w., ]+)$")
FROM_IMPORT = re.compile(r"from\s+(?P<module>[\w.]+)\s+c?import\s+(?P<names>.+)$", re.DOTALL)
HEADER = re.compile(r"^\s*cdef\s+extern\s+from\s+[\"'](?P<name>[^\"']+)[\"']", re.MULTILINE)
INCLUDE = re.compile(r"^\s*#\s*include\s*[<\"](?P<name>[^>\"]+)[>\"]", re.MULTILINE)


class Line(NamedTuple):
    """A logical line: everything up to the end of its brackets."""

    first: int  #: number of its first physical line, from 1
    last: int
    indent: int
    text: str  #: stripped, without strings and comments


class Function(NamedTuple):
    name: str
    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class Import(NamedTuple):
    """One imported thing: `module` alone, or `name` out of `module`."""

    module: str  #: as written: absolute, or with leading dots
    name: str | None
    line: int


def blank(text: str) -> str:
    """`text` with every string and comment turned into spaces; each line keeps its number."""
    return STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def logical_lines(text: str) -> Iterator[Line]:
    """The logical lines of `text` that hold any code."""
    held: list[str] = []
    first = depth = 0
    for number, line in enumerate(blank(text).splitlines(), start=1):
        if not held:
            first = number
        held.append(line.rstrip("\\") if line.endswith("\\") else line)
        depth += sum(line.count(sign) for sign in "([{") - sum(line.count(sign) for sign in ")]}")
        if depth > 0 or line.endswith("\\"):
            continue
        joined = "\n".join(held)
        if joined.strip():
            yield Line(first, number, len(joined) - len(joined.lstrip()), joined.strip())
        held, depth = [], 0


def functions(text: str) -> list[Function]:
    """Every function with a body, nested ones and methods too."""
    found: list[Function] = []
    open_: list[tuple[int, str, int]] = []  # indent, name, first line
    last = 0
    for line in logical_lines(text):
        while open_ and line.indent <= open_[-1][0]:
            _, name, first = open_.pop()
            found.append(Function(name, first, last))
        last = line.last
        if FUNCTION.match(line.text) and not NOT_FUNCTION.match(line.text):
            name_match = FUNCTION_NAME.search(line.text)
            open_.append((line.indent, name_match.group(1) if name_match else line.text, line.first))
    found += [Function(name, first, last) for _, name, first in reversed(open_)]
    return sorted(found, key=lambda function: function.first)


def imports(text: str) -> list[Import]:
    """Every `import` and `cimport`, wherever it stands."""
    found: list[Import] = []
    for line in logical_lines(text):
        if match := FROM_IMPORT.match(line.text):
            names = (part.split(" as ")[0].strip() for part in match["names"].strip("() \n").split(","))
            found += [Import(match["module"], name, line.first) for name in names if name]
        elif match := IMPORT.match(line.text):
            found += [Import(part.split(" as ")[0].strip(), None, line.first) for part in match["modules"].split(",")]
    return found


def headers(text: str) -> set[str]:
    """The C headers that the file declares or includes: `<sys/socket.h>` as sys/socket.h; verbatim C has no name."""
    declared = {match["name"].strip("<>") for match in HEADER.finditer(text)}
    return declared | {match["name"] for match in INCLUDE.finditer(text)}
