"""Which resolver to ask first: the host's order, with those that fail set aside for a while.

A resolver that could not be reached, or that twice in a row gave no answer in time, is set aside for PENALTY_NS, twice
as long each time it fails again, MAX_PENALTY_NS at most.  One set aside is still asked, after all others.  When its
time is over a single query tries it in its old place, and the others stay away until that one has shown how it is.  One
answer clears it.

What a resolver answers is never held against it (SERVFAIL is about a name, REFUSED often too), nor is one lost
datagram: the host's order has a meaning, such as a VPN's resolver that alone knows the names behind it.

UDP and TCP are told apart, for a resolver may well serve one and not the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyslirp.addresses import Endpoint
from pyslirp.records import dataclass

SECOND_NS = 1_000_000_000
PENALTY_NS = 10 * SECOND_NS
MAX_PENALTY_NS = 120 * SECOND_NS
PROBE_NS = 5 * SECOND_NS  #: how long others stay away while one query tries a resolver again
SILENCES = 2  #: time-outs in a row that set a resolver aside
MAX_RECORDS = 64  #: resolvers remembered; those of one resolv.conf, and of some before it


@dataclass(slots=True)
class _Record:
    """What went wrong with one resolver since it last answered."""

    silences: int = 0
    penalty: int = 0  # nanoseconds of the last one; 0: never set aside
    until: int = 0


class Failover:
    """The record of every resolver that has failed since its last answer."""

    def __init__(self) -> None:
        self._records: dict[tuple[Endpoint, bool], _Record] = {}

    def order(self, servers: Sequence[Endpoint], tcp: bool, now: int) -> list[Endpoint]:
        """`servers` in the order in which to ask them."""
        good: list[Endpoint] = []
        aside: list[tuple[int, Endpoint]] = []
        for server in servers:
            record = self._records.get((server, tcp))
            if record is None or not record.penalty:
                good.append(server)
            elif record.until <= now:
                record.until = now + PROBE_NS
                good.append(server)
            else:
                aside.append((record.until, server))
        return good + [server for _, server in sorted(aside, key=lambda entry: entry[0])]

    def silent(self, server: Endpoint, tcp: bool, now: int) -> None:
        """It gave no answer in time."""
        record = self._record(server, tcp)
        record.silences += 1
        if record.silences >= SILENCES or record.penalty:
            self._set_aside(record, now)

    def unreachable(self, server: Endpoint, tcp: bool, now: int) -> None:
        """The host said at once that it cannot be asked."""
        self._set_aside(self._record(server, tcp), now)

    def answered(self, server: Endpoint, tcp: bool) -> None:
        """It works."""
        self._records.pop((server, tcp), None)

    def snapshot(self) -> list[dict[str, Any]]:
        """The resolvers that have failed since their last answer; asked last until `aside_until` (engine clock)."""
        return [
            {"server": str(server), "tcp": tcp, "silences": record.silences, "aside_until": record.until}
            for (server, tcp), record in self._records.items()
        ]

    def _record(self, server: Endpoint, tcp: bool) -> _Record:
        if (server, tcp) not in self._records and len(self._records) >= MAX_RECORDS:
            del self._records[next(iter(self._records))]
        return self._records.setdefault((server, tcp), _Record())

    def _set_aside(self, record: _Record, now: int) -> None:
        if record.until > now + PROBE_NS:
            return  # failures of queries that were under way at once count once
        record.penalty = min(2 * record.penalty or PENALTY_NS, MAX_PENALTY_NS)
        record.until = now + record.penalty
