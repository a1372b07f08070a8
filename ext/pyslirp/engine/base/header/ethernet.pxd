"""Offsets in an Ethernet II header (IEEE 802.3 section 3)."""

cdef enum:
    ETH_AT_DESTINATION = 0      # 6
    ETH_AT_SOURCE = 6           # 6
    ETH_AT_TYPE = 12            # 2
    ETH_BYTES = 14
    MAC_BYTES = 6
