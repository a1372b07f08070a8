"""DNS messages for tests, written by dnspython and by nothing of ours."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

QUERY_ID = 0x1234


def query(name: str = "www.Example.org", rdtype: str = "A", ident: int = QUERY_ID, **options: Any) -> bytes:
    """A guest's query."""
    made = dns.message.make_query(name, rdtype, id=ident, **options)
    return made.to_wire()


def reply(asked: bytes, *records: str, rcode: int = 0, truncated: bool = False, **options: Any) -> bytes:
    """A resolver's answer; records as "name TTL IN type data"."""
    made = dns.message.make_response(dns.message.from_wire(asked), recursion_available=True, **options)
    made.set_rcode(dns.rcode.Rcode(rcode))
    for record in records:
        name, ttl, rdclass, rdtype, data = record.split(" ", 4)
        made.answer.append(dns.rrset.from_text(name, int(ttl), rdclass, rdtype, data))
    if truncated:
        made.flags |= dns.flags.TC
    return made.to_wire(max_size=65535)
