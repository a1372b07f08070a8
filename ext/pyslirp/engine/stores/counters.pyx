"""Counters by Status: one u64 each, with a name and a sentence each.

A name is `floor.what` with the floor's word of the Status: TCP_OUT_OF_WINDOW is `tcp.out_of_window`.  The order is that
of base/status.pxd; tests/meta/test_tables.py reads both files and fails where they part.
"""

from pyslirp.engine.base.ints cimport u64
from pyslirp.engine.base.status cimport STATUS_COUNT

# (name, sentence) in the order of Status.
_TABLE = (
    ("ok", "Handled without anything to report."),
    # -- links and the switch
    ("link.bad_length", "A frame length under 14 or over 69,632 on a stream link; the port was closed."),
    ("link.broken", "A link was lost, or cut inside a frame."),
    ("link.refused", "A frame to a guest dropped because its link refused it, as a tap does whose interface is down."),
    ("link.bad_offload", "A frame with a virtio-net header that does not fit it, dropped."),
    ("eth.short", "A frame shorter than an Ethernet header, dropped."),
    ("eth.unknown_type", "A frame of an EtherType that nothing here speaks, dropped."),
    ("switch.bad_source", "A frame whose source address is broadcast, multicast or our own, dropped."),
    ("switch.forwarded", "A frame passed from one guest to another."),
    ("switch.flooded", "A frame sent to every other port: broadcast, multicast or unknown destination."),
    ("switch.filtered", "A frame to an address behind the port that it came from, dropped."),
    ("switch.table_full", "A source address forgotten to make room for another."),
    ("port.tx_full", "A frame to a guest dropped because the port's queue was full."),
    ("port.too_big", "A frame to a guest dropped because it was longer than the link carries."),
    # -- neighbours
    ("arp.short", "An ARP packet shorter than its 28 bytes, dropped."),
    ("arp.malformed", "An ARP packet not for IPv4 over Ethernet, or with a source that cannot be, dropped."),
    ("arp.answered", "An ARP request for an address of ours, answered."),
    ("arp.not_ours", "An ARP request for somebody else's address, not answered."),
    ("nd.malformed", "A message of Neighbour Discovery that RFC 4861 does not let pass, dropped."),
    ("nd.foreign", "A message of Neighbour Discovery with a hop limit below 255, dropped."),
    ("nd.answered", "A neighbour solicitation for an address of ours, answered."),
    ("nd.not_ours", "A neighbour solicitation for somebody else's address, not answered."),
    ("nd.learned", "An advertisement, or a router solicitation, taken note of."),
    ("nd.ignored", "A message of Neighbour Discovery that is not for a router, dropped: an advertisement, a redirect."),
    ("neighbor.unresolved", "A packet to a guest dropped because no MAC address is known for its IP address."),
    ("neighbor.table_full", "An address not learned because the neighbour table was full."),
    # -- IP
    ("ipv4.short", "A packet shorter than an IPv4 header, dropped."),
    ("ipv4.bad_version", "A packet with EtherType IPv4 and another version in its header, dropped."),
    ("ipv4.bad_header_length", "A header length under 20 or past the packet, or options that end past it, dropped."),
    ("ipv4.bad_total_length", "A total length less than the header or more than what came, dropped."),
    ("ipv4.bad_checksum", "An IPv4 header with a wrong checksum, dropped."),
    ("ipv4.bad_source", "A source that no host of the network has (broadcast, loopback, off the net ...), dropped."),
    ("ipv4.bad_destination", "A destination that is no host (loopback, 0/8, a group), or sent to a group's MAC, dropped."),
    ("ipv4.source_route", "A packet with a source-route option, dropped."),
    ("ipv4.unknown_protocol", "A packet of a protocol other than TCP, UDP and ICMP, dropped."),
    ("ipv4.ignored", "An IPv4 or ARP packet, dropped: IPv4 is off."),
    ("ipv6.ignored", "An IPv6 packet, dropped: IPv6 is off."),
    ("ipv6.short", "A packet shorter than an IPv6 header, dropped."),
    ("ipv6.bad_version", "A packet with EtherType IPv6 and another version in its header, dropped."),
    ("ipv6.bad_length", "A payload length of more than what came, dropped."),
    ("ipv6.bad_source", "A source that no host of the network has (multicast, loopback, off the net ...), dropped."),
    ("ipv6.bad_destination", "A destination that is no host's (loopback, an IPv4 address in disguise ...), dropped."),
    ("ipv6.bad_extension", "An extension header cut off, out of its place, or one too many, dropped."),
    ("ipv6.bad_option", "A packet with an option that must be known and is not, dropped."),
    ("ipv6.source_route", "A packet with a routing header that wants to go elsewhere, dropped."),
    ("ipv6.unknown_header", "A packet with a next header that nothing here speaks, dropped."),
    ("ipv6.multicast", "A packet to a group that nobody here listens to, dropped."),
    ("fragment.received", "A fragment, kept for reassembly."),
    ("fragment.malformed", "A fragment without payload, or not the last and not a multiple of eight bytes, dropped."),
    ("fragment.overlap", "A fragment that contradicts one before it; the whole datagram was dropped."),
    ("fragment.too_big", "A fragment that ends past 65,535 bytes; the whole datagram was dropped."),
    ("fragment.table_full", "A datagram under reassembly given up to make room, or refused for lack of it."),
    ("fragment.expired", "A datagram given up because its fragments did not all come in time."),
    ("fragment.reassembled", "A datagram put together from fragments."),
    ("fragment.sent", "A fragment sent to a guest."),
    # -- UDP
    ("udp.short", "A packet shorter than a UDP header, dropped."),
    ("udp.bad_length", "A UDP length under 8 or past the packet, dropped."),
    ("udp.bad_checksum", "A UDP datagram with a wrong checksum, dropped."),
    ("udp.port_zero", "A UDP datagram from or to port 0, dropped."),
    ("udp.to_host", "A UDP datagram sent on by a socket of the host."),
    ("udp.to_guest", "A UDP datagram received by a socket of the host and sent to a guest."),
    ("udp.queue_full", "A UDP datagram dropped because a queue was full."),
    ("udp.host_error", "A UDP datagram that the host refused to send."),
    ("udp.denied", "A UDP datagram dropped by policy."),
    # -- ICMP
    ("icmp.short", "A packet shorter than an ICMP header, dropped."),
    ("icmp.bad_checksum", "An ICMP message with a wrong checksum, dropped."),
    ("icmp.unsupported", "An ICMP message of a type that is not carried, dropped."),
    ("icmp.echo_answered", "An echo request to an address of ours, answered."),
    ("icmp.to_host", "An echo request sent on by a socket of the host."),
    ("icmp.to_guest", "An echo reply received by a socket of the host and sent to a guest."),
    ("icmp.error_sent", "An ICMP error sent to a guest."),
    ("icmp.error_limited", "An ICMP error not sent because there were too many of late."),
    ("icmp.error_from_guest", "An ICMP error received from a guest."),
    # -- TCP
    ("tcp.short", "A packet shorter than a TCP header, dropped."),
    ("tcp.bad_offset", "A TCP data offset under 5 words or past the packet, dropped."),
    ("tcp.bad_checksum", "A TCP segment with a wrong checksum, dropped."),
    ("tcp.bad_options", "A TCP segment whose options do not fit their length, dropped."),
    ("tcp.port_zero", "A TCP segment from or to port 0, dropped."),
    ("tcp.no_flow", "A TCP segment for no known connection, answered with RST where RFC 9293 says so."),
    ("tcp.opened_by_guest", "A connection that a guest has asked for."),
    ("tcp.opened_by_host", "A connection asked of a guest."),
    ("tcp.denied", "A connection refused by policy."),
    ("tcp.out_of_window", "A TCP segment outside the receive window, answered with an ACK."),
    ("tcp.bad_ack", "A TCP segment that acknowledges what was never sent, dropped."),
    ("tcp.old_timestamp", "A TCP segment with a timestamp of the past (PAWS), dropped."),
    ("tcp.duplicate", "A TCP segment that brought only bytes already received."),
    ("tcp.out_of_order", "A TCP segment ahead of the next byte expected, kept."),
    ("tcp.reassembly_full", "A TCP segment ahead of the next byte expected, dropped for lack of room."),
    ("tcp.past_fin", "A TCP segment with bytes behind the end that its FIN had declared, dropped."),
    ("tcp.challenge_ack", "A challenge ACK sent (RFC 5961)."),
    ("tcp.challenge_limited", "A challenge ACK not sent because there were too many of late (RFC 5961)."),
    ("tcp.rst_sent", "A RST sent to a guest."),
    ("tcp.rst_received", "A RST from a guest, accepted."),
    ("tcp.rst_invalid", "A RST from a guest with a sequence number outside the window, dropped."),
    ("tcp.retransmit", "A TCP segment sent again, for any reason."),
    ("tcp.fast_retransmit", "A loss repaired on duplicate or selective acknowledgements."),
    ("tcp.rto", "The retransmission timer ran out (RFC 6298)."),
    ("tcp.spurious_rto", "A retransmission timeout found to have been needless."),
    ("tcp.spurious_recovery", "A loss repaired that was found to have been none."),
    ("tcp.ecn_reduced", "A congestion window reduced because a guest told of marked packets (ECE of RFC 3168)."),
    ("tcp.probe", "A probe of a zero window, or of the tail of a flight."),
    ("tcp.timed_out", "A connection given up because the guest answered nothing any more."),
    ("tcp.no_memory", "Bytes not taken because the memory limit was reached."),
    ("tcp.path_mtu", "Segments made smaller because an ICMP error said that the path carries no more."),
    ("tcp.black_hole", "Segments made smaller because full ones were never acknowledged."),
    ("tcp.icmp_ignored", "An ICMP error about a connection that quoted nothing in flight, or told of nothing to be done."),
    ("tcp.evicted", "A half-open connection dropped because too many others were being opened."),
    # -- flows and the host
    ("flow.opened", "A flow opened."),
    ("flow.closed", "A flow closed."),
    ("flow.table_full", "A flow refused because the table was full."),
    ("flow.guest_limit", "A flow refused because its guest's link had as many as it may."),
    ("host.no_descriptors", "A host socket refused for lack of file descriptors."),
    ("host.error", "An unexpected error of a host socket."),
    ("claimed.datagram", "A datagram handed to a service of ours."),
    ("claimed.queue_full", "A datagram to a service of ours dropped because too many were waiting."),
)

if len(_TABLE) != STATUS_COUNT:
    raise ImportError(f"stores/counters.pyx names {len(_TABLE)} counters, base/status.pxd has {STATUS_COUNT}")


cdef dict counters_dict(const Counters *c):
    return {entry[0]: c.value[i] for i, entry in enumerate(_TABLE)}


def names():
    """The names of all counters, in the order of Status."""
    return tuple([name for name, _ in _TABLE])


def describe():
    """What each counter counts: {name: sentence}, in the order of Status."""
    return dict(_TABLE)


def _counted(*statuses):
    """For tests: the dictionary after counting these values of Status in turn."""
    cdef Counters counters
    cdef int i
    for i in range(<int>STATUS_COUNT):
        counters.value[i] = 0
    for status in statuses:
        if not 0 <= status < STATUS_COUNT:
            raise ValueError(f"no such status: {status}")
        count(&counters, status)
    return counters_dict(&counters)
