"""The floors of the house as data, and the one function that says whether an import goes down.

Both tables read from the ground up.  A module may import from rows below its own.  What stands in one row are siblings,
which never import one another; inside one sibling (a package) modules may, as long as no circle comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.meta.tree import ENGINE, Edge

# Units of pyslirp: its modules and packages.  Rows with one floor's name are steps of that floor.
PYTHON = (
    ("P0", ("errors", "addresses", "verdicts", "records", "_version")),
    ("P0", ("events",)),
    ("P1", ("config", "wire")),
    ("P2", ("engine",)),
    ("P3", ("services", "links", "nat", "observe", "host")),
    ("P4", ("flows", "settings", "snapshot", "taps", "provision")),
    ("P4", ("readiness", "outbound")),
    ("P4", ("forwards",)),
    ("P4", ("dispatch",)),
    ("P4", ("servers", "guestfwd", "service_set")),
    ("P4", ("stack",)),
    ("P5", ("loops", "control", "sim")),
    ("P5", ("network",)),  # the library's face, built from a stack and a loop
    ("P6", ("cli", "pytest_plugin")),
    ("P6", ("__main__",)),
    ("P7", ("",)),  # pyslirp/__init__.py itself: re-exports, and is imported by nobody inside
)

# Folders of the engine (reactor is a module): within one, anything that makes no circle, but see PROTOCOLS.
ENGINE_FLOORS = ("base", "stores", "codecs", "tables", "protocols", "core", "edge", "reactor")

# Inside `protocols` siblings are strangers: TCP is many files that only `tcb` and those above it know together.
PROTOCOLS = (
    ("target",),
    ("tcp.state",),
    ("tcp.window", "tcp.rack", "tcp.rate", "tcp.ecn"),
    ("tcp.options", "tcp.rtt", "tcp.cubic", "tcp.bbr", "tcp.receive", "tcp.scoreboard"),
    ("tcp.congestion", "tcp.transmit"),
    ("tcp.tcb",),
    ("tcp.recovery", "tcp.path", "tcp.output"),
    ("tcp.connection", "udp", "icmp"),
    ("tcp.relay",),
)


def unit(module: str) -> str:
    """The part of pyslirp that `module` belongs to: "services" for pyslirp.services.dhcp, "" for pyslirp itself."""
    return module.split(".")[1] if "." in module else ""


def row_of(name: str, rows: Iterable[Iterable[str]]) -> int | None:
    return next((number for number, row in enumerate(rows) if name in row), None)


def check(edge: Edge) -> str | None:
    """Why this import is not allowed, or None."""
    importer, imported = edge.importer, edge.imported
    if imported.split(".")[0] != "pyslirp":
        return None
    if imported == "pyslirp":
        return "nobody inside the package imports pyslirp itself"
    rows = [units for _, units in PYTHON]
    here, there = row_of(unit(importer), rows), row_of(unit(imported), rows)
    if here is None or there is None:
        return f"{importer if here is None else imported} has no floor; give it one in tests/meta/floors.py"
    if unit(importer) == unit(imported):
        return check_engine(importer, imported) if unit(importer) == "engine" else None
    if there == here:
        return f"{unit(importer)} and {unit(imported)} are siblings"
    return None if there < here else f"{unit(imported)} is above {unit(importer)}"


def check_engine(importer: str, imported: str) -> str | None:
    """Why an import inside the engine is not allowed, or None."""
    if ENGINE in (importer, imported):
        return None if importer == ENGINE else "nobody inside the engine imports its package"
    one, other = importer.removeprefix(f"{ENGINE}."), imported.removeprefix(f"{ENGINE}.")
    floors = [one.split(".")[0], other.split(".")[0]]
    for floor in floors:
        if floor not in ENGINE_FLOORS:
            return f"{floor} is no floor of the engine; give it a place in tests/meta/floors.py"
    here, there = (ENGINE_FLOORS.index(floor) for floor in floors)
    if here == there:
        return check_protocols(one, other) if floors[0] == "protocols" else None
    return None if there < here else f"{floors[1]} is above {floors[0]}"


def check_protocols(importer: str, imported: str) -> str | None:
    """Why an import inside the engine's protocols is not allowed, or None."""
    one, other = importer.removeprefix("protocols."), imported.removeprefix("protocols.")
    if one == other:  # a .pyx that names its own .pxd
        return None
    here, there = row_of(one, PROTOCOLS), row_of(other, PROTOCOLS)
    if here is None or there is None:
        return f"{importer if here is None else imported} has no row in PROTOCOLS of tests/meta/floors.py"
    if other.startswith("tcp.") and not one.startswith("tcp."):
        return "TCP's parts are TCP's own"
    if there == here:
        return f"{one} and {other} are siblings"
    return None if there < here else f"{other} is above {one}"


def circles(edges: Iterable[Edge]) -> list[list[str]]:
    """Groups of modules that import one another in a circle (strongly connected components, Tarjan's way)."""
    graph: dict[str, set[str]] = {}
    for edge in edges:
        if edge.importer != edge.imported:
            graph.setdefault(edge.importer, set()).add(edge.imported)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for imported in sorted(graph.get(module, ())):
            if imported not in index:
                visit(imported)
            if imported in stack:
                low[module] = min(low[module], low[imported])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return found
