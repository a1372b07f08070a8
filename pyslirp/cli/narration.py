"""What ``-v`` tells: the events of a network as lines of the log.

With -v what a user waits for or wonders about: leases, forwards, what was refused.  With -vv each flow and name too.
(Guests that come and go are logged by their links.)
"""

from __future__ import annotations

import logging

from pyslirp.events import (
    Event,
    FlowClosed,
    FlowDenied,
    FlowOpened,
    ForwardAdded,
    ForwardReady,
    ForwardRemoved,
    LeaseEnded,
    LeaseGranted,
    NameFailed,
    NameResolved,
    TransferEnded,
)
from pyslirp.observe.bus import Bus
from pyslirp.observe.log import RateLimited

BURST = 1000  #: lines in ten seconds; what is more is counted


def narrate(bus: Bus) -> None:
    """Log what happens from now on, until the bus is closed; no guest can flood the log."""
    log = RateLimited(logging.getLogger("pyslirp"), burst=BURST)

    def drain() -> None:
        while (event := subscription.pop()) is not None:
            level, text = sentence(event)
            if text:
                log.log(level, "%s", text)

    subscription = bus.subscribe(wake=drain)
    drain()


def sentence(event: Event) -> tuple[int, str]:
    """How much it matters (a level of logging), and what is said; "": nothing."""
    match event:
        case LeaseGranted():
            return logging.INFO, f"{event.address} is leased to {event.mac} {event.hostname or ''}".rstrip()
        case LeaseEnded():
            return logging.INFO, f"{event.address} of {event.mac} is {event.reason}"
        case ForwardAdded():
            return logging.INFO, f"forwarding {event.rule}"
        case ForwardReady():
            return logging.INFO, f"{event.rule}: {'open' if event.ready else 'closed'}, as the guest's port is"
        case ForwardRemoved():
            return logging.INFO, f"no longer forwarding {event.rule}"
        case FlowDenied():
            return logging.INFO, f"{event.protocol} {event.guest} -> {event.far} refused: {event.reason}"
        case TransferEnded():
            return logging.INFO, f"tftp {event.name} for {event.guest}: {event.reason}, {event.sent} bytes"
        case NameFailed():
            return logging.INFO, f"{event.name} {event.rdtype} for {event.guest}: {event.reason}"
        case NameResolved():
            return logging.DEBUG, f"{event.name} {event.rdtype} for {event.guest}: {event.rcode} from {event.server}"
        case FlowOpened():
            way = f"{event.far} -> {event.guest}" if event.inbound else f"{event.guest} -> {event.far}"
            return logging.DEBUG, f"{event.protocol} {way} ({event.target})"
        case FlowClosed():
            moved = f"{event.bytes_to_host} bytes out, {event.bytes_to_guest} in"
            return logging.DEBUG, f"{event.protocol} {event.guest} - {event.far}: {event.reason}; {moved}"
        case _:
            return logging.DEBUG, ""
