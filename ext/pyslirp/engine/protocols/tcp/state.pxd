"""The connection states of RFC 9293 section 3.3.2 and the events that move between them, as a table.

One state more than the RFC's: HELD, where a guest's SYN waits for the host's connect (DESIGN: a SYN is answered when the
host's connect has succeeded).  To the guest it is LISTEN: nothing has been answered, nothing is owed.
"""

cdef enum TcpState:
    CLOSED = 0
    HELD
    SYN_SENT
    SYN_RCVD
    ESTABLISHED
    FIN_WAIT_1
    FIN_WAIT_2
    CLOSE_WAIT
    CLOSING
    LAST_ACK
    TIME_WAIT
    STATE_COUNT

cdef enum TcpEvent:
    EV_HOLD = 0                 # a guest's SYN is held
    EV_CONNECT                  # active open: our SYN goes out
    EV_HOST_CONNECTED           # HELD: SYN,ACK goes out
    EV_SYN                      # SYN without ACK while ours is unanswered: simultaneous open
    EV_SYN_ACK                  # our SYN is acknowledged and the peer's has come
    EV_ACK_OF_SYN               # our SYN,ACK is acknowledged
    EV_FIN                      # the guest's FIN, in order
    EV_CLOSE                    # our FIN goes out
    EV_ACK_OF_FIN               # our FIN is acknowledged
    EV_2MSL                     # TIME_WAIT is over
    EV_ABORT                    # reset, either way, or given up
    EVENT_COUNT

cdef TcpState tcp_next(TcpState state, TcpEvent event) noexcept nogil    # the state after; the same where the event has no row
cdef bint tcp_may_receive(TcpState state) noexcept nogil                 # data from the guest may still come
cdef bint tcp_may_send(TcpState state) noexcept nogil                    # data to the guest may still be sent
cdef bint tcp_synchronized(TcpState state) noexcept nogil                # both sequence numbers are known (RFC 9293 3.10.7.4)
