"""Types and codes of ICMPv6 (RFC 4443), and offsets in the messages of Neighbour Discovery (RFC 4861 section 4).

Type, code and checksum lie where ICMP's do (header/icmp.pxd); the checksum also covers a pseudo-header.
"""

cdef enum:
    ICMPV6_UNREACHABLE = 1
    ICMPV6_TOO_BIG = 2
    ICMPV6_TIME_EXCEEDED = 3
    ICMPV6_PARAMETER_PROBLEM = 4
    ICMPV6_ERRORS = 128             # types below are errors
    ICMPV6_ECHO = 128
    ICMPV6_ECHO_REPLY = 129
    ICMPV6_ROUTER_SOLICITATION = 133
    ICMPV6_ROUTER_ADVERTISEMENT = 134
    ICMPV6_NEIGHBOR_SOLICITATION = 135
    ICMPV6_NEIGHBOR_ADVERTISEMENT = 136
    ICMPV6_REDIRECT = 137

    # codes of ICMPV6_UNREACHABLE
    NO_ROUTE = 0
    PROHIBITED6 = 1                 # communication administratively prohibited
    BEYOND_SCOPE = 2                # of the source address
    ADDRESS_UNREACHABLE = 3
    PORT_UNREACHABLE6 = 4
    POLICY_FAILED = 5               # source address failed ingress or egress policy
    REJECT_ROUTE = 6
    # codes of ICMPV6_PARAMETER_PROBLEM
    PROBLEM_FIELD = 0               # erroneous header field
    PROBLEM_NEXT_HEADER = 1         # unrecognized next header type
    PROBLEM_OPTION = 2              # unrecognized option
    PROBLEM_FIRST_FRAGMENT = 3      # the first fragment has not the whole chain of headers (RFC 7112)

    ND_HOP_LIMIT = 255              # what has passed no router; anything less is a stranger's (RFC 4861 section 7.1)
    ND_AT_FLAGS = 4                 # 4: of an advertisement
    ND_AT_TARGET = 8                # 16: of a neighbour solicitation or advertisement
    ND_BYTES = 24                   # of those two, without options
    RS_BYTES = 8                    # of a router solicitation, without options
    ND_ROUTER = 0x80                # flags, in the byte at ND_AT_FLAGS
    ND_SOLICITED = 0x40
    ND_OVERRIDE = 0x20

    ND_OPTION_AT_KIND = 0           # 1
    ND_OPTION_AT_LENGTH = 1         # 1: in units of 8 bytes, of the whole option
    ND_OPTION_AT_VALUE = 2
    ND_OPTION_UNIT = 8
    ND_OPTION_SOURCE_LINK = 1       # source link-layer address
    ND_OPTION_TARGET_LINK = 2       # target link-layer address
