from __future__ import annotations

import pytest

from pyslirp.errors import ClosedError, ConfigError, ConfigErrors, ForwardError, LinkError, SlirpError


def test_an_option_its_value_and_the_remedy_are_in_the_text() -> None:
    error = ConfigError("dhcpstart", "10.0.3.15", "Invalid DHCP start address", "it lies outside net")
    assert str(error) == "dhcpstart=10.0.3.15: Invalid DHCP start address (it lies outside net)"
    assert (error.option, error.value, error.reason, error.hint) == (
        "dhcpstart",
        "10.0.3.15",
        "Invalid DHCP start address",
        "it lies outside net",
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConfigError("hostfwd", None, "missing host port"), "hostfwd: missing host port"),
        (ConfigError("mtu", 0, "too small"), "mtu=0: too small"),
        (ConfigError("hostname", "", "empty"), "hostname=: empty"),
    ],
)
def test_a_value_that_is_not_there_is_not_printed(error: ConfigError, text: str) -> None:
    assert str(error) == text


def test_all_errors_of_a_configuration_are_told_at_once() -> None:
    errors = [ConfigError("mtu", 1, "too small"), ConfigError("net", "x", "not a network")]
    assert str(ConfigErrors(errors)) == "mtu=1: too small\nnet=x: not a network"
    assert ConfigErrors(errors).errors == errors


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (ConfigError, ValueError),
        (ConfigErrors, ValueError),
        (LinkError, OSError),
        (ForwardError, OSError),
        (ClosedError, Exception),
    ],
)
def test_each_is_ours_and_what_python_calls_it(kind: type[Exception], base: type[Exception]) -> None:
    assert issubclass(kind, SlirpError)
    assert issubclass(kind, base)


def test_an_os_error_keeps_its_number() -> None:
    error = LinkError(98, "/run/x: Address already in use")
    assert (error.errno, error.args, error.step) == (98, (98, "/run/x: Address already in use"), "")


def test_a_link_error_names_the_step_where_that_is_known() -> None:
    error = LinkError(16, "tap0: it is busy", "tap")
    assert (error.args, error.step) == ((16, "tap0: it is busy"), "tap")
