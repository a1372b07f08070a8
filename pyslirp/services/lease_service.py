"""What the two services that lease addresses have in common: DHCP (dhcp.py) and DHCPv6 (dhcp6.py).

They differ in messages and in who is a client.  What time does to leases, what the world is told of them, how restrict=
is followed and what is counted is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from pyslirp.config.dhcp import INFINITE_SECONDS
from pyslirp.events import NEVER_NS, LeaseEnded, LeaseGranted
from pyslirp.services.base import Action
from pyslirp.services.leases import SECOND_NS, AnyAddress, Lease, Leases


class Replies(Protocol):
    """Makes the replies of one of the two."""

    omitted: int  #: options that did not fit into one, so far

    def set_restrict(self, restrict: bool) -> None:
        """Leave out what isolated guests are not told, or no longer."""


AnyReplies = TypeVar("AnyReplies", bound=Replies)


class LeaseService(Generic[AnyAddress, AnyReplies]):
    """A table of leases, who answers by it, and counters: `counters` are their names, "options_omitted" among them."""

    def __init__(self, leases: Leases[AnyAddress], replies: AnyReplies, counters: Iterable[str]) -> None:
        self._leases: Leases[AnyAddress] = leases
        self._replies = replies
        self._counters = dict.fromkeys(counters, 0)

    def deadline(self) -> int | None:
        """When the next lease, offer or quarantine ends."""
        return self._leases.deadline()

    def expire(self, now: int) -> list[Action]:
        """End what is due."""
        return [self._ended(lease, "expired", now) for lease in self._leases.expire(now)]

    def set_restrict(self, restrict: bool, now: int) -> None:
        """Tell clients of the way out of the network, or not, from their next message on."""
        del now
        self._replies.set_restrict(restrict)

    def snapshot(self) -> dict[str, Any]:
        """Leases by address (in every state of leases.py) and counters."""
        leases = [self._told(lease) for lease in self._leases]
        return {"leases": leases, "counters": {**self._counters, "options_omitted": self._replies.omitted}}

    def _told(self, lease: Lease[AnyAddress]) -> dict[str, Any]:
        """A lease as plain values."""
        return {
            "address": str(lease.address),
            "mac": str(lease.mac),
            "state": lease.state.value,
            "hostname": lease.hostname,
            "client_id": lease.identifier.hex(),
            "link": lease.link,
            "expires": lease.expires,
        }

    def _granted(self, lease: Lease[AnyAddress], now: int) -> LeaseGranted:
        expires = NEVER_NS if lease.expires is None else lease.expires
        return LeaseGranted(now, lease.address, lease.mac, lease.hostname, expires)

    def _ended(self, lease: Lease[AnyAddress], reason: str, now: int) -> LeaseEnded:
        return LeaseEnded(now, lease.address, lease.mac, reason)

    def _drop(self, reason: str) -> list[Action]:
        """Count a message that gets no answer."""
        self._counters[f"drop.{reason}"] += 1
        return []


def expiry(seconds: int, now: int) -> int | None:
    """When a lease of so many seconds ends (monotonic nanoseconds); None, as INFINITE_SECONDS: never."""
    return None if seconds == INFINITE_SECONDS else now + seconds * SECOND_NS
