"""The kinds of value that options share."""

from ipaddress import IPv4Address

import pytest

from pyslirp.config.values import boolean, choice_hint, expects, ipv4_address, number, on_off, validate, within
from pyslirp.errors import ConfigError, ConfigErrors


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("yes", True),
        ("true", True),
        ("y", True),
        ("off", False),
        ("no", False),
        ("false", False),
        ("n", False),
    ],
)
def test_boolean_takes_the_words_of_qemu(text: str, value: bool) -> None:
    assert boolean("restrict")(text) is value


@pytest.mark.parametrize("text", ["", "1", "0", "ON", "On", " on", "maybe"])
def test_boolean_refuses_in_qemus_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        boolean("restrict")(text)
    assert str(caught.value) == f"restrict={text}: Parameter 'restrict' expects 'on' or 'off'"


def test_on_off_prints_what_boolean_reads() -> None:
    assert [boolean("x")(on_off(value)) for value in (True, False)] == [True, False]


@pytest.mark.parametrize(("text", "value"), [("1500", 1500), ("0x5dc", 1500), ("010", 8), ("0", 0), ("-1", -1)])
def test_number_is_in_c_notation(text: str, value: int) -> None:
    assert number("mtu")(text) == value


@pytest.mark.parametrize("text", ["", "x", "1500x", "1500 ", "1.5", "1_000", "0x"])
def test_number_refuses_in_qemus_words(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        number("mtu")(text)
    assert str(caught.value) == f"mtu={text}: Parameter 'mtu' expects a number"


def test_within_includes_both_ends() -> None:
    check = within("mtu", 68, 70, "a hint")
    for value in (68, 70):
        check(value)
    for value in (67, 71):
        with pytest.raises(
            ConfigError, match=rf"mtu={value}: Parameter 'mtu' expects a number from 68 to 70 \(a hint\)"
        ):
            check(value)


def test_ipv4_address_has_the_reason_that_it_was_made_with() -> None:
    parse = ipv4_address("host", "Failed to parse host")
    assert parse("10.0.2.9") == IPv4Address("10.0.2.9")
    with pytest.raises(ConfigError, match=r"^host=x: Failed to parse host$"):
        parse("x")


def test_expects_shows_a_switch_as_it_is_written() -> None:
    assert str(expects("hostname", True, "NAME")) == "hostname=on: Parameter 'hostname' expects NAME"


def test_validate_reports_every_refusal() -> None:
    check = within("mtu", 1, 2)
    validate((check, 1), (check, 2))
    with pytest.raises(ConfigErrors) as caught:
        validate((check, 0), (check, 1), (check, 3))
    assert [error.value for error in caught.value.errors] == [0, 3]


@pytest.mark.parametrize(
    ("name", "hint"), [("hostfw", "did you mean 'hostfwd'?"), ("nett", "did you mean 'net'?"), ("xyzzy", ""), ("", "")]
)
def test_choice_hint_names_what_resembles(name: str, hint: str) -> None:
    assert choice_hint(name, ["net", "hostfwd", "dns"]) == hint
