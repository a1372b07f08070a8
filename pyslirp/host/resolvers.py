"""The host's resolvers: /etc/resolv.conf read whole, and read again when it changes (resolv.conf(5)).

All `nameserver` lines count, in order, IPv4 and IPv6 with scope (``fe80::1%eth0``).  `options timeout:n attempts:n` are
honoured within limits.  Anything else, and any line that cannot be read, is passed over as by the C library.

Changes are noticed when a query asks for the resolvers, by one stat at most every CHECK_NS; the path is followed, so a
symbolic link that now leads elsewhere (systemd-resolved, NetworkManager, a VPN) is a change like any other.  No file,
or no usable line in it, means the host's own resolver at 127.0.0.1 (libslirp since 4.8, and the C library).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

from pyslirp.addresses import Endpoint
from pyslirp.records import dataclass

SECOND_NS = 1_000_000_000
PORT = 53
CHECK_NS = SECOND_NS
MAX_FILE_BYTES = 65_536
MAX_SERVERS = 16

DEFAULT_TIMEOUT_NS = 1_500_000_000  #: shorter than resolv.conf's 5 s: the guest's own 5 s should see a second resolver
MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 1, 5
DEFAULT_ATTEMPTS = 2
MIN_ATTEMPTS, MAX_ATTEMPTS = 1, 5

LOOPBACK = Endpoint(IPv4Address("127.0.0.1"), PORT)


@dataclass(frozen=True, slots=True)
class ResolverSet:
    """The resolvers at one moment."""

    servers: tuple[Endpoint, ...] = (LOOPBACK,)  #: in order of preference, never empty
    timeout_ns: int = DEFAULT_TIMEOUT_NS  #: for the first try of each
    attempts: int = DEFAULT_ATTEMPTS  #: rounds through all of them


class Resolvers:
    """The resolvers of a resolv.conf, or those that the user has chosen (`--dns-upstream`) instead.

    `reads` counts how often the file was read, for the snapshot.
    """

    def __init__(self, path: str = "/etc/resolv.conf", chosen: Sequence[Endpoint] = ()) -> None:
        self._path = path
        self._chosen = tuple(chosen)
        self._current = ResolverSet(self._chosen or (LOOPBACK,))
        self._seen: tuple[int, ...] | None = None
        self._next_check: int | None = None
        self.reads = 0

    def current(self, now: int) -> ResolverSet:
        """The resolvers as of `now` (monotonic nanoseconds).  Never raises: a file that cannot be read is no file."""
        if not self._chosen and (self._next_check is None or now >= self._next_check):
            self._next_check = now + CHECK_NS
            self._check()
        return self._current

    def _check(self) -> None:
        try:
            status = os.stat(self._path)  # noqa: PTH116 - once a second for the life of a network: no Path for it
        except OSError:
            status = None
        seen = None if status is None else _signature(status)
        if seen != self._seen or self.reads == 0:
            self._read()

    def _read(self) -> None:
        """Sign what is really read: a file that was replaced since the stat is read again at the next check."""
        self.reads += 1
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123 - as above
                self._seen = _signature(os.fstat(file.fileno()))
                text = file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
        except OSError:
            self._seen, text = None, ""
        self._current = parse(text)


def parse(text: str) -> ResolverSet:
    """The resolvers that a resolv.conf names."""
    servers: dict[Endpoint, None] = {}
    timeout_ns, attempts = DEFAULT_TIMEOUT_NS, DEFAULT_ATTEMPTS
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            try:
                servers[Endpoint(ip_address(values[0]), PORT)] = None
            except ValueError:
                continue
        elif keyword == "options":
            for name, _, value in (option.partition(":") for option in values):
                if not (value.isascii() and value.isdigit()):
                    continue
                if name == "timeout":
                    timeout_ns = _within(value, MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS) * SECOND_NS
                elif name == "attempts":
                    attempts = _within(value, MIN_ATTEMPTS, MAX_ATTEMPTS)
    return ResolverSet(tuple(servers)[:MAX_SERVERS] or (LOOPBACK,), timeout_ns, attempts)


def _within(digits: str, low: int, high: int) -> int:
    return min(max(int(digits[:9]), low), high)


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """What changes when the file does."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
