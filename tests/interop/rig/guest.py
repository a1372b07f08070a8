"""What a test may ask of a guest, whichever kind it is: run a command, take a lease, and run `peer` (see peer.c)."""

from __future__ import annotations

import shlex
from typing import Protocol

from tests.interop.rig.process import Result

COMMAND_SECONDS = 30.0  # default time-out of a command in a guest: an emulated CPU is slow
_DHCP_TRIES = 8  # one a second


class Job(Protocol):
    """A command that runs in a guest."""

    def expect(self, text: str, seconds: float = COMMAND_SECONDS) -> None:
        """Wait until it has written ``text``."""

    def wait(self) -> Result:
        """How it ended; a status of 124 or more says that its time-out passed."""


class Guest(Protocol):
    """A machine behind the backend."""

    name: str
    interface: str  #: its network interface
    lease_script: str  #: what udhcpc calls, a path in the guest
    lease_file: str  #: where that keeps the lease, a path in the guest

    def run(self, command: str, timeout: float = COMMAND_SECONDS) -> Result:
        """What a shell in the guest makes of ``command``."""

    def spawn(self, command: str, timeout: float = COMMAND_SECONDS) -> Job:
        """Start ``command``; its job must be waited for before the next command."""


def take_lease(guest: Guest, *options: str) -> dict[str, str]:
    """Take a lease with busybox's udhcpc and configure the interface with it.

    ``options`` are asked for besides udhcpc's own choice, by its names (``mtu``, ``search``).  The result is the
    environment that udhcpc gives its script: ``ip``, ``mask``, ``router``, ``dns``, ``lease``, ``serverid`` ...
    """
    asked = " ".join(f"-O {shlex.quote(option)}" for option in options)
    client = f"busybox udhcpc -f -q -n -t {_DHCP_TRIES} -T 1 -i {guest.interface} -s {guest.lease_script} {asked}"
    guest.run(f"rm -f {guest.lease_file}; LEASE_FILE={guest.lease_file} {client}").check()
    lines = guest.run(f"cat {guest.lease_file}").check().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
