"""Every row of what slirp4netns promises, and the test that holds pyslirp-slirp4netns to it.

The rows are its manual's and its source's: options, what is said and when, descriptors, the API socket, sandbox and seccomp.
"""

from __future__ import annotations

import ast
import functools

import pytest

from pyslirp.cli.slirp4netns_options import OPTIONS
from tests.meta.tree import ROOT

GUEST = "tests/interop/test_slirp4netns.py"
BESIDE = "tests/interop/test_slirp4netns_beside.py"
UNIT = "tests/unit/cli/test_slirp4netns.py"
WORDS = "tests/unit/cli/test_slirp4netns_options.py"
API = "tests/unit/control/test_slirp4netns_api.py"

OF_OPTIONS = {
    "configure": f"{GUEST}::test_configure",
    "exit-fd": f"{GUEST}::test_exit_fd",
    "ready-fd": f"{UNIT}::test_ready_and_answering_and_then_hung_up",
    "mtu": f"{GUEST}::test_mtu",
    "cidr": f"{GUEST}::test_cidr",
    "disable-host-loopback": f"{GUEST}::test_disable_host_loopback",
    "no-host-loopback": f"{BESIDE}::test_what_is_said_at_the_start",
    "netns-type": f"{GUEST}::test_by_a_path_from_inside_its_user_namespace",
    "userns-path": f"{GUEST}::test_by_a_path_from_outside",
    "api-socket": f"{GUEST}::test_api_socket",
    "enable-ipv6": f"{GUEST}::test_ipv6",
    "enable-sandbox": f"{GUEST}::test_sandbox",
    "create-sandbox": f"{WORDS}::test_what_is_only_warned_of",
    "enable-seccomp": f"{GUEST}::test_seccomp",
    "help": f"{WORDS}::test_help_names_every_option",
    "version": f"{BESIDE}::test_version_has_the_same_fields",
    "outbound-addr": f"{GUEST}::test_outbound_addr",
    "outbound-addr6": f"{GUEST}::test_ipv6",
    "disable-dns": f"{GUEST}::test_disable_dns",
    "macaddress": f"{GUEST}::test_macaddress",
    "target-type": f"{UNIT}::test_ready_and_answering_and_then_hung_up",
}

OF_BEHAVIOUR = {
    "options abbreviated, joined, anywhere, the first mistake told": f"{BESIDE}::test_the_same_words",
    "where it differs on purpose": f"{BESIDE}::test_other_words_on_purpose",
    "the lines at the start, in order; warnings on standard output": f"{BESIDE}::test_what_is_said_at_the_start",
    "what the child cannot do, by perror": f"{UNIT}::test_what_fails_in_the_child_is_said_in_both_ways",
    "a tap that is busy": f"{BESIDE}::test_a_tap_that_is_busy",
    "a process that is not there": f"{GUEST}::test_a_process_that_is_not_there",
    "surplus arguments are only warned of": f"{GUEST}::test_surplus_arguments_are_only_warned_of",
    "a tap that is open (--netns-type=tapfd)": f"{GUEST}::test_a_tap_that_is_open",
    "DHCP where nothing is configured": f"{GUEST}::test_without_configure_there_is_dhcp",
    "exit-fd and ready-fd that are not open": f"{BESIDE}::test_a_descriptor_that_is_not_open",
    "an exit-fd that is a file": f"{UNIT}::test_an_exit_fd_that_is_a_file_never_does",
    "not ready where something fails": f"{UNIT}::test_an_api_socket_that_cannot_be",
    "signals": f"{BESIDE}::test_a_signal_has_the_same_effect",
    "the end of the guest's processes": f"{BESIDE}::test_they_outlive_the_last_process_of_the_namespace",
    "the end of a BESS client": f"{UNIT}::test_the_guest_that_goes_ends_it",
    "every request and every answer of the API socket": f"{BESIDE}::test_the_api_socket_answers_alike",
    "the API socket's log": f"{API}::test_one_request_and_one_answer",
    "requests: how large": f"{API}::test_how_large_a_message_may_be",
    "requests in pieces, and half-closed": f"{API}::test_what_never_becomes_whole",
    "a path that is too long for a socket": f"{GUEST}::test_api_socket_path_too_long",
    "a sandbox leaves the mounts of others alone": f"{GUEST}::test_sandbox_leaves_the_mounts_of_others",
    "which system calls seccomp blocks": f"{BESIDE}::test_the_same_system_calls_are_blocked",
    "the tap is there before a script has gone on": "tests/meta/test_startup.py::test_nothing_heavy_is_imported",
}


@functools.cache
def functions_of(file: str) -> set[str]:
    return {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_no_option_is_without_a_row() -> None:
    assert OF_OPTIONS.keys() == {option.name for option in OPTIONS}


@pytest.mark.parametrize(("row", "test"), [*OF_OPTIONS.items(), *OF_BEHAVIOUR.items()])
def test_the_test_of_each_row_is_there(row: str, test: str) -> None:
    file, _, name = test.partition("::")
    assert name in functions_of(file), row
