"""Tests with a real guest and a real kernel: QEMU with an emulated CPU, and a network namespace at native speed.

Run as ``pytest tests/interop [--backend NAME]``.  Everything happens in network namespaces that the run makes itself
(see rig/namespace.py); no root, nothing of the real network.  A tool that is missing skips the tests that need it with
the package to install (.ci/packages.txt has all of them); ``PYSLIRP_NO_SKIP=1`` makes that a failure.

``--backend`` puts an incumbent in pyslirp's place: ``qemu-user`` (libslirp inside QEMU, for the QEMU guests) or
``slirp4netns`` (libslirp on the tap, for the namespace guests).  That checks the rig: where an incumbent fails, the
test is right only if its marker ``incumbent(NAME, reason)`` says so.

Markers: ``pyslirp`` - about pyslirp's own command line or promises, left out with another backend;
``incumbent(NAME, reason)`` - backend NAME is known to fail this test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.guest import image
from tests.interop.guest.qemu import NIC_MODELS, QemuGuest
from tests.interop.rig import journal
from tests.interop.rig.backend import BACKENDS, TRANSPORTS, Backend, Pyslirp
from tests.interop.rig.namespace import closing_sockets
from tests.interop.rig.network import Network, network
from tests.interop.rig.resolver import Resolver
from tests.interop.rig.topology import Topology

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--backend``."""
    parser.addoption("--backend", choices=BACKENDS, default=Pyslirp.name, help="what the guests are attached to")


def pytest_configure(config: pytest.Config) -> None:
    """Name our markers."""
    config.addinivalue_line("markers", "pyslirp: about pyslirp alone; left out with another --backend")
    config.addinivalue_line("markers", "incumbent(name, reason): that backend is known to fail this test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another backend has no part in, and expect the failures that are known."""
    ours = [item for item in items if _HERE in item.path.parents]  # pytest asks every conftest about all of them
    for item in ours:
        item.add_marker("interop")
    backend: str = config.getoption("--backend")
    if backend == Pyslirp.name:
        return
    left_out = [item for item in ours if item.get_closest_marker("pyslirp")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in ours:
        for marker in item.iter_markers("incumbent"):
            if marker.args[0] == backend:
                # Not run: some of these failures take the incumbent, and the tests after it, down with them.
                item.add_marker(pytest.mark.xfail(reason=f"{backend}: {marker.args[1]}", run=False))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of `wire` runs for every NIC model over every transport that the backend has."""
    if "wire" in metafunc.fixturenames:
        ours = metafunc.config.getoption("--backend") == Pyslirp.name
        wires = [(nic, transport) for nic in NIC_MODELS for transport in (TRANSPORTS if ours else TRANSPORTS[:1])]
        metafunc.parametrize("wire", wires, ids=["-".join(wire) for wire in wires], scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test's report has the log of everything that ran."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", text) for name, text in journal.sections()]
    if call.when == "teardown":
        journal.forget_ended()
    return report


@pytest.fixture(scope="session")
def backend_name(pytestconfig: pytest.Config) -> str:
    """The backend that the guests are attached to."""
    name: str = pytestconfig.getoption("--backend")
    return name


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """Fresh networks for a test module."""
    made = Topology(tmp_path_factory.mktemp("net"))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _sockets() -> Iterator[None]:
    """A test leaves no socket open."""
    with closing_sockets():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a test's sockets and logs go."""
    return tmp_path


@pytest.fixture(scope="session")
def guest_image() -> image.Image:
    """What QEMU boots."""
    return image.build()


@pytest.fixture(scope="module")
def resolver(topology: Topology, backend_name: str) -> Iterator[Resolver]:
    """The resolver that the backend forwards to."""
    made = Resolver(topology.host, port=Pyslirp.dns_port if backend_name == Pyslirp.name else Backend.dns_port)
    yield made
    made.close()


@pytest.fixture
def boot(topology: Topology, guest_image: image.Image) -> Iterator[Callable[..., QemuGuest]]:
    """Boots QEMU guests in the host's network: arguments as `QemuGuest`'s, less image and host."""
    guests: list[QemuGuest] = []

    def make(name: str, netdev: str | None, **options: Any) -> QemuGuest:
        guests.append(QemuGuest(name, guest_image, topology.host, netdev, **options))
        return guests[-1]

    yield make
    for guest in guests:
        guest.close()


@pytest.fixture(scope="module", params=[1500, 65520], ids=["mtu1500", "mtu65520"])
def running_network(
    request: pytest.FixtureRequest,
    topology: Topology,
    resolver: Resolver,
    backend_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Network]:
    """A namespace guest with a lease, at Ethernet's MTU and at the largest; one for all tests of a file."""
    with network(backend_name, topology, tmp_path_factory.mktemp("backend"), request.param) as made:
        yield made


@pytest.fixture
def net(running_network: Network) -> Network:
    """The network of this file, which must still run."""
    running_network.backend.check_alive()
    return running_network
