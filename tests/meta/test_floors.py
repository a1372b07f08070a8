"""Imports go down: in Python, and in what the engine cimports."""

from __future__ import annotations

import pytest

from tests.meta import floors
from tests.meta.tree import ROOT, Edge, cython_files, edges, modules, relative


def edge(importer: str, imported: str) -> Edge:
    return Edge(f"pyslirp.{importer}" if importer else "pyslirp", imported, "planted:1")


def test_every_import_of_the_tree_goes_down() -> None:
    wrong = [
        f"{found.where}: {found.importer} imports {found.imported}: {problem}"
        for found in edges()
        if (problem := floors.check(found))
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_there_are_no_circles() -> None:
    assert floors.circles(edges()) == []


def test_every_module_has_a_floor() -> None:
    rows = [units for _, units in floors.PYTHON]
    homeless = [name for name in sorted(modules()) if floors.row_of(floors.unit(name), rows) is None]
    inside = [name.split(".")[2] for name in modules() if name.startswith("pyslirp.engine.")]
    assert not homeless
    assert set(inside) <= set(floors.ENGINE_FLOORS)


def test_the_readme_has_the_same_floors() -> None:
    """Those of pyslirp, and on each all that stands there."""
    there = {floors.unit(module) for module in modules()} - {"", "_version", "__main__"}
    expected = [names for _, row in floors.PYTHON if (names := set(row) & there)]
    shown = (ROOT / "README.md").read_text().split("\n    pyslirp/ ", 1)[1].split("\n\n", 1)[0]
    assert [set(row.split()) for row in shown.split("<")] == expected


def test_the_engine_shares_by_cimport_not_by_include() -> None:
    including = [relative(path) for path in cython_files() if path.suffix == ".pxi" or "\ninclude " in path.read_text()]
    assert not including


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("wire.dns", "pyslirp.services.dns"),
        ("errors", "pyslirp.addresses"),
        ("addresses", "pyslirp.events"),
        ("config.dhcp", "pyslirp.wire.dhcp"),
        ("services.dhcp", "pyslirp.links.base"),
        ("stack", "pyslirp.network"),
        ("loops.asyncio", "pyslirp.control.commands"),
        ("services.dns", "pyslirp"),
        ("services.dns", "pyslirp.misc"),
        ("engine.stores.ranges", "pyslirp.services.base"),
        ("engine.stores.ranges", "pyslirp.engine.tables.flow"),
        ("engine.base.seq", "pyslirp.engine.stores.ranges"),
        ("engine.core.core", "pyslirp.engine.edge.poller"),
        ("engine.core.core", "pyslirp.engine"),
        ("engine.shelf.core", "pyslirp.engine.base.seq"),
        ("engine.protocols.udp", "pyslirp.engine.protocols.icmp"),
        ("engine.protocols.udp", "pyslirp.engine.protocols.tcp.state"),
        ("engine.protocols.tcp.rtt", "pyslirp.engine.protocols.tcp.congestion"),
        ("engine.protocols.tcp.rtt", "pyslirp.engine.protocols.tcp.connection"),
        ("engine.protocols.tcp.state", "pyslirp.engine.protocols.tcp.rtt"),
        ("engine.protocols.tcp.rtt", "pyslirp.engine.protocols.tcp.unheard_of"),
    ],
)
def test_an_import_that_does_not_go_down_is_refused(importer: str, imported: str) -> None:
    assert floors.check(edge(importer, imported))


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("services.dhcp", "dpkt.dhcp"),
        ("services.dhcp", "pyslirp.services.base"),
        ("services.dhcp", "pyslirp.wire.dhcp"),
        ("events", "pyslirp.addresses"),
        ("stack", "pyslirp.dispatch"),
        ("network", "pyslirp.loops.asyncio"),
        ("", "pyslirp.network"),
        ("engine", "pyslirp.engine.reactor"),
        ("engine.reactor", "pyslirp.engine.edge.poller"),
        ("engine.core.core", "pyslirp.engine.core.switch"),
        ("engine.protocols.tcp.connection", "pyslirp.engine.protocols.tcp.rtt"),
        ("engine.protocols.tcp.connection", "pyslirp.engine.protocols.target"),
        ("engine.protocols.tcp.rtt", "pyslirp.engine.protocols.tcp.rtt"),
        ("engine.edge.poller", "pyslirp.errors"),
    ],
)
def test_an_import_that_goes_down_is_allowed(importer: str, imported: str) -> None:
    assert floors.check(edge(importer, imported)) is None


def test_a_circle_is_found_whole() -> None:
    ring = [edge("a", "pyslirp.b"), edge("b", "pyslirp.c"), edge("c", "pyslirp.a"), edge("d", "pyslirp.a")]
    assert floors.circles(ring) == [["pyslirp.a", "pyslirp.b", "pyslirp.c"]]
    assert floors.circles([edge("a", "pyslirp.a"), edge("a", "pyslirp.b")]) == []
