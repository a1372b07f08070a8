"""Holds a network namespace open and makes sockets in it for the tests: the child process of `namespace`.

Run as ``python namespace_agent.py FD``, inside the namespace; FD is a SEQPACKET socket.  It sends ``0`` when it is
there.  A request is ``family type proto`` in decimal; the answer is ``0`` with the socket attached, or the errno.  It
ends, and the namespace with it, when the other side closes.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Serve until the other side is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.send(b"0")
    while request := control.recv(64):
        family, kind, proto = map(int, request.split())
        try:
            made = socket.socket(family, kind, proto)
        except OSError as error:
            control.send(str(error.errno).encode())
            continue
        with made:
            socket.send_fds(control, [b"0"], [made.fileno()])


if __name__ == "__main__":
    main()
