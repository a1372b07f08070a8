"""getopt_long(3): held against the C library's own, where that has been seen to say it; the rest by its manual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyslirp.cli.getopt_long import Getopt, GetoptError, Option

KNOWN = (
    Option("configure", "c"),
    Option("cidr", takes_value=True),
    Option("mtu", "m", takes_value=True),
    Option("mtu6"),
)


def read(*arguments: str, permute: bool = True) -> tuple[list[tuple[str, str]], list[str]]:
    line = Getopt(KNOWN, arguments, permute=permute)
    return list(line.options()), line.words


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((), [], []),
        (("a", "-c", "b"), [("configure", "")], ["a", "b"]),
        (("-cm1400", "-m", "-5", "-"), [("configure", ""), ("mtu", "1400"), ("mtu", "-5")], ["-"]),
        (("--mtu=1", "--mtu", "--", "--mtu6"), [("mtu", "1"), ("mtu", "--"), ("mtu6", "")], []),
        (("--ci=", "--co", "--cidr=a=b"), [("cidr", ""), ("configure", ""), ("cidr", "a=b")], []),
        (("a", "--", "-c", "--", "b"), [], ["a", "-c", "--", "b"]),
    ],
)
def test_what_is_read(arguments: tuple[str, ...], options: list[tuple[str, str]], words: list[str]) -> None:
    assert read(*arguments) == (options, words)


def test_what_is_read_where_options_come_first() -> None:
    assert read("-c", "a", "-c", permute=False) == ([("configure", "")], ["a", "-c"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-x",), "invalid option -- 'x'"),
        (("-cxm",), "invalid option -- 'x'"),
        (("-m",), "option requires an argument -- 'm'"),
        (("--mtu",), "option '--mtu' requires an argument"),
        (("--ci",), "option '--cidr' requires an argument"),
        (("--conf=3",), "option '--configure' doesn't allow an argument"),
        (("--x",), "unrecognized option '--x'"),
        (("--bogus=3",), "unrecognized option '--bogus=3'"),
        (("--c=3",), "option '--c=3' is ambiguous; possibilities: '--configure' '--cidr'"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(GetoptError) as caught:
        read(*arguments)
    assert str(caught.value) == text


def test_what_stands_before_a_mistake_has_been_read() -> None:
    options = Getopt(KNOWN, ["-c", "--bogus"]).options()
    assert next(options) == ("configure", "")
    with pytest.raises(GetoptError):
        next(options)


@given(st.lists(st.text("-=cmtuidr6 ", max_size=8), max_size=8))
def test_no_word_is_lost(arguments: list[str]) -> None:
    try:
        options, words = read(*arguments)
    except GetoptError:
        return
    assert len(options) + len(words) <= sum(max(1, len(word) - 1) for word in arguments)
    assert all(word in arguments for word in words)
