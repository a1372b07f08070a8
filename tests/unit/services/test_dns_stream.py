from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyslirp.services.dns_stream import MAX_BUFFER_BYTES, DnsStream, frame


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 20))
def test_messages_come_out_whole_however_the_stream_was_cut(messages: list[bytes], size: int) -> None:
    stream, taken = DnsStream(), []
    wire = b"".join(frame(message) for message in messages)
    for at in range(0, len(wire), size):
        assert stream.feed(wire[at : at + size])
        while (message := stream.take()) is not None:
            taken.append(message)
    assert taken == messages
    assert len(stream) == 0


def test_nothing_is_taken_before_it_is_whole() -> None:
    stream = DnsStream()
    for part in (b"", b"\0", b"\3", b"ab"):
        stream.feed(part)
        assert stream.take() is None
    stream.feed(b"c")
    assert stream.take() == b"abc"


def test_the_buffer_is_limited() -> None:
    stream = DnsStream()
    assert stream.feed(bytes(MAX_BUFFER_BYTES))
    assert not stream.feed(b"x")
    assert len(stream) == MAX_BUFFER_BYTES
    assert stream.take() == b""
    assert stream.feed(b"x")


def test_the_largest_message_fits() -> None:
    stream = DnsStream()
    assert stream.feed(frame(bytes(65535)))
    assert stream.take() == bytes(65535)
