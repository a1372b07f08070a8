"""A name server for the host's side of a test: dnspython's messages on UDP and TCP, with every answer known."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.interop.rig.namespace import Namespace

_PLAIN_UDP_BYTES = 512  # RFC 1035 4.2.1: without EDNS
_TTL_SECONDS = 60
_STEP_SECONDS = 0.2  # the longest that `close` waits for the thread to look up

# Long enough to need truncation without EDNS, and TCP at any size of EDNS that is usual.
LONG_TEXT = " ".join(f'"{letter * 200}"' for letter in "abcdefghijklmnopqrstuvwxyz")

RECORDS = {
    ("host.test.", "A"): ["192.0.2.1"],
    ("host.test.", "AAAA"): ["2001:db8::1"],
    ("host.test.", "MX"): ["10 mail.test."],
    ("host.test.", "TXT"): ['"one" "two"'],
    ("long.test.", "TXT"): [LONG_TEXT],
    ("_http._tcp.test.", "SRV"): ["0 5 80 host.test."],
}


class Resolver:
    """Answers from `RECORDS` on ``address:port`` until closed; NXDOMAIN for what it does not know.

    ``silent``: takes every query and answers none.  ``seen``: the queries so far, as ``udp host.test. A``.
    """

    def __init__(self, host: Namespace, address: str = "127.0.0.1", port: int = 53, silent: bool = False) -> None:
        self.seen: list[str] = []
        self._silent = silent
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._udp = host.udp(address, port)
        self._tcp = host.listener(address, port)
        self._selector.register(self._udp, selectors.EVENT_READ, self._on_datagram)
        self._selector.register(self._tcp, selectors.EVENT_READ, self._on_connection)
        self._thread = threading.Thread(target=self._serve, name=f"resolver {address}:{port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; the port is free again."""
        self._stop.set()
        self._thread.join()
        self._selector.close()
        self._udp.close()
        self._tcp.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(_STEP_SECONDS):
                key.data()

    def _on_datagram(self) -> None:
        # ICMP errors of earlier answers are reported here; they are not this server's business.
        with contextlib.suppress(OSError, dns.exception.DNSException):
            wire, client = self._udp.recvfrom(65535)
            query = dns.message.from_wire(wire)
            if (answer := self._answer(query, "udp")) is not None:
                limit = max(_PLAIN_UDP_BYTES, query.payload)
                self._udp.sendto(self._truncated(answer, limit), client)

    def _on_connection(self) -> None:
        connection, _ = self._tcp.accept()
        with connection, contextlib.suppress(OSError, struct.error, dns.exception.DNSException):
            connection.settimeout(2.0)
            (size,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            query = dns.message.from_wire(connection.recv(size, socket.MSG_WAITALL))
            if (answer := self._answer(query, "tcp")) is not None:
                wire = answer.to_wire(max_size=65535)
                connection.sendall(struct.pack("!H", len(wire)) + wire)

    def _answer(self, query: dns.message.Message, over: str) -> dns.message.Message | None:
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.seen.append(f"{over} {name} {kind}")
        if self._silent:
            return None
        answer = dns.message.make_response(query, recursion_available=True)
        if records := RECORDS.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(name, _TTL_SECONDS, dns.rdataclass.IN, kind, *records))
        elif all(known != name for known, _ in RECORDS):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer

    @staticmethod
    def _truncated(answer: dns.message.Message, limit: int) -> bytes:
        try:
            return answer.to_wire(max_size=limit)
        except dns.exception.TooBig:
            answer.answer.clear()
            answer.flags |= dns.flags.TC
            return answer.to_wire(max_size=limit)
