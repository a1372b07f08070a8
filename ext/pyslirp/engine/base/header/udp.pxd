"""Offsets in a UDP header (RFC 768)."""

cdef enum:
    UDP_AT_SOURCE_PORT = 0      # 2
    UDP_AT_DESTINATION_PORT = 2  # 2
    UDP_AT_LENGTH = 4           # 2: header and payload
    UDP_AT_CHECKSUM = 6         # 2: 0: none was made
    UDP_BYTES = 8
