from __future__ import annotations

from pyslirp.sim.clock import SECOND_NS
from pyslirp.sim.stream import Stream
from tests.sim.pair import FAR, PORT, Pair


def both() -> tuple[Pair, Stream, Stream]:
    pair = Pair()
    pair.gateway.listen(PORT)
    ours = pair.guest.connect(FAR, PORT, pair.world.now)
    assert pair.run(lambda: ours.connected, SECOND_NS)
    pair.rest(SECOND_NS)
    (theirs,) = pair.gateway.accepted
    return pair, ours, theirs


def test_it_is_polled() -> None:
    pair, ours, theirs = both()
    assert (str(theirs.local), theirs.remote) == (f"{FAR}:{PORT}", ours.local)
    assert ours.write(b"hello") == 5
    assert ours.waiting_bytes == 5
    pair.rest(SECOND_NS)
    assert (ours.waiting_bytes, theirs.read(3), theirs.read(), theirs.read()) == (0, b"hel", b"lo", b"")
    ours.finish()
    pair.rest(SECOND_NS)
    assert theirs.ended
    assert not ours.ended
    assert "connected" in repr(ours)


def test_what_is_over_takes_and_gives_nothing() -> None:
    pair, ours, theirs = both()
    ours.reset()
    pair.rest(SECOND_NS)
    assert (ours.closed, theirs.closed) == ("shut down", "reset by guest")
    assert (ours.write(b"x"), ours.read(), ours.waiting_bytes) == (0, b"", 0)
    ours.finish()
    ours.reset()
    assert "shut down" in repr(ours)
