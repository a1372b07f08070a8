"""Offsets and values of struct virtio_net_hdr (virtio 1.2 section 5.1.6, linux/virtio_net.h).

Its numbers are in the machine's byte order.
"""

cdef enum:
    VNET_AT_FLAGS = 0           # 1
    VNET_AT_GSO_TYPE = 1        # 1
    VNET_AT_HEADER_BYTES = 2    # 2: Ethernet to transport header, a hint
    VNET_AT_GSO_SIZE = 4        # 2: payload of each segment
    VNET_AT_SUM_FROM = 6        # 2: where the bytes begin that the checksum covers
    VNET_AT_SUM_OFFSET = 8      # 2: from there, where it is to be put
    VNET_BYTES = 10             # as a tap has it: without num_buffers
    VNET_NEEDS_CSUM = 1         # flag: the checksum's field holds the sum of the pseudo-header alone
    VNET_DATA_VALID = 2         # flag: the checksum has been verified, or the frame has never left the machine
    VNET_GSO_NONE = 0
    VNET_GSO_TCPV4 = 1
    VNET_GSO_TCPV6 = 4
    VNET_GSO_UDP_L4 = 5         # datagrams of one flow, of both IP versions (USO)
    VNET_GSO_ECN = 0x80         # a bit beside the type: the first segment has CWR set
