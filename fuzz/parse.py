"""Invariant tested: every frame is judged as by the twin of tests/oracle; what is accepted lies inside the frame, and
building it from what was read and reading that gives the same again.

The fuzz build takes every checksum for right, so that mutations reach past them; the twin is told so.
"""

from __future__ import annotations

from typing import Any

from pyslirp.engine.codecs.build import _ethernet, _icmp, _icmpv6, _ip, _ipv4, _padding, _tcp, _udp
from pyslirp.engine.codecs.parse import _parse
from pyslirp.engine.stores.checksum import _sum_is_good
from tests.oracle import headers
from tests.oracle.checksum import is_good
from tests.oracle.status import name_of

SUMS_PASS = _sum_is_good(0)
SAME = ("destination_mac", "source_mac", "ttl", "tos", "protocol", "identification", "dont_fragment", "source",
        "destination", "source_port", "destination_port", "payload")
SAME_TCP = ("seq", "ack", "window", "urgent", "flags", "options")
SAME_ICMP = ("type", "code")


def fuzz(data: bytes) -> tuple[str, object]:
    """One input: a frame."""
    status, fields = _parse(data)
    assert name_of(status) == headers.verdict(data, good if SUMS_PASS else is_good)
    if status or fields["stage"] != "transport":
        return name_of(status), fields.get("fragment")
    check_places(data, fields)
    check_rebuilt(fields)
    return name_of(status), (fields["protocol"], fields["header_bytes"], fields.get("type"), fields.get("flags"))


def good(_: bytes) -> bool:
    """Every checksum, in the fuzz build."""
    return True


def check_places(frame: bytes, fields: dict[str, Any]) -> None:
    """Layers follow one another and end where the layer around them does, or before."""
    assert frame[14:].startswith(fields["l3"])
    assert fields["l3"][fields["header_bytes"] :].startswith(fields["l4"])
    assert fields["l4"].endswith(fields["payload"])
    assert fields.get("options", b"") in fields["l4"]


def check_rebuilt(fields: dict[str, Any]) -> None:
    """Without IP options and extension headers, which are skipped when read and never written."""
    transport = rebuilt_transport(fields)
    ethernet = _ethernet(fields["destination_mac"], fields["source_mac"], fields["ethertype"])
    if fields["ethertype"] == 0x86DD:
        ip = _ip(fields["source"], fields["destination"], fields["protocol"], fields["ttl"], fields["tos"], 0, len(transport))
    else:
        ip = _ipv4(fields["source"], fields["destination"], fields["protocol"], fields["ttl"], fields["tos"],
                         fields["identification"], len(transport), 0, False, fields["dont_fragment"])
    status, again = _parse(_padding(ethernet + ip + transport))
    assert name_of(status) == "ok"
    same = {*SAME, *{6: SAME_TCP, 1: SAME_ICMP, 58: SAME_ICMP}.get(fields["protocol"], ())}
    if fields["ethertype"] == 0x86DD:
        same.remove("identification")  # a Fragment header's, where there was one
    assert {key: again[key] for key in same} == {key: fields[key] for key in same}


def rebuilt_transport(fields: dict[str, Any]) -> bytes:
    """The transport header and payload, from the fields."""
    ends = fields["source"], fields["destination"], fields["source_port"], fields["destination_port"]
    if fields["protocol"] == 17:
        return _udp(*ends, fields["payload"])
    if fields["protocol"] == 6:
        return _tcp(*ends, fields["seq"], fields["ack"], fields["flags"], fields["window"], fields["urgent"],
                          fields["options"], fields["payload"])
    if fields["protocol"] == 58:
        body = fields["l4"][4:8] + fields["payload"]
        return _icmpv6(fields["source"], fields["destination"], fields["type"], fields["code"], body)
    return _icmp(fields["type"], fields["code"], fields["source_port"] << 16 | fields["destination_port"],
                       fields["payload"])
