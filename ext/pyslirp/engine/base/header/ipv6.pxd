"""Offsets and limits of an IPv6 header (RFC 8200 section 3)."""

cdef enum:
    IPV6_AT_CLASS_AND_LABEL = 0     # 4: version << 28 | traffic class << 20 | flow label
    IPV6_AT_PAYLOAD_LENGTH = 4      # 2
    IPV6_AT_NEXT_HEADER = 6         # 1
    IPV6_AT_HOP_LIMIT = 7           # 1
    IPV6_AT_SOURCE = 8              # 16
    IPV6_AT_DESTINATION = 24        # 16
    IPV6_BYTES = 40
    IPV6_PAYLOAD_MAX = 65535        # without a jumbogram's option (RFC 2675), which nobody here speaks
    IPV6_MTU_MIN = 1280             # every link carries that much (RFC 8200 section 5)
