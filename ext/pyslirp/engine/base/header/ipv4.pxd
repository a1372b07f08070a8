"""Offsets and bits of an IPv4 header (RFC 791 section 3.1)."""

cdef enum:
    IPV4_AT_VERSION_IHL = 0     # 1: version << 4 | header length in words
    IPV4_AT_TOS = 1             # 1
    IPV4_AT_TOTAL_LENGTH = 2    # 2: header and payload
    IPV4_AT_IDENTIFICATION = 4  # 2
    IPV4_AT_FRAGMENT = 6        # 2: flags and offset
    IPV4_AT_TTL = 8             # 1
    IPV4_AT_PROTOCOL = 9        # 1
    IPV4_AT_CHECKSUM = 10       # 2
    IPV4_AT_SOURCE = 12         # 4
    IPV4_AT_DESTINATION = 16    # 4
    IPV4_BYTES = 20             # without options
    IPV4_BYTES_MAX = 60         # with options
    IPV4_TOTAL_MAX = 65535

    IPV4_DONT_FRAGMENT = 0x4000
    IPV4_MORE_FRAGMENTS = 0x2000
    IPV4_OFFSET_MASK = 0x1fff   # in units of 8 bytes
    IPV4_FRAGMENT_UNIT = 8

    IPV4_OPTION_END = 0
    IPV4_OPTION_NOP = 1
    IPV4_OPTION_LSRR = 131      # loose source and record route
    IPV4_OPTION_SSRR = 137      # strict source and record route
