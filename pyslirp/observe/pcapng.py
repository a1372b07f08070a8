"""A capture file that Wireshark reads: pcapng, one interface for each port of the switch.

Block layouts and option codes are those of draft-ietf-opsawg-pcapng ("PCAP Next Generation (pcapng) Capture File
Format"), sections 4.1 (section header), 4.2 (interface description), 4.3 (enhanced packet) and 4.6 (interface
statistics).  Numbers are little-endian, which the section header says; every block is padded to four bytes.

A capture is never a reason for the network to stop: when the file cannot be written (the disk is full, the reader of a
FIFO has gone), one warning says so, the rest is counted in `lost`, and nothing more is written.  The last block of such
a file may be cut short; Wireshark and tshark read up to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Iterable
from typing import BinaryIO

SECTION_HEADER, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
LINKTYPE_ETHERNET = 1

OPT_END, OPT_COMMENT = 0, 1
SHB_USERAPPL = 4
IF_NAME, IF_TSRESOL = 2, 9
EPB_FLAGS, EPB_DROPCOUNT = 2, 4
ISB_IFRECV, ISB_IFDROP = 4, 5

NANOSECONDS = 9  #: if_tsresol: time stamps count 10^-9 s
INBOUND, OUTBOUND = 0b01, 0b10  #: epb_flags bits 0-1

PRIVATE = 0o600  #: mode of a file that is created: it holds what the guests said
BUFFER_BYTES = 1 << 16  #: gathered before a write; `flush` writes what there is
NAME_LIMIT = 255  #: bytes of an interface's name
COMMENT_LIMIT = 4096  #: bytes of a comment; an option holds 65,535

_log = logging.getLogger("pyslirp.observe")

Option = tuple[int, bytes]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _options(options: Iterable[Option]) -> bytes:
    body = b"".join(struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options)
    return body + struct.pack("<HH", OPT_END, 0) if body else b""


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _text(text: str, limit: int) -> bytes:
    """UTF-8 of at most `limit` bytes, cut between characters."""
    return text.encode(errors="replace")[:limit].decode(errors="ignore").encode()


class PcapngWriter:
    """Writes one section.  Not for use by several threads at once."""

    def __init__(self, file: BinaryIO | str | os.PathLike[str], *, version: str, comment: str | None = None) -> None:
        """Begin the file.  A path is made (mode 0600) or overwritten, and closed by `close`; an object is the caller's.

        `version` is pyslirp's, for the section header.  Raises OSError where the path cannot be opened.
        """
        self._file: BinaryIO | None
        self._owned = isinstance(file, str | os.PathLike)
        if isinstance(file, str | os.PathLike):
            self._name = os.fspath(file)
            self._file = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb", BUFFER_BYTES)
        else:
            self._name = str(getattr(file, "name", "a stream"))
            self._file = file
        self._interfaces: list[int] = []  # snaplen of each, by number
        self.packets = 0  #: frames written
        self.lost = 0  #: frames not written since the file failed
        options = [(SHB_USERAPPL, _text(f"pyslirp {version}", NAME_LIMIT))]
        if comment is not None:
            options.append((OPT_COMMENT, _text(comment, COMMENT_LIMIT)))
        self._write(SECTION_HEADER, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1) + _options(options))

    @property
    def active(self) -> bool:
        """Whether frames are still written: False once the file has failed or was closed."""
        return self._file is not None

    def interface(self, name: str, snaplen: int = 0) -> int:
        """Describe a port that has appeared; its number for `packet`.  `snaplen`: bytes kept of a frame, 0 for all."""
        head = struct.pack("<HHI", LINKTYPE_ETHERNET, 0, snaplen)
        options = [(IF_NAME, _text(name, NAME_LIMIT)), (IF_TSRESOL, bytes([NANOSECONDS]))]
        self._write(INTERFACE, head + _options(options))
        self._interfaces.append(snaplen)
        return len(self._interfaces) - 1

    def packet(
        self,
        interface: int,
        timestamp_ns: int,
        frame: bytes,
        inbound: bool,
        comment: str | None = None,
        *,
        dropped: int = 0,
    ) -> None:
        """Write one Ethernet frame.

        `timestamp_ns`: nanoseconds since 1970.  `inbound`: from the guest into the switch.  `dropped`: frames that were
        lost between the one before and this one.  Raises IndexError for an interface that was not described.
        """
        snaplen = self._interfaces[interface]
        if self._file is None:
            self.lost += 1
            return
        kept = frame[:snaplen] if snaplen else frame
        options = [(EPB_FLAGS, struct.pack("<I", INBOUND if inbound else OUTBOUND))]
        if dropped:
            options.append((EPB_DROPCOUNT, struct.pack("<Q", dropped)))
        if comment is not None:
            options.append((OPT_COMMENT, _text(comment, COMMENT_LIMIT)))
        head = struct.pack("<IIIII", interface, timestamp_ns >> 32, timestamp_ns & 0xFFFFFFFF, len(kept), len(frame))
        if self._write(PACKET, head + _padded(kept) + _options(options)):
            self.packets += 1
        else:
            self.lost += 1

    def statistics(self, interface: int, timestamp_ns: int, *, received: int, dropped: int) -> None:
        """Say how many frames the port has had in all, and how many of them the capture lacks.

        Raises IndexError for an interface that was not described.
        """
        self._interfaces[interface]
        options = [(ISB_IFRECV, struct.pack("<Q", received)), (ISB_IFDROP, struct.pack("<Q", dropped))]
        head = struct.pack("<III", interface, timestamp_ns >> 32, timestamp_ns & 0xFFFFFFFF)
        self._write(STATISTICS, head + _options(options))

    def flush(self) -> None:
        """Hand what was gathered to the operating system, so that a reader sees it."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                self._stop(error)

    def close(self) -> None:
        """End the capture.  May be called twice."""
        self.flush()
        file, self._file = self._file, None
        if file is not None and self._owned:
            file.close()

    def _write(self, kind: int, body: bytes) -> bool:
        if self._file is None:
            return False
        try:
            self._file.write(_block(kind, body))
        except OSError as error:
            self._stop(error)
            return False
        return True

    def _stop(self, error: OSError) -> None:
        """Give the file up, with the one warning."""
        file, self._file = self._file, None
        _log.warning(
            "%s: %s; the capture ends after %d frames, the network goes on",
            self._name,
            error.strerror or error,
            self.packets,
        )
        if file is not None and self._owned:
            with contextlib.suppress(OSError):  # it tries once more to write what it has gathered
                file.close()
