"""Events as a user reads them."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address

import pytest

from pyslirp import events
from pyslirp.addresses import Endpoint, Mac
from pyslirp.cli.narration import BURST, narrate, sentence
from pyslirp.observe.bus import Bus

GUEST, FAR = Endpoint.of("10.0.2.15", 40000), Endpoint.of("192.0.2.1", 443)
ADDRESS, MAC = IPv4Address("10.0.2.15"), Mac("52:54:00:12:34:56")
INFO, DEBUG = logging.INFO, logging.DEBUG
RULE = "tcp::2222-10.0.2.15:22"

SENTENCES = [
    (events.LeaseGranted(1, ADDRESS, MAC, "vm", 2), INFO, "10.0.2.15 is leased to 52:54:00:12:34:56 vm"),
    (events.LeaseGranted(1, ADDRESS, MAC, None, 2), INFO, "10.0.2.15 is leased to 52:54:00:12:34:56"),
    (events.LeaseEnded(1, ADDRESS, MAC, "released"), INFO, "10.0.2.15 of 52:54:00:12:34:56 is released"),
    (events.ForwardAdded(1, RULE, Endpoint.of("0.0.0.0", 2222)), INFO, "forwarding tcp::2222-10.0.2.15:22"),
    (events.ForwardReady(1, RULE, ready=True), INFO, "tcp::2222-10.0.2.15:22: open, as the guest's port is"),
    (events.ForwardReady(1, RULE, ready=False), INFO, "tcp::2222-10.0.2.15:22: closed, as the guest's port is"),
    (events.ForwardRemoved(1, RULE), INFO, "no longer forwarding tcp::2222-10.0.2.15:22"),
    (
        events.FlowDenied(1, "tcp", GUEST, FAR, "restrict=on"),
        INFO,
        "tcp 10.0.2.15:40000 -> 192.0.2.1:443 refused: restrict=on",
    ),
    (
        events.FlowOpened(1, 7, "tcp", GUEST, FAR, "192.0.2.1:443", inbound=False),
        DEBUG,
        "tcp 10.0.2.15:40000 -> 192.0.2.1:443 (192.0.2.1:443)",
    ),
    (
        events.FlowOpened(1, 7, "tcp", GUEST, FAR, "handler", inbound=True),
        DEBUG,
        "tcp 192.0.2.1:443 -> 10.0.2.15:40000 (handler)",
    ),
    (
        events.FlowClosed(1, 7, "udp", GUEST, FAR, "expired", 10, 20),
        DEBUG,
        "udp 10.0.2.15:40000 - 192.0.2.1:443: expired; 10 bytes out, 20 in",
    ),
    (
        events.TransferEnded(1, GUEST, "pxelinux.0", 42, "done"),
        INFO,
        "tftp pxelinux.0 for 10.0.2.15:40000: done, 42 bytes",
    ),
    (
        events.NameFailed(1, GUEST, "example.org", "A", "timed out"),
        INFO,
        "example.org A for 10.0.2.15:40000: timed out",
    ),
    (
        events.NameResolved(1, GUEST, "example.org", "A", "NOERROR", "192.0.2.53:53"),
        DEBUG,
        "example.org A for 10.0.2.15:40000: NOERROR from 192.0.2.53:53",
    ),
    (events.LinkUp(1, 0, "guest"), DEBUG, ""),
    (events.LinkDown(1, 0, "guest", "closed"), DEBUG, ""),
]


@pytest.mark.parametrize(("event", "level", "text"), SENTENCES)
def test_each_event_is_one_sentence(event: events.Event, level: int, text: str) -> None:
    assert sentence(event) == (level, text)


def test_no_event_is_forgotten() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert {type(event) for event, _, _ in SENTENCES} == kinds - {events.Event}


@pytest.mark.parametrize(("level", "count"), [(logging.INFO, 1), (logging.DEBUG, 2), (logging.WARNING, 0)])
def test_events_become_lines_of_the_log(caplog: pytest.LogCaptureFixture, level: int, count: int) -> None:
    caplog.set_level(level, "pyslirp")
    bus = Bus()
    narrate(bus)
    bus.publish(events.LinkUp(1, 0, "guest"))
    bus.publish(events.ForwardRemoved(1, RULE))
    bus.publish(events.FlowClosed(1, 7, "udp", GUEST, FAR, "expired", 10, 20))
    assert len(caplog.messages) == count
    bus.close()


def test_a_guest_cannot_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyslirp")
    bus = Bus()
    narrate(bus)
    for _ in range(2 * BURST):
        bus.publish(events.FlowDenied(1, "tcp", GUEST, FAR, "restrict=on"))
    assert len(caplog.messages) == BURST
