"""Options on the command line."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace

import pytest

from pyslirp.config.argv import add_arguments, format_arguments, from_arguments
from pyslirp.config.fields import FIELDS
from pyslirp.config.stack import Config
from pyslirp.errors import ConfigErrors


def parser() -> ArgumentParser:
    made = ArgumentParser(prog="pyslirp")
    made.add_argument("--listen", action="append")
    add_arguments(made)
    return made


def config_of(*arguments: str) -> Config:
    return from_arguments(parser().parse_args(arguments))


@pytest.mark.parametrize("before", [(), ("--listen", ":1234")])
def test_every_spelling_means_the_same(before: tuple[str, ...]) -> None:
    wanted = Config.build(net="192.168.76.0/24", host="192.168.76.9", hostfwd=["::2222-:22", "::80-:80"])
    parts = ["net=192.168.76.0/24", "host=192.168.76.9", "hostfwd=::2222-:22", "hostfwd=::80-:80"]
    spellings = [
        [",".join(parts)],
        [",".join(parts[:2]), ",".join(parts[2:])],
        ["user," + ",".join(parts)],
        ["--netdev", "user,id=net0," + ",".join(parts)],
        [f"--{part}" for part in parts],
        [word for part in parts for word in f"--{part}".split("=", 1)],
        ["--netdev=user,id=net0," + ",".join(parts[:3]), "--hostfwd=::80-:80"],
        [",".join(parts[:3]), "--hostfwd=::80-:80"],
    ]
    for spelling in spellings:
        assert config_of(*before, *spelling) == wanted


def test_nothing_given_is_the_default() -> None:
    assert config_of() == Config()
    assert from_arguments(Namespace()) == Config()


def test_the_last_of_a_scalar_wins_however_it_is_written() -> None:
    host = ["--host=10.0.2.7", "host=10.0.2.8", "--netdev=user,id=n,host=10.0.2.9"]
    assert str(config_of(*host).network.host) == "10.0.2.9"
    assert str(config_of(*host[1:], host[0]).network.host) == "10.0.2.7"
    assert str(config_of(host[0], host[2], host[1]).network.host) == "10.0.2.8"


def test_options_between_options_are_met_by_intermixed_parsing() -> None:
    arguments = ["net=10.9.0.0/16", "--listen", ":1", "host=10.9.0.9"]
    assert from_arguments(parser().parse_intermixed_args(arguments)) == Config.build(net="10.9.0.0/16", host="10.9.0.9")


def test_what_is_printed_reads_back() -> None:
    config = Config.build(
        id="n",
        net="10.9.0.0/16",
        mtu=1500,
        restrict=True,
        hostname="-a,b=c",
        dnssearch=["a", "b"],
        dhcp_host=["52:54:00:12:34:56=10.9.9.9"],
        dns_upstream=["[::1]:5353"],
        hostfwd=["udp:[::1]:53-:53"],
    )
    assert config_of(*format_arguments(config)) == config


def test_errors_of_every_argument_come_together() -> None:
    with pytest.raises(ConfigErrors) as caught:
        config_of("--netdev", "tap", "--netdev=user,restrict=x", "mtu=1", "--host", "y")
    assert str(caught.value).splitlines() == [
        "netdev=tap: Parameter 'type' does not accept value 'tap' (only user is a network of this program)",
        "netdev=user,restrict=x: Parameter 'id' is missing",
        "restrict=x: Parameter 'restrict' expects 'on' or 'off'",
        "mtu=1: Parameter 'mtu' expects a number from 68 to 65521 (leave it out for the most that the links carry)",
        "host=y: Failed to parse host",
    ]


def test_every_option_is_explained() -> None:
    text = " ".join(parser().format_help().split())
    for field in FIELDS:
        assert f"--{field.name} {field.metavar}" in text
        assert field.help in text
    assert "(default 10.0.2.15, follows net)" in text
    assert "(default 86400)" in text


def test_the_library_does_not_pay_for_the_command_line() -> None:
    heavy = "{'argparse', 'difflib', 'socket', 'asyncio', 'hypothesis'}"
    program = f"import sys, pyslirp.config.stack, pyslirp.config.argv; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
