from __future__ import annotations

import dataclasses
import inspect

import pytest

from pyslirp import events
from pyslirp.addresses import Endpoint
from pyslirp.events import Event, FlowClosed

KINDS = [
    kind for _, kind in inspect.getmembers(events, inspect.isclass) if issubclass(kind, Event) and kind is not Event
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_a_documented_value(kind: type[Event]) -> None:
    assert dataclasses.is_dataclass(kind)
    assert dataclasses.fields(kind)[0].name == "at"
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}("), "the dataclass's own docstring says nothing"


def flow_closed() -> FlowClosed:
    guest, far = Endpoint.of("10.0.2.15", 40000), Endpoint.of("192.0.2.1", 80)
    return FlowClosed(5, 1, "tcp", guest, far, "reset by guest", bytes_to_host=10, bytes_to_guest=20)


def test_events_are_frozen_and_compare_by_value() -> None:
    event = flow_closed()
    assert event == flow_closed()
    assert len({event, flow_closed()}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.at = 6  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        event.other = 1  # type: ignore[attr-defined]
