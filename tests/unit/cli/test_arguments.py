"""What every command shares: options, errors, beginnings."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Generator
from pathlib import Path

import pytest

from pyslirp.cli.arguments import USAGE_ERROR, Parser, add_common, begin, complain, explain, read_config
from pyslirp.config.stack import Config
from pyslirp.errors import ForwardError, LinkError, SlirpError
from pyslirp.stack import Stack
from tests.unit.loops.wired_guest import answer


@pytest.fixture
def parser() -> Parser:
    made = Parser("pyslirp test", "A parser.")
    made.add_argument("--listen", action="append", default=[])
    made.add_argument("--connect", action="append", default=[])
    add_common(made)
    return made


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lisen", ":0"], "--lisen; did you mean --listen?"),
        (["--hostfw=tcp::1-:2"], "--hostfw=tcp::1-:2; did you mean --hostfwd?"),
        (["--dnsserch", "x", "--nonsense"], "--dnsserch --nonsense; did you mean --dnssearch?"),
        (["--xyzzy"], "--xyzzy; see --help"),
    ],
)
def test_a_misspelt_option(parser: Parser, capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    with pytest.raises(SystemExit) as caught:
        parser.read(words)
    assert caught.value.code == USAGE_ERROR
    assert capsys.readouterr().err == f"pyslirp: unrecognized arguments: {hint}\n"


@pytest.mark.parametrize("words", [["--lis=:0"], ["--listen"], ["--verbose=3"]])
def test_other_errors_of_usage(parser: Parser, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """An abbreviation is none of our words: what it means would change with the next option."""
    with pytest.raises(SystemExit) as caught:
        parser.read(words)
    assert caught.value.code == USAGE_ERROR
    assert capsys.readouterr().err.startswith("pyslirp: ")


def test_each_line_of_a_complaint_has_our_name(capsys: pytest.CaptureFixture[str]) -> None:
    complain("one\ntwo")
    assert capsys.readouterr().err == "pyslirp: one\npyslirp: two\n"


def test_options_in_every_notation_are_one_config(parser: Parser) -> None:
    namespace = parser.read(
        ["net=10.0.9.0/24,hostfwd=tcp::1-:2", "--netdev", "user,id=n,host=10.0.9.9", "--hostfwd", "udp::3-:4", "-vv"]
    )
    config, listen, connect = read_config(namespace)
    assert config == Config.build(net="10.0.9.0/24", hostfwd=["tcp::1-:2", "udp::3-:4"], id="n", host="10.0.9.9")
    assert (listen, connect, namespace.verbose) == ([], [], 2)


@pytest.mark.parametrize(
    ("words", "net"),
    [
        ("net=10.0.8.0/24 --net 10.0.9.0/24", "10.0.9.0/24"),
        ("--net 10.0.8.0/24 net=10.0.9.0/24", "10.0.9.0/24"),
        ("--netdev user,id=n,net=10.0.7.0/24 net=10.0.8.0/24 -v --net=10.0.9.0/24", "10.0.9.0/24"),
        ("--net 10.0.8.0/24 --listen :0 net=10.0.7.0/24 --connect :1 net=10.0.9.0/24", "10.0.9.0/24"),
    ],
)
def test_of_an_option_given_twice_the_last_counts(parser: Parser, words: str, net: str) -> None:
    config, _, _ = read_config(parser.read(words.split()))
    assert config is not None
    assert str(config.network.net) == net


def test_a_command_is_not_taken_for_an_option(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parser.read(["net=10.0.9.0/24", "--", "qemu-system-x86_64"])
    assert stop.value.code == USAGE_ERROR
    assert "'--' begins the command of `pyslirp run` and `pyslirp exec`" in capsys.readouterr().err


def test_a_value_may_look_like_an_option(parser: Parser) -> None:
    assert parser.read(["--pcap", "net=file", "-v"]).pcap == "net=file"


def test_all_errors_are_told_at_once(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    namespace = parser.read(["--listen", "x", "--connect", ":0", "--listen", ":0", "net=10.0.2.0/99", "--host=y"])
    config, listen, connect = read_config(namespace)
    assert config is None
    assert ([str(address) for address in listen], connect) == (["127.0.0.1:0"], [])
    assert capsys.readouterr().err.splitlines() == [
        "pyslirp: listen=x: no port is given (write x:PORT)",
        "pyslirp: connect=127.0.0.1:0: a port is a number from 1 to 65535",
        "pyslirp: net=10.0.2.0/99: Invalid netmask provided (must be in range 4-32)",
        "pyslirp: host=y: Failed to parse host",
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LinkError(98, "--listen :1: in use"), "--listen :1: in use"),
        (ForwardError(None, "no rule"), "no rule"),
        (SlirpError("plain"), "plain"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory"),
        (OSError("without a number"), "without a number"),
    ],
)
def test_errors_in_words(error: Exception, text: str) -> None:
    assert explain(error) == text


# -- beginning ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stack() -> Generator[Stack]:
    made = Stack(Config())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Generator[None]:
    logger = logging.getLogger("pyslirp")
    before = logger.level
    yield
    logger.setLevel(before)


def options(*, verbose: int = 0, pcap: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(verbose=verbose, pcap=pcap, control=None)


def test_a_stack_is_begun(stack: Stack, tmp_path: Path) -> None:
    begin(stack, options(pcap=str(tmp_path / "capture")))
    assert stack.core.capturing
    assert (tmp_path / "capture").exists()
    assert len(stack.bus) == 0


def test_a_capture_that_cannot_be_written(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(SlirpError, match=f"^--pcap {tmp_path}: Is a directory; give the name of a file in it$"):
        begin(stack, options(pcap=str(tmp_path)))
    with pytest.raises(SlirpError, match="No such file or directory; the directory must exist"):
        begin(stack, options(pcap=f"{tmp_path}/none/capture"))


def test_a_forward_that_cannot_be_set_up() -> None:
    with answer() as server:
        config = Config.build(hostfwd=[f"tcp:127.0.0.1:{server.getsockname()[1]}-:22"])
        with pytest.raises(ForwardError, match="Address already in use"):
            begin(Stack(config), options())


def test_what_happens_is_told_to_who_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyslirp")
    stack = Stack(Config.build(hostfwd=["tcp:127.0.0.1:0-:22"]))
    begin(stack, options(verbose=1))
    stack.close()
    assert caplog.messages[0].startswith("forwarding tcp:127.0.0.1:")
