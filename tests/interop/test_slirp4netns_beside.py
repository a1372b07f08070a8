"""slirp4netns and ours side by side: the same command line, the same words, status and JSON answers.

slirp4netns 1.2.0 and later say what is written here.  Where ours is meant to say something else, the row says why
(`Otherwise`), and both are still held to what it says.  What a row needs root for is run as the root of the lab.

slirp4netns runs under ``stdbuf -oL``: with its standard output in a file, its child would say everything twice.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.rig.deadline import wait_for
from tests.interop.rig.namespace import Namespace
from tests.interop.rig.require import require
from tests.interop.rig.tap_guest import tap_guest
from tests.interop.rig.topology import Topology

pytestmark = pytest.mark.pyslirp

OURS = "import sys; from pyslirp.cli.slirp4netns import main; sys.argv[0] = 'slirp4netns'; sys.exit(main())"
NOBODY = "4194304"  #: the number of no process: more than PID_MAX_LIMIT
GONE = "; is the process still there?"
PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Outcome:
    """How a program has ended, and what it has said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Otherwise:
    """A command line after which ours says something else, on purpose."""

    arguments: tuple[str, ...]
    theirs: str  #: a line of their standard error
    ours: str  #: a line of ours
    why: str


def argv_of(whose: str) -> list[str]:
    """How slirp4netns, or ours, is started."""
    if whose == "ours":
        return [sys.executable, "-c", OURS]
    return [require("stdbuf", "coreutils"), "-oL", require("slirp4netns", "slirp4netns")]


def run(host: Namespace, whose: str, arguments: tuple[str, ...]) -> Outcome:
    """Run it to its end."""
    argv = [*host.enter(capabilities=False), *argv_of(whose), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    return Outcome(done.returncode, plain(done.stdout), plain(done.stderr))


def plain(text: str) -> str:
    """Without what may differ: where the program is, the usage's text, numbers of descriptors, a missing last newline."""
    text = re.sub(r"^\S*slirp4netns: ", "slirp4netns: ", text, flags=re.MULTILINE)
    text = re.sub(r"^Usage: .*", "<usage>\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"tapfd=\d+", "tapfd=N", text).replace(GONE, "")
    return text if not text or text.endswith("\n") else text + "\n"


MISTAKES = (
    "",
    "1",
    "0 t",
    "abc t",
    "12x t",
    "-m 0 1 t",
    "-m 65522 1 t",
    "-m 12x 1 t",
    "--mtu=-1 1 t",
    "-e -3 1 t",
    "-e x 1 t",
    "-r -1 1 t",
    "-r x 1 t",
    "--userns-path=/no/such 1 t",
    "--userns-path=/no/such -e x 1 t",
    "--macaddress=0e:d4:18:d9:38:fb 1 t",
    "--macaddress=zz --target-type=bogus 1 t",
    "--target-type=bogus 1 t",
    "--target-type=bess",
    "--target-type=bess /x /y",
    "--target-type=bess -6 /x /y",
    "--target-type=bess -c /x",
    "--target-type=bess --netns-type=pid /x",
    "--target-type=bess --userns-path=/ /x",
    "--enable",
    "--c 1 t",
    "--c=4 1 t",
    "--=4",
    "--configure=3",
    "-m",
    "--mtu",
    "--bogus",
    "--bogus=3",
    "-x",
    "-cx",
    "--x",
    "-6x 1 t",
    "-m 0 --bogus",
    "--bogus -m 0",
    "--help --bogus",
    "-h",
    "- t",
    "--netns-type=path /no/such t",
    "--netns-type=bogus 1 t",
    "--cidr foo 1",
    f"--cidr foo {NOBODY} t",
    f"--cidr 24 {NOBODY} t",
    f"--cidr 10.0.2.0 {NOBODY} t",
    f"--cidr 10.0.2.0/ {NOBODY} t",
    f"--cidr 10.0.2.0/024 {NOBODY} t",
    f"--cidr 10.0.2.0/124 {NOBODY} t",
    f"--cidr 10.0.2.0/0 {NOBODY} t",
    f"--cidr 10.0.2.0/33 {NOBODY} t",
    f"--cidr 10.0.2.1/24 {NOBODY} t u",
    f"--cidr 10.0.2.100/26 {NOBODY} t",
    f"--cidr 300.0.0.0/24 {NOBODY} t",
    f"-c --macaddress zz {NOBODY} t",
    f"-c --macaddress 0e:d4:18:d9:38:fb:11 {NOBODY} t",
    f"-c --macaddress zz --cidr foo {NOBODY} t",
    f"--outbound-addr no-such-if {NOBODY} t",
    f"--outbound-addr lo {NOBODY} t",
    f"{NOBODY} t",
    f"{NOBODY} t more",
    f"-- {NOBODY} t -c",
    f"{NOBODY} -ce3 t -r 5 --mt=1400",
    f"--no-host --create --enable-sec {NOBODY} t more and more",
    f"--userns-path /etc/passwd {NOBODY} t",
)


@pytest.mark.parametrize("line", MISTAKES)
def test_the_same_words(topology: Topology, line: str) -> None:
    """What ends at once: standard output, standard error and exit status are the same."""
    arguments = tuple(line.split())
    theirs, ours = (run(topology.host, whose, arguments) for whose in ("theirs", "ours"))
    assert ours == theirs
    assert ours.status == (0 if {"-h", "--help"} & set(arguments) else 1)


OTHERWISE = (
    Otherwise(
        ("-c", "--macaddress=0e:d4", NOBODY, "t"),
        f"/proc/{NOBODY}/ns/net: No such file or directory",
        '"0e:d4" is an invalid MAC address.',
        "six bytes, as its own text says; there the missing ones are zero",
    ),
    Otherwise(
        ("-e", "", NOBODY, "t"),
        f"/proc/{NOBODY}/ns/net: No such file or directory",
        "exit-fd must be a non-negative integer",
        "nothing is no integer; there it is 0",
    ),
    Otherwise(
        ("--outbound-addr6=no-such-if", NOBODY, "t"),
        "outbound-addr has to be valid ipv4 address or iterface name.",
        "outbound-addr6 has to be valid ipv6 address or interface name.",
        "it names the wrong option and family",
    ),
    Otherwise(
        ("--outbound-addr6=lo", NOBODY, "t"),
        "outbound-addr has to be valid ipv4 address or iterface name.",
        f"/proc/{NOBODY}/ns/net: No such file or directory",
        "there the name of --outbound-addr is looked up",
    ),
    Otherwise(
        ("--netns-type=path", "/etc/passwd", "t"),
        "setns(CLONE_NEWNET): Invalid argument",
        "pyslirp: /etc/passwd: this is not a network namespace",
        "ours says both",
    ),
)


@pytest.mark.parametrize("row", OTHERWISE, ids=lambda row: row.why)
def test_other_words_on_purpose(topology: Topology, row: Otherwise) -> None:
    theirs, ours = (run(topology.host, whose, row.arguments) for whose in ("theirs", "ours"))
    assert (theirs.status, ours.status) == (1, 1)
    assert row.theirs in theirs.err.splitlines()
    assert row.ours in ours.err.splitlines()


def test_version_has_the_same_fields(topology: Topology) -> None:
    """Also in front of a mistake, which is never reached."""
    theirs, ours = (run(topology.host, whose, ("-6", "-v", "--bogus")) for whose in ("theirs", "ours"))
    assert [fields(theirs.out), theirs.err, theirs.status] == [fields(ours.out), ours.err, ours.status]


def fields(text: str) -> list[str]:
    lines = text.splitlines()
    return [lines[0], lines[1].rpartition(" ")[0], *(line.partition(":")[0] for line in lines[2:])]


# -- while it runs --------------------------------------------------------------------------------------------------------


class Running:
    """One of them at work, for a guest of its own."""

    def __init__(self, topology: Topology, folder: Path, whose: str, *options: str, tap: str = "tap11") -> None:
        self.guest = tap_guest(topology.host)
        self._host = topology.host
        self._out, self._err = folder / f"{whose}.out", folder / f"{whose}.err"
        argv = [*topology.host.enter(capabilities=False), *argv_of(whose), *options, str(self.guest.pid), tap]
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(argv, stdout=out, stderr=err, stdin=subprocess.DEVNULL)

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far."""
        return plain(self._out.read_text()), plain(self._err.read_text())

    def wait_ready(self, line: str = "WARNING: 127.0.0.1:*") -> None:
        """Until all has been said that is said at the start, of which `line` is the last."""
        wait_for(line, lambda: line in self.said()[0], PATIENCE_SECONDS)

    def ask(self, path: Path, request: bytes) -> bytes:
        wait_for(str(path), path.exists, PATIENCE_SECONDS)  # theirs may come after the last line
        with self._host.connect_unix(path) as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(4096), b""))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.guest.close()


Start = Callable[..., list[Running]]


@pytest.fixture
def start(topology: Topology, folder: Path) -> Iterator[Start]:
    """Starts both, theirs first; in an option {whose} stands for which of them it is."""
    running: list[Running] = []

    def make(*options: str, **more: str) -> list[Running]:
        for whose in ("theirs", "ours"):
            written = [option.format(whose=whose) for option in options]
            running.append(Running(topology, folder, whose, *written, **more))
        return running

    yield make
    for each in running:
        each.close()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "-c -m 9000 --cidr 10.9.0.0/16",
        "-c --macaddress=0E:d4:18:d9:38:fb --outbound-addr=127.0.0.1 --disable-dns",
        "--no-host-loopback --disable-host-loopback",
    ],
)
def test_what_is_said_at_the_start(start: Start, line: str) -> None:
    """Line by line; a signal then ends either without another word."""
    both = start(*line.split())
    for each in both:
        each.wait_ready("* Recommended IP:" if "host-loopback" in line else "WARNING: 127.0.0.1:*")
        each.process.send_signal(signal.SIGTERM)
        each.process.wait(PATIENCE_SECONDS)
    theirs, ours = both
    assert ours.said() == theirs.said()
    assert ours.process.returncode == theirs.process.returncode


def test_the_same_system_calls_are_blocked(start: Start) -> None:
    """But umount, which is umount2 here; they are named in the order of the alphabet."""
    both = start("--enable-seccomp")
    named = []
    for each in both:
        each.wait_ready("syscalls are blocked")
        head, _, names = each.said()[0].splitlines()[-1].rpartition(": ")
        assert head == "seccomp: The following syscalls are blocked"
        named.append(set(names.split()) - {"umount"})
    assert named[1] == named[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_has_the_same_effect(start: Start, number: signal.Signals) -> None:
    both = start()
    for each in both:
        each.wait_ready()
        each.process.send_signal(number)
        each.process.wait(PATIENCE_SECONDS)
    theirs, ours = both
    assert ours.process.returncode == theirs.process.returncode == -number


@pytest.mark.parametrize(("option", "status"), [("-e77", 0), ("-r77", None)])
def test_a_descriptor_that_is_not_open(start: Start, option: str, status: int | None) -> None:
    """An exit-fd ends it; a ready-fd is nobody's business, but ours complains."""
    both = start(option)
    for each in both:
        each.wait_ready()
        if status is None:
            assert each.guest.run("ip link show tap11").status == 0
            assert each.process.poll() is None
        else:
            assert each.process.wait(PATIENCE_SECONDS) == status
    if status is not None:
        assert both[0].said() == both[1].said()


def test_they_outlive_the_last_process_of_the_namespace(start: Start, folder: Path) -> None:
    """The tap holds the namespace; it is the exit-fd that says when all is over."""
    both = start("-c", "-a", str(folder / "api-{whose}"))
    for each, whose in zip(both, ("theirs", "ours"), strict=True):
        each.wait_ready()
        each.guest.close()
        assert b"entries" in each.ask(folder / f"api-{whose}", b'{"execute":"list_hostfwd"}')
        assert each.process.poll() is None


def test_a_tap_that_is_busy(topology: Topology, folder: Path, start: Start) -> None:
    first = start()
    for each, whose in zip(first, ("theirs", "ours"), strict=True):
        each.wait_ready()
        second = run(topology.host, whose, (str(each.guest.pid), "tap11"))
        assert second.status == 1
        lines = second.err.splitlines()
        assert (lines[0], lines[-1]) == ("ioctl(TUNSETIFF): Device or resource busy", "child failed(1)")


RULE = b'"proto":"tcp","host_addr":"127.0.0.1","host_port":2222,"guest_addr":"10.0.2.100","guest_port":22'
REQUESTS = (
    b"badjson",
    b"",
    b"[]",
    b"42",
    b'"text"',
    b'{"unexpectedjson": 42}',
    b'{"execute": 42}',
    b'{"execute": "bad"}',
    b'{"execute": "bad", "arguments": 7}\n',
    b' \t\r\n{"execute": "bad"} and more',
    b'{"execute":"add_hostfwd","arguments":{"proto":"bad"}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"x"}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"::1","host_port":1,"guest_port":1}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp"}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":"80","guest_port":1}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":2222,"guest_addr":"x","guest_port":1}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":2222}}',
    b'{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"203.0.113.9","host_port":2222,"guest_port":1}}',
    b'{"execute":"add_hostfwd","arguments":{' + RULE + b"}}",
    b'{"execute":"add_hostfwd","arguments":{' + RULE + b"}}",  # again: the port is taken
    b'{"execute":"add_hostfwd","arguments":{"proto":"udp","host_port":2223.0,"guest_port":53}}',
    b'{"execute":"remove_hostfwd"}',
    b'{"execute":"remove_hostfwd","arguments":{"id":3}}',
    b'{"execute":"remove_hostfwd","arguments":{"id":"1"}}',
    b'{"execute":"list_hostfwd"}',
    b'{"execute":"remove_hostfwd","arguments":{"id":1}}',
    b'{"execute":"remove_hostfwd","arguments":{"id":1}}',
    b'{"execute":"list_hostfwd","arguments":{}}',
    b" " * 4095,
    b" " * 4096,
)


def test_the_api_socket_answers_alike(start: Start, folder: Path) -> None:
    """Byte for byte, but that list_hostfwd has the documented shape too; one after another, on one instance of each.

    Theirs ends first: both listen at the same ports of the host.
    """
    both = start("-c", "-a", str(folder / "api-{whose}"))
    answers = []
    for each, whose in zip(both, ("theirs", "ours"), strict=True):
        each.wait_ready()
        path = folder / f"api-{whose}"
        wait_for("the API socket", path.exists, PATIENCE_SECONDS)
        answers.append([each.ask(path, request) if request else b"" for request in REQUESTS])
        each.process.kill()
        each.process.wait()
    for request, theirs, ours in zip(REQUESTS, *answers, strict=True):
        if b'"list_hostfwd"' not in request:
            assert ours == theirs, request
            continue
        listed = json.loads(ours)
        assert listed["entries"] == json.loads(theirs)["entries"]
        assert listed["return"] == {"entries": listed["entries"]}
    assert {b'{"return":{"id":1}}', b'{"return":{"id":2}}', b'{"return":{}}'} <= set(answers[1])
