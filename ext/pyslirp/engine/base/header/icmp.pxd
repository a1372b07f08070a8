"""Offsets and types of an ICMP message (RFC 792)."""

cdef enum:
    ICMP_AT_TYPE = 0            # 1
    ICMP_AT_CODE = 1            # 1
    ICMP_AT_CHECKSUM = 2        # 2: over the whole message
    ICMP_AT_REST = 4            # 4: by type
    ICMP_AT_IDENTIFIER = 4      # 2: echo
    ICMP_AT_SEQUENCE = 6        # 2: echo
    ICMP_BYTES = 8

    ICMP_ECHO_REPLY = 0
    ICMP_UNREACHABLE = 3
    ICMP_ECHO = 8
    ICMP_TIME_EXCEEDED = 11
    ICMP_PARAMETER_PROBLEM = 12
