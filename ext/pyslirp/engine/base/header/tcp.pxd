"""Offsets in a TCP header (RFC 9293 section 3.1)."""

cdef enum:
    TCP_AT_SOURCE_PORT = 0      # 2
    TCP_AT_DESTINATION_PORT = 2  # 2
    TCP_AT_SEQ = 4              # 4
    TCP_AT_ACK = 8              # 4
    TCP_AT_DATA_OFFSET = 12     # 1: header length in words << 4
    TCP_AT_FLAGS = 13           # 1
    TCP_AT_WINDOW = 14          # 2
    TCP_AT_CHECKSUM = 16        # 2
    TCP_AT_URGENT = 18          # 2
    TCP_AT_OPTIONS = 20
    TCP_BYTES = 20              # without options
    TCP_BYTES_MAX = 60          # with options
