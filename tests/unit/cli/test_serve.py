"""``pyslirp --listen``, as a new user meets it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pyslirp.engine.edge.clock import now
from tests.unit.cli.program import ROOT, Program, run
from tests.unit.loops.wired_guest import WiredGuest, until

GATEWAY = IPv4Address("10.0.2.2")


def guest_at(out_of: Program, path: Path) -> WiredGuest:
    """A guest with a lease."""
    assert out_of.process.poll() is None
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(path))
    guest = WiredGuest(link)
    guest.start_dhcp(now())
    until([guest], lambda: guest.lease is not None)
    return guest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guests.sock"


# -- what works --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_guest_gets_its_network_until_a_signal_ends_it(path: Path, number: int) -> None:
    with Program("--listen", f"unix:{path}") as program:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        guest = guest_at(program, path)
        assert guest.address == IPv4Address("10.0.2.15")
        outcome = program.end(number)
        guest.link.close()
    assert (outcome.status, outcome.err) == (0, "")
    assert not path.exists()


def test_it_says_where_it_listens_and_what_qemu_needs(path: Path) -> None:
    with Program("--listen", ":0", "--listen", f"unix:{path}", "hostfwd=tcp:127.0.0.1:0-:22") as program:
        outcome = program.end(signal.SIGTERM)
    lines = outcome.out.splitlines()
    assert lines[0].startswith("pyslirp ")
    both = "10.0.2.0/24, gateway 10.0.2.2, DNS 10.0.2.3; fec0::/64, gateway fec0::2, DNS fec0::3"
    assert lines[0].endswith(f": {both}")
    port = lines[1].rpartition(":")[2]
    assert lines[1] == f"listening at 127.0.0.1:{port}"
    assert int(port)
    assert f"-netdev socket,id=net0,connect=127.0.0.1:{port} -device virtio-net-pci,netdev=net0" in lines[2]
    assert lines[3] == f"listening at unix:{path}"
    assert f"-netdev stream,id=net0,server=off,addr.type=unix,addr.path={path} " in lines[4]
    assert lines[5].startswith("forwarding tcp:127.0.0.1:")
    assert lines[5].endswith("-10.0.2.15:22")
    assert not lines[5].startswith("forwarding tcp:127.0.0.1:0-")


def test_a_descriptor_may_be_handed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        program = Program("--listen", f"fd:{given.fileno()}", pass_fds=[given.fileno()])
        port = given.getsockname()[1]
    with program, socket.create_connection(("127.0.0.1", port)) as link:
        guest = WiredGuest(link)
        guest.start_dhcp(now())
        until([guest], lambda: guest.lease is not None)
        assert program.end(signal.SIGTERM).status == 0


def test_a_qemu_that_listens_is_connected_to(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.bind(str(path))
        qemu.listen()
        with Program("--connect", f"unix:{path}") as program:
            link, _ = qemu.accept()
            guest = WiredGuest(link)
            guest.start_dhcp(now())
            until([guest], lambda: guest.lease is not None)
            outcome = program.end(signal.SIGTERM)
            link.close()
    assert outcome.status == 0
    assert f"connecting to unix:{path}" in outcome.out
    assert path.exists(), "it was not ours"


def test_without_a_standard_output(path: Path) -> None:
    with Program("--listen", f"unix:{path}", preexec_fn=lambda: os.close(1)) as program:
        guest_at(program, path).link.close()
        assert program.end(signal.SIGTERM).status == 0


def test_what_happens_is_told_to_who_wants_it(path: Path) -> None:
    with Program("--listen", f"unix:{path}", "-v") as program:
        guest_at(program, path).link.close()
        until([], lambda: b"guest gone" in os.read(program.process.stderr.fileno(), 4096))  # type: ignore[union-attr]
        assert program.end(signal.SIGTERM).status == 0


def test_a_capture(path: Path, tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcapng"
    with Program("--listen", f"unix:{path}", "--pcap", str(capture)) as program:
        guest = guest_at(program, path)
        outcome = program.end(signal.SIGTERM)
        guest.link.close()
    assert (outcome.status, outcome.err) == (0, "")
    assert capture.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")
    assert b"\x63\x82\x53\x63" in capture.read_bytes(), "the cookie of a DHCP message"
    assert stat.S_IMODE(capture.stat().st_mode) == 0o600


def test_a_full_disk_is_one_warning_and_the_network_goes_on(path: Path) -> None:
    with Program("--listen", f"unix:{path}", "--pcap", "/dev/full") as program:
        guest = guest_at(program, path)
        ping = guest.ping(GATEWAY, now())
        until([guest], lambda: ping.rtt_ns)
        outcome = program.end(signal.SIGTERM)
        guest.link.close()
    assert outcome.status == 0
    (line,) = outcome.complaints
    assert "/dev/full: No space left on device; the capture ends" in line


def test_a_folder_of_files_that_is_not_there_is_told(path: Path, tmp_path: Path) -> None:
    with Program("--listen", f"unix:{path}", f"tftp={tmp_path}/none") as program:
        outcome = program.end(signal.SIGTERM)
    assert outcome.status == 0
    assert outcome.complaints == [
        f"tftp={tmp_path}/none: no folder that can be read; guests find no file until there is one"
    ]


def test_a_guest_that_speaks_another_language_is_one_clear_line(path: Path) -> None:
    with Program("--listen", f"unix:{path}") as program:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(path))
            link.send(b"GET / HTTP/1.1\r\n\r\n")
            assert link.recv(1) == b""
        outcome = program.end(signal.SIGTERM)
    (line,) = outcome.complaints
    assert line == (
        f"unix:{path}#1: closed: a frame of {int.from_bytes(b'GET ')} bytes is announced; 14 to 69632 are possible: "
        "is this QEMU's stream framing?"
    )


def test_it_waits_for_nothing_that_it_may_not_need() -> None:
    """Each of these would take longer to import than the engine, the services and the command line together."""
    script = "import sys, pyslirp.cli.serve, pyslirp.loops.plain, pyslirp.stack; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "pyslirp.engine.reactor" in loaded
    assert not loaded & {"asyncio", "dpkt", "dns", "pyroute2", "difflib", "subprocess", "http", "email"}


# -- what does not -----------------------------------------------------------------------------------------------------


def test_nothing_to_listen_at() -> None:
    outcome = run("net=10.0.9.0/24")
    assert outcome.status == 2
    assert "give --listen ADDR" in outcome.complaints[0]


def test_everything_that_is_written_wrong_is_told_at_once() -> None:
    outcome = run("--listen", "x", "net=10.0.2.0/99,hostfwd=tcp:nonsense", "--restrict=perhaps", "bogus=1")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.complaints == [
        "listen=x: no port is given (write x:PORT)",
        "net=10.0.2.0/99: Invalid netmask provided (must be in range 4-32)",
        "hostfwd=tcp:nonsense: Invalid host forwarding rule 'tcp:nonsense' (Missing : separator)",
        "restrict=perhaps: Parameter 'restrict' expects 'on' or 'off'",
        "bogus: Invalid parameter 'bogus'",
    ]


def test_a_misspelt_option() -> None:
    outcome = run("--lisen", ":0")
    assert outcome.status == 2
    assert outcome.complaints == ["unrecognized arguments: --lisen; did you mean --listen?"]


@pytest.mark.parametrize(
    "words",
    [
        ["--listen", "127.0.0.1:{}"],
        ["--listen", ":0", "hostfwd=tcp:127.0.0.1:{}-:22"],
    ],
)
def test_a_port_in_use(words: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = run(*(word.format(server.getsockname()[1]) for word in words))
    assert (outcome.status, outcome.out) == (1, "")
    (line,) = outcome.complaints
    assert "Address already in use; " in line
    assert "choose another" in line


def test_a_socket_where_somebody_listens_and_one_that_nobody_uses(path: Path) -> None:
    with Program("--listen", f"unix:{path}") as first:
        second = run("--listen", f"unix:{path}")
        assert second.status == 1
        assert "somebody listens there already" in second.complaints[0]
        first.end(signal.SIGKILL)
    assert path.exists(), "that is what a killed process leaves"
    with Program("--listen", f"unix:{path}") as third:
        assert third.end(signal.SIGTERM).status == 0
    assert not path.exists()


def test_what_fails_leaves_no_socket_file(path: Path) -> None:
    outcome = run("--listen", f"unix:{path}", "--listen", "unix:/nonexistent/folder/s")
    assert outcome.status == 1
    assert "the directory must exist" in outcome.complaints[0]
    assert not path.exists()


@pytest.mark.parametrize("file", ["/nonexistent/file", "/"])
def test_a_capture_that_cannot_be_written(path: Path, file: str) -> None:
    outcome = run("--listen", f"unix:{path}", "--pcap", file)
    assert outcome.status == 1
    assert outcome.complaints[0].startswith(f"--pcap {file}: ")
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--listen", ":0", "--ready-fd", "77"], "--ready-fd 77: not a file descriptor that is open for writing"),
        (["--listen", ":0", "--ready-fd", "-1"], "--ready-fd -1: not a file descriptor that is open for writing"),
        (["--listen", ":0", "--ready-fd", "0"], "--ready-fd 0: not a file descriptor that is open for writing"),
        (["--listen", "fd:77"], "--listen fd:77: Can't use file descriptor 77: Bad file descriptor"),
        (["--listen", ":0", "--connect", "fd:5"], "--connect fd:5: Can't use file descriptor 5: Bad file descriptor"),
    ],
)
def test_a_descriptor_that_is_not_there(words: list[str], complaint: str) -> None:
    """Also where we would have one of that number ourselves by the time that it is used."""
    with Path(os.devnull).open("rb") as nothing:
        outcome = run(*words, stdin=nothing)
    assert outcome.status == 2
    (line,) = outcome.complaints
    assert line.startswith(complaint)


def test_a_reader_of_the_ready_word_that_is_gone(path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    outcome = run("--listen", f"unix:{path}", "--ready-fd", str(write), pass_fds=[write])
    os.close(write)
    assert outcome.status == 1
    assert outcome.complaints == [f"--ready-fd {write}: Broken pipe"]
    assert not path.exists()
