"""Offsets in an ARP packet for IPv4 over Ethernet (RFC 826)."""

cdef enum:
    ARP_AT_HARDWARE = 0         # 2: ARP_HARDWARE_ETHERNET
    ARP_AT_PROTOCOL = 2         # 2: ETHERTYPE_IPV4
    ARP_AT_HARDWARE_BYTES = 4   # 1: 6
    ARP_AT_PROTOCOL_BYTES = 5   # 1: 4
    ARP_AT_OPERATION = 6        # 2
    ARP_AT_SENDER_MAC = 8       # 6
    ARP_AT_SENDER = 14          # 4
    ARP_AT_TARGET_MAC = 18      # 6
    ARP_AT_TARGET = 24          # 4
    ARP_BYTES = 28

    ARP_HARDWARE_ETHERNET = 1
    ARP_REQUEST = 1
    ARP_REPLY = 2
