"""Offsets, numbers and bits of IPv6 extension headers (RFC 8200 section 4): next header, length, the rest by kind."""

cdef enum:
    EXTENSION_AT_NEXT_HEADER = 0    # 1
    EXTENSION_AT_LENGTH = 1         # 1: in units of 8 bytes, the first not counted
    EXTENSION_AT_OPTIONS = 2        # hop-by-hop and destination options
    EXTENSION_UNIT = 8
    EXTENSION_HOP_BY_HOP = 0        # next header values (IANA "Protocol Numbers")
    EXTENSION_ROUTING = 43
    EXTENSION_FRAGMENT = 44
    EXTENSION_NONE = 59
    EXTENSION_DESTINATION = 60

    ROUTING_AT_TYPE = 2             # 1
    ROUTING_AT_SEGMENTS_LEFT = 3    # 1

    FRAGMENT6_AT_NEXT_HEADER = 0    # 1
    FRAGMENT6_AT_OFFSET = 2         # 2: offset in bytes, its three low bits are reserved and M
    FRAGMENT6_AT_IDENTIFICATION = 4  # 4
    FRAGMENT6_BYTES = 8
    FRAGMENT6_OFFSET_MASK = 0xfff8
    FRAGMENT6_MORE = 0x0001
    FRAGMENT6_UNIT = 8

    OPTION6_PAD1 = 0
    OPTION6_PADN = 1
    OPTION6_ROUTER_ALERT = 5        # RFC 2711; nothing is to be done about it here
    OPTION6_ACTION = 0xc0           # what to do about an option that is not known:
    OPTION6_SKIP = 0x00
    OPTION6_DISCARD = 0x40
    OPTION6_REPORT = 0x80           # discard and send a parameter problem, whatever the destination
    OPTION6_REPORT_UNICAST = 0xc0   # the same, unless the destination is multicast
