"""The transition table itself; `transitions()` hands it to the tests and the documentation, which are drawn from it."""

cdef struct Row:
    TcpState state
    TcpEvent event
    TcpState after

# RFC 9293 figure 5, plus HELD.  EV_ABORT leads to CLOSED from everywhere and is not listed.
cdef Row[23] ROWS = [
    Row(CLOSED, EV_HOLD, HELD),
    Row(CLOSED, EV_CONNECT, SYN_SENT),
    Row(HELD, EV_HOST_CONNECTED, SYN_RCVD),
    Row(SYN_SENT, EV_SYN, SYN_RCVD),
    Row(SYN_SENT, EV_SYN_ACK, ESTABLISHED),
    Row(SYN_RCVD, EV_ACK_OF_SYN, ESTABLISHED),
    Row(SYN_RCVD, EV_SYN_ACK, ESTABLISHED),
    Row(SYN_RCVD, EV_CLOSE, FIN_WAIT_1),
    Row(ESTABLISHED, EV_FIN, CLOSE_WAIT),
    Row(ESTABLISHED, EV_CLOSE, FIN_WAIT_1),
    Row(FIN_WAIT_1, EV_FIN, CLOSING),
    Row(FIN_WAIT_1, EV_ACK_OF_FIN, FIN_WAIT_2),
    Row(FIN_WAIT_2, EV_FIN, TIME_WAIT),
    Row(CLOSE_WAIT, EV_CLOSE, LAST_ACK),
    Row(CLOSING, EV_ACK_OF_FIN, TIME_WAIT),
    Row(LAST_ACK, EV_ACK_OF_FIN, CLOSED),
    Row(TIME_WAIT, EV_2MSL, CLOSED),
    Row(CLOSED, EV_ABORT, CLOSED),
    Row(HELD, EV_ABORT, CLOSED),
    Row(SYN_SENT, EV_ABORT, CLOSED),
    Row(SYN_RCVD, EV_ABORT, CLOSED),
    Row(ESTABLISHED, EV_ABORT, CLOSED),
    Row(TIME_WAIT, EV_ABORT, CLOSED),
]

NAMES = ("CLOSED", "HELD", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING",
         "LAST_ACK", "TIME_WAIT")
EVENTS = ("HOLD", "CONNECT", "HOST_CONNECTED", "SYN", "SYN_ACK", "ACK_OF_SYN", "FIN", "CLOSE", "ACK_OF_FIN", "2MSL", "ABORT")

cdef unsigned char[<int>STATE_COUNT][<int>EVENT_COUNT] NEXT


cdef void _draw() noexcept nogil:
    cdef int state, event, row
    for state in range(<int>STATE_COUNT):
        for event in range(<int>EVENT_COUNT):
            NEXT[state][event] = <unsigned char>state
        NEXT[state][<int>EV_ABORT] = <unsigned char>CLOSED
    for row in range(sizeof(ROWS) // sizeof(Row)):
        NEXT[<int>ROWS[row].state][<int>ROWS[row].event] = <unsigned char>ROWS[row].after


_draw()


cdef TcpState tcp_next(TcpState state, TcpEvent event) noexcept nogil:
    return <TcpState>NEXT[<int>state][<int>event]


cdef bint tcp_may_receive(TcpState state) noexcept nogil:
    return state == ESTABLISHED or state == FIN_WAIT_1 or state == FIN_WAIT_2


cdef bint tcp_may_send(TcpState state) noexcept nogil:
    return state == ESTABLISHED or state == CLOSE_WAIT


cdef bint tcp_synchronized(TcpState state) noexcept nogil:
    return state >= ESTABLISHED


def transitions() -> dict[tuple[str, str], str]:
    """The table as {(state, event): state after}, without the events that change nothing."""
    return {(NAMES[state], EVENTS[event]): NAMES[NEXT[state][event]]
            for state in range(len(NAMES)) for event in range(len(EVENTS)) if NEXT[state][event] != state}
