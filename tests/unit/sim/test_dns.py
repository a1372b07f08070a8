"""The stub resolver: which answers it believes, whom it asks next, when it gives up."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dpkt
import pytest

from pyslirp.addresses import Endpoint
from pyslirp.sim.dns import PORT, ROUNDS, TRY_NS, Lookup, Resolver

ONE, TWO = IPv4Address("10.0.2.3"), IPv4Address("10.0.2.4")
ANSWER = IPv4Address("192.0.2.7")


class Asked:
    """A lookup of example.org, begun at 0."""

    def __init__(self, *servers: IPv4Address, name: str = "example.org") -> None:
        self.queries: list[tuple[IPv4Address, Any]] = []
        self.resolver = Resolver(1, lambda server, payload: self.queries.append((server, dpkt.dns.DNS(payload))))
        self.lookup: Lookup = self.resolver.resolve(name, servers or (ONE,), 0)

    def answer(self, now: int = 5, source: Endpoint = Endpoint(ONE, PORT), **changes: Any) -> None:  # noqa: B008
        """Answer the last query, with these fields of its message changed."""
        _, query = self.queries[-1]
        fields: dict[str, Any] = {
            "id": query.id,
            "qr": 1,
            "qd": [dpkt.dns.DNS.Q(name="example.org", type=1)],
            "an": [dpkt.dns.DNS.RR(name="example.org", type=1, cls=1, rdata=ANSWER.packed)],
        } | changes
        message = dpkt.dns.DNS(id=fields["id"], qd=fields["qd"], an=fields["an"])
        message.qr, message.tc, message.rcode = fields["qr"], fields.get("tc", 0), fields.get("rcode", 0)
        self.resolver.handle(source, bytes(message), now)


def test_an_answer_ends_the_lookup() -> None:
    asked = Asked()
    assert [(server, query.qd[0].name, query.qd[0].type) for server, query in asked.queries] == [
        (ONE, "example.org", 1)
    ]
    assert not asked.lookup.done
    asked.answer(now=5)
    lookup = asked.lookup
    assert (lookup.done, lookup.addresses, lookup.server, lookup.error) == (True, [ANSWER], ONE, None)
    assert (lookup.asked_at, lookup.ended_at, asked.resolver.deadline()) == (0, 5, None)


def test_case_and_a_final_dot_make_no_difference() -> None:
    asked = Asked(name="Example.ORG.")
    asked.answer()
    assert asked.lookup.addresses == [ANSWER]


@pytest.mark.parametrize(
    "changes",
    [
        {"source": Endpoint(TWO, PORT)},
        {"source": Endpoint(ONE, 5353)},
        {"qr": 0},
        {"qd": [dpkt.dns.DNS.Q(name="example.com", type=1)]},
        {"qd": []},
    ],
)
def test_what_is_no_answer_to_the_question_is_not_believed(changes: dict[str, Any]) -> None:
    asked = Asked()
    asked.answer(**changes)
    assert not asked.lookup.done
    asked.answer()
    assert asked.lookup.done


def test_another_identifier_and_noise_are_not_believed() -> None:
    asked = Asked()
    asked.answer(id=asked.queries[0][1].id ^ 1)
    asked.resolver.handle(Endpoint(ONE, PORT), b"noise", 1)
    asked.resolver.handle(Endpoint(ONE, PORT), b"\xff" * 40, 1)
    assert not asked.lookup.done


@pytest.mark.parametrize(("changes", "error"), [({"tc": 1}, "truncated"), ({"rcode": 3}, "RCODE 3")])
def test_answers_that_are_no_addresses(changes: dict[str, Any], error: str) -> None:
    asked = Asked()
    asked.answer(**changes)
    assert (asked.lookup.error, asked.lookup.addresses) == (error, [])


def test_silent_servers_are_asked_in_turn_and_then_given_up() -> None:
    asked, times = Asked(ONE, TWO), []
    while (due := asked.resolver.deadline()) is not None:
        asked.resolver.expire(due - 1)  # too early: changes nothing
        asked.resolver.expire(due)
        times.append(due)
    assert [server for server, _ in asked.queries] == [ONE, TWO] * ROUNDS
    assert times == [TRY_NS * number for number in range(1, 2 * ROUNDS + 1)]
    assert (asked.lookup.error, asked.lookup.ended_at) == ("timed out", times[-1])


def test_an_answer_to_a_query_that_was_given_up_comes_too_late() -> None:
    asked = Asked(ONE, TWO)
    first = asked.queries[0][1].id
    asked.resolver.expire(TRY_NS)
    asked.answer(id=first)
    assert not asked.lookup.done


def test_without_a_server_there_is_nobody_to_ask() -> None:
    with pytest.raises(ValueError, match="no DNS server to ask for x"):
        Resolver(1, lambda *_: None).resolve("x", (), 0)
