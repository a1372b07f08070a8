"""slirp4netns's place: what is said, what the network is, ready-fd and exit-fd.  A SEQPACKET socket is the guest."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from pyslirp.cli import slirp4netns
from pyslirp.cli.slirp4netns import PERROR, announcement, main, network_config
from pyslirp.cli.slirp4netns_options import Slirp4netnsOptions, read_options
from pyslirp.errors import LinkError
from pyslirp.host import namespaces
from pyslirp.links import interface, tun

PATIENCE_SECONDS = 20
PROGRAM = "import sys; from pyslirp.cli.slirp4netns import main; sys.exit(main())"


def options_of(*arguments: str) -> Slirp4netnsOptions:
    options = read_options("slirp4netns", arguments, [])
    assert isinstance(options, Slirp4netnsOptions)
    return options


def test_the_network_is_that_of_the_options() -> None:
    config = network_config(
        options_of(
            *("--cidr=10.9.0.0/16", "-m", "9000", "--disable-host-loopback", "--disable-dns"),
            *("--outbound-addr=127.0.0.1", "1", "tap0"),
        )
    )
    assert (str(config.network.net), str(config.network.host)) == ("10.9.0.0/16", "10.9.0.2")
    assert (str(config.dns.address), str(config.dhcp.start)) == ("10.9.0.3", "10.9.0.15")
    assert (config.network.mtu, config.network.host_loopback, config.dns.forward) == (9000, False, False)
    assert config.network.outbound == IPv4Address("127.0.0.1")


def test_ipv6_is_where_slirp4netns_has_it() -> None:
    config = network_config(options_of("-6", "--outbound-addr6=::1", "1", "tap0"))
    assert (config.network.ipv6, str(config.network.prefix6)) == (True, "fd00::/64")
    assert (str(config.network.host6), str(config.dns.address6)) == ("fd00::2", "fd00::3")
    assert config.network.outbound6 == IPv6Address("::1")
    assert not network_config(options_of("1", "tap0")).network.ipv6


def test_what_is_said_at_the_start() -> None:
    options = options_of("-a", "/x", "--outbound-addr=127.0.0.1", "-c", "--macaddress=0e:d4:18:d9:38:fb", "1", "tap0")
    assert announcement(options) == [
        "Starting slirp",
        "* MTU:             1500",
        "* Network:         10.0.2.0",
        "* Netmask:         255.255.255.0",
        "* Gateway:         10.0.2.2",
        "* DNS:             10.0.2.3",
        "* DHCP begin:      10.0.2.15",
        "* DHCP end:        10.0.2.30",
        "* Recommended IP:  10.0.2.100",
        "* API Socket:      /x",
        "* Outbound IPv4:    127.0.0.1",
        "* MAC address:     0e:d4:18:d9:38:fb",
        (
            "WARNING: 127.0.0.1:* on the host is accessible as 10.0.2.2 (set --disable-host-loopback to prohibit"
            " connecting to 127.0.0.1:*)"
        ),
    ]


def test_no_warning_where_loopback_is_off() -> None:
    options = options_of("--disable-host-loopback", "1", "tap0")
    assert announcement(options)[-1] == "* Recommended IP:  10.0.2.100"


@pytest.mark.parametrize(("arguments", "status"), [((), 1), (("--help",), 0), (("--version",), 0)])
def test_what_is_only_printed(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int) -> None:
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out.startswith(("Usage: ", "slirp4netns version "))
    assert err == ""


def test_a_refusal_is_followed_by_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-6", "0", "tap0"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("WARNING: Support for IPv6 is experimental\nUsage: ")
    assert err == "PID must be a positive integer\n"


def test_a_process_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["4194304", "tap0"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith("/proc/4194304/ns/net: No such file or directory")
    assert second == "child failed(1)"


def test_a_descriptor_that_is_no_tap(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    assert main(["--netns-type=tapfd", str(reading)]) == 1
    os.close(reading)
    os.close(writing)
    assert f"{reading}: not a tap: " in capfd.readouterr().err


class Running:
    """The program with a SEQPACKET socket for its guest."""

    def __init__(self, folder: Path, *arguments: str, pass_fds: tuple[int, ...] = ()) -> None:
        self.path = folder / "bess"
        words = [sys.executable, "-c", PROGRAM, "--target-type=bess", *arguments, str(self.path)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds
        )
        assert self.process.stderr
        while not (line := self.process.stderr.readline()).startswith("Waiting for connection to "):
            assert line, "it has ended"
        self.guest = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.guest.settimeout(PATIENCE_SECONDS)
        self.guest.connect(str(self.path))

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out, err

    def close(self) -> None:
        self.guest.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue


ARP_FOR_GATEWAY = bytes.fromhex(
    "ffffffffffff525400123456080600010800060400015254001234560a0002640000000000000a000202"
).ljust(60, b"\0")


def test_ready_and_answering_and_then_hung_up(tmp_path: Path, pipe: tuple[int, int]) -> None:
    """One frame a message each way; a signal takes its usual effect, the API socket's file gone."""
    reading, writing = pipe
    api = tmp_path / "api"
    running = Running(tmp_path, "-r", str(writing), "-a", str(api), pass_fds=(writing,))
    try:
        os.close(writing)
        assert os.read(reading, 10) == b"1"
        assert os.read(reading, 10) == b""
        assert api.stat().st_mode & 0o777 == 0o600
        running.guest.send(ARP_FOR_GATEWAY)
        answer = running.guest.recv(2000)
        assert (len(answer), answer[:6], answer[20:22]) == (60, bytes.fromhex("525400123456"), b"\0\2")
        running.process.send_signal(signal.SIGTERM)
        status, out, err = running.end()
        assert status == -signal.SIGTERM
        assert "Starting slirp" in out
        assert err == ""
        assert not api.exists()
    finally:
        running.close()


def test_the_exit_fd_ends_it(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    running = Running(tmp_path, "-e", str(reading), pass_fds=(reading,))
    try:
        os.write(writing, b"what can be read is of no interest")
        running.guest.send(ARP_FOR_GATEWAY)
        assert running.guest.recv(2000)
        os.close(writing)
        status, _, err = running.end()
        assert (status, err) == (0, "exitfd event\ndo_slirp is exiting\n")
    finally:
        running.close()


@pytest.mark.parametrize("number", [3, 5, 8, 9, 10, 12, 77])
def test_an_exit_fd_that_is_not_open_ends_it(tmp_path: Path, number: int) -> None:
    """Even where its number is that of a descriptor of our own."""
    running = Running(tmp_path, "-e", str(number))
    try:
        status, _, err = running.end()
        assert (status, err) == (0, "exitfd event\ndo_slirp is exiting\n")
    finally:
        running.close()


def test_a_ready_fd_that_is_not_open_is_only_complained_of(tmp_path: Path) -> None:
    """Even where its number is that of a descriptor of our own."""
    running = Running(tmp_path, "-r", "8")
    try:
        running.guest.send(ARP_FOR_GATEWAY)
        assert running.guest.recv(2000)
        running.process.send_signal(signal.SIGTERM)
        status, _, err = running.end()
        assert (status, err) == (-signal.SIGTERM, "pyslirp: ready-fd 8: Bad file descriptor\n")
    finally:
        running.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_outlives_those_who_read_what_it_says(tmp_path: Path, number: signal.Signals) -> None:
    api = tmp_path / "api"
    running = Running(tmp_path, "-a", str(api))
    try:
        assert running.process.stderr
        running.process.stderr.close()
        running.guest.send(ARP_FOR_GATEWAY)
        assert running.guest.recv(2000)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(api))
            client.send(b"{}")
            assert b"no execute found" in client.recv(1000)
        running.process.send_signal(number)
        assert running.process.wait(PATIENCE_SECONDS) == -number
    finally:
        running.close()


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (namespaces.STEP_JOIN, "setns(CLONE_NEWNET): Device or resource busy"),
        (tun.STEP_DEVICE, 'open("/dev/net/tun"): Device or resource busy'),
        (tun.STEP_TAP, "ioctl(TUNSETIFF): Device or resource busy"),
        (interface.STEP_UP, "cannot set device up: Device or resource busy"),
        (interface.STEP_MTU, "cannot set MTU: Device or resource busy"),
        (interface.STEP_MAC, "cannot set MAC address: Device or resource busy"),
        (interface.STEP_ADDRESS, "cannot set device address: Device or resource busy"),
        (interface.STEP_ROUTE, "set route: Device or resource busy"),
    ],
)
def test_what_fails_in_the_child_is_said_in_both_ways(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, step: str, line: str
) -> None:
    def refuse() -> int:
        raise LinkError(errno.EBUSY, "tap0: cannot; here is why", step)

    monkeypatch.setattr(slirp4netns, "_begin_guest", lambda _: refuse)
    assert main(["1", "tap0"]) == 1
    assert capfd.readouterr().err.splitlines()[-3:] == [line, "pyslirp: tap0: cannot; here is why", "child failed(1)"]
    assert step in PERROR


def test_an_exit_fd_that_is_a_file_never_does(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        running = Running(tmp_path, "-e", str(file.fileno()), pass_fds=(file.fileno(),))
        try:
            running.guest.send(ARP_FOR_GATEWAY)
            assert running.guest.recv(2000)
            running.process.send_signal(signal.SIGTERM)
            assert running.end()[0] == -signal.SIGTERM
        finally:
            running.close()


def test_the_guest_that_goes_ends_it(tmp_path: Path) -> None:
    running = Running(tmp_path)
    try:
        running.guest.close()
        assert running.end()[0] == 0
    finally:
        running.close()


def test_an_api_socket_that_cannot_be(tmp_path: Path, pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    running = Running(tmp_path, "-a", str(tmp_path / ("x" * 200)), "-r", str(writing), pass_fds=(writing,))
    try:
        status, _, err = running.end()
        assert status == 1
        assert err.splitlines() == [
            "the specified API socket path is too long (>= 108)",
            "do_slirp is exiting",
            "do_slirp failed",
            "parent failed",
        ]
        os.close(writing)
        assert os.read(reading, 1) == b""  # not ready
    finally:
        running.close()
