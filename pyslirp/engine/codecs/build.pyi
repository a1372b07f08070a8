def _ethernet(destination: bytes, source: bytes, ethertype: int) -> bytes: ...
def _ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    ttl: int,
    tos: int,
    identification: int,
    payload_bytes: int,
    fragment_offset: int = 0,
    more: bool = False,
    dont_fragment: bool = False,
) -> bytes: ...
def _ip(
    source: bytes, destination: bytes, protocol: int, ttl: int, tos: int, identification: int, payload_bytes: int
) -> bytes: ...
def _udp(source: bytes, destination: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes: ...
def _tcp(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    urgent: int,
    options: bytes,
    payload: bytes,
) -> bytes: ...
def _partial_sum(source: bytes, destination: bytes, protocol: int, length: int) -> bytes: ...
def _icmp(kind: int, code: int, rest: int, payload: bytes) -> bytes: ...
def _arp(operation: int, sender_mac: bytes, sender: bytes, target_mac: bytes, target: bytes) -> bytes: ...
def _padding(frame: bytes) -> bytes: ...
