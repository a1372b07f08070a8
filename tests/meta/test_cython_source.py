"""The reader of Cython reads what the engine writes; a check that sees nothing would pass for ever."""

from __future__ import annotations

from tests.meta import cython_source
from tests.meta.cython_source import Function, Import

SOURCE = '''"""Theory: from nowhere import nothing.  # not a comment, # include <not.h>

    def neither_a_function(x):
"""

# cimport commented_out
from libc.string cimport memcpy  # why
from pyslirp.engine.base.ints cimport (
    u8, u32 as wide,
)
cimport cython, numpy as np
from . cimport sibling
from ..stores.ranges cimport RangeSet
import pyslirp.errors as errors

cdef extern from "<sys/socket.h>" nogil:
    int socket(int domain)

cdef extern from *:
    """
    #include <unistd.h>
    """
    int getpid() nogil

cdef struct Pair:
    int a

cdef class Door(Base):
    cdef int count

    def __init__(self, name: str = ":)") -> None:
        """Docstring
        over lines."""
        self.name = name  # (unbalanced

    @property
    def other(self) -> int:
        def inner(x):
            return x
        return inner(1)

cdef inline u32 long_one(
    const u8 *data,
    size_t length,
) except? 0:
    import late
    if data == NULL:

        return 1
    return 0

cdef u32 declared(int x) noexcept nogil
cdef (int, int) tuple_typed(Pair *pair) noexcept nogil:
    return (1, 2)
'''


def test_imports_are_found_wherever_they_stand() -> None:
    found = cython_source.imports(SOURCE)
    assert [(entry.module, entry.name) for entry in found] == [
        ("libc.string", "memcpy"),
        ("pyslirp.engine.base.ints", "u8"),
        ("pyslirp.engine.base.ints", "u32"),
        ("cython", None),
        ("numpy", None),
        (".", "sibling"),
        ("..stores.ranges", "RangeSet"),
        ("pyslirp.errors", None),
        ("late", None),
    ]
    assert found[0] == Import("libc.string", "memcpy", 7)


def test_functions_have_their_extent() -> None:
    lines = SOURCE.splitlines()
    found = {function.name: function for function in cython_source.functions(SOURCE)}
    assert list(found) == ["__init__", "other", "inner", "long_one", "tuple_typed"]
    assert lines[found["long_one"].first - 1].startswith("cdef inline u32 long_one(")
    assert found["long_one"].length == 9
    assert found["__init__"].length == 4
    assert found["other"].length == 4
    assert found["tuple_typed"] == Function("tuple_typed", len(lines) - 1, len(lines))


def test_headers_are_declared_or_included() -> None:
    assert cython_source.headers(SOURCE) == {"sys/socket.h", "unistd.h"}
