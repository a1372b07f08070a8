"""A flow as a transport: what asyncio promises to protocols, over a stream that does what the test says."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

import pytest

from pyslirp.engine.core import core as engine
from pyslirp.loops import transport as transport_module
from pyslirp.loops.transport import HIGH_WATER_BYTES, FlowTransport, error_of
from tests.unit.loops.fake_stream import Line, Recorder
from tests.unit.loops.scenario import scenario

# -- connecting --------------------------------------------------------------------------------------------------------


@scenario
async def test_a_protocol_is_told_first_and_then_whoever_waits() -> None:
    line = Line(connected=False)
    assert (line.recorder.calls, line.readiness) == ([], [])
    line.transport.connected()
    assert (line.recorder.calls, line.readiness) == (["made"], [None])
    assert line.transport.get_protocol() is line.recorder
    assert line.transport.get_extra_info("peername") == ("10.0.2.15", 40000)
    assert line.transport.get_extra_info("sockname") == ("10.0.2.2", 80)
    assert line.transport.get_extra_info("flow") == 7


@scenario
async def test_a_failure_to_connect_is_told_to_whoever_waits_alone() -> None:
    line = Line(connected=False)
    line.end("refused")
    await line.rest()
    (error,) = line.readiness
    assert isinstance(error, ConnectionRefusedError)
    assert line.recorder.calls == []
    assert line.transport.is_closing()
    line.transport.close()
    line.transport.abort()
    await line.rest()
    assert line.recorder.calls == []


@scenario
async def test_an_end_in_order_before_the_beginning_is_a_failure_too() -> None:
    line = Line(connected=False)
    line.end("closed")
    assert isinstance(line.readiness[0], ConnectionAbortedError)


@scenario
async def test_giving_up_resets() -> None:
    line = Line(connected=False)
    line.transport.abort()
    assert line.stream.calls == ["abort"]
    line.end("shut down")
    await line.rest()
    assert line.recorder.calls == []
    assert isinstance(line.readiness[0], ConnectionAbortedError)


@pytest.mark.parametrize(
    ("reason", "kind", "code"),
    [
        ("reset by guest", ConnectionResetError, errno.ECONNRESET),
        ("refused", ConnectionRefusedError, errno.ECONNREFUSED),
        ("unreachable", OSError, errno.EHOSTUNREACH),
        ("timed out", TimeoutError, errno.ETIMEDOUT),
        ("shut down", ConnectionAbortedError, errno.ECONNABORTED),
        ("no memory", ConnectionAbortedError, errno.ECONNABORTED),
    ],
)
def test_each_end_is_the_error_of_a_socket(reason: str, kind: type[OSError], code: int) -> None:
    assert reason in engine.REASONS
    error = error_of(reason)
    assert type(error) is kind
    assert error.errno == code
    assert error_of(reason) is not error, "an exception that was raised bears its traceback"


def test_an_end_in_order_is_no_error() -> None:
    assert error_of("closed") is None


# -- reading -----------------------------------------------------------------------------------------------------------


@scenario
async def test_everything_that_is_there_is_handed_on() -> None:
    line = Line()
    line.stream.unread = [b"one", b"two"]
    line.transport.readable()
    assert line.calls == [b"one", b"two"]


@scenario
async def test_a_protocol_may_pause() -> None:
    line = Line()
    line.transport.pause_reading()
    line.transport.pause_reading()
    assert not line.transport.is_reading()
    line.stream.unread = [b"one", b"two"]
    line.transport.readable()
    assert line.calls == []
    line.transport.resume_reading()
    line.transport.resume_reading()
    assert line.transport.is_reading()
    kicks = line.driver.kicks
    await line.rest()
    assert line.calls == [b"one", b"two"]
    assert line.driver.kicks > kicks, "the window that has opened is told to the guest"


@scenario
async def test_a_protocol_may_pause_in_the_middle() -> None:
    class Pausing(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            cast("FlowTransport", self.transport).pause_reading()

    protocol = Pausing()
    line = Line(protocol)
    line.stream.unread = [b"one", b"two"]
    line.transport.readable()
    assert protocol.calls == ["made", b"one"]
    assert line.stream.unread == [b"two"]


@scenario
async def test_another_protocol_may_take_over() -> None:
    line = Line()
    other = Recorder()
    line.transport.set_protocol(other)
    line.stream.unread = [b"one"]
    line.transport.readable()
    assert (line.calls, other.calls) == ([], [b"one"])


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size: int) -> None:
        self.buffer = bytearray(size)
        self.received = bytearray()
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]


@scenario
async def test_a_buffered_protocol_has_its_own_room() -> None:
    protocol = Buffered(4)
    line = Line(protocol)
    line.stream.unread = [b"0123456789"]
    line.transport.readable()
    assert protocol.received == b"0123456789"
    assert protocol.hints == [10, 6, 2]


@scenario
async def test_a_buffered_protocol_without_room_has_failed() -> None:
    line = Line(Buffered(0))
    problems = watch_problems()
    line.stream.unread = [b"0123456789"]
    line.transport.readable()
    assert "empty buffer" in str(problems[0]["exception"])
    assert line.stream.calls == ["abort"]


# -- the guest's end ---------------------------------------------------------------------------------------------------


@scenario
async def test_a_protocol_is_told_how_far_ahead_the_urgent_byte_is() -> None:
    line = Line()
    for _ in range(2):
        line.stream.unread, line.stream.urgent = [b"one"], 5
        line.transport.readable()
        line.stream.unread = [b"two"]
        line.transport.readable()
        assert line.calls[-3:] == [("urgent", 5), b"one", b"two"], "once, and at its place"
    assert line.transport.get_extra_info("urgent") == 11
    line.transport.pause_reading()
    line.stream.unread, line.stream.urgent = [b"one"], 1
    line.transport.readable()
    assert line.calls[6:] == [("urgent", 1)], "whether or not it wants bytes"
    line.transport.close()
    line.stream.urgent = 5
    line.transport.readable()
    assert line.calls[7:] == []


@scenario
async def test_urgent_data_are_bytes_to_a_protocol_that_does_not_ask() -> None:
    line = Line(Buffered(8))
    line.stream.unread, line.stream.urgent = [b"one"], 2
    line.transport.readable()
    assert bytes(cast("Buffered", line.transport.get_protocol()).received) == b"one"
    assert line.transport.get_extra_info("urgent") == 2


@scenario
async def test_half_closed_by_the_guest_it_stays_open_for_a_protocol_that_wants_it() -> None:
    line = Line()
    line.transport.finished()
    assert line.calls == ["eof"]
    assert not line.transport.is_closing()
    line.transport.write(b"still")
    assert line.stream.written == b"still"


@scenario
async def test_half_closed_by_the_guest_it_closes_for_a_protocol_that_does_not() -> None:
    line = Line()
    line.recorder.keep_open = False
    line.transport.finished()
    assert line.transport.is_closing()
    await line.rest()
    assert line.calls == ["eof", ("lost", None)]
    assert line.stream.calls == ["finish"]


@scenario
async def test_the_guests_end_is_no_news_to_who_has_closed() -> None:
    line = Line()
    line.transport.close()
    line.transport.finished()
    await line.rest()
    assert line.calls == [("lost", None)]


@scenario
async def test_a_flow_that_both_have_ended_stays_open_to_its_protocol() -> None:
    """As a socket does: write_eof() and drain() behind it must not raise because the guest was quick."""
    line = Line()
    line.transport.finished()
    line.transport.write_eof()
    line.end("closed")
    await line.rest()
    assert line.calls == ["eof"]
    assert not line.transport.is_closing()
    line.transport.close()
    await line.rest()
    assert line.calls == ["eof", ("lost", None)]


@scenario
async def test_writing_to_a_flow_that_is_gone_is_lost() -> None:
    line = Line()
    line.end("closed")
    line.transport.write(b"nobody")
    assert line.stream.written == b""
    assert line.transport.get_write_buffer_size() == 0


# -- writing -----------------------------------------------------------------------------------------------------------


@scenario
async def test_what_does_not_fit_waits_and_the_protocol_is_paused() -> None:
    line = Line()
    line.stream.room = 3
    line.transport.write(b"abc")
    line.transport.write(b"def")
    assert line.stream.written == b"abc"
    assert line.transport.get_write_buffer_size() == 3
    assert line.calls == []
    line.transport.write(bytes(HIGH_WATER_BYTES))
    line.transport.write(b"more")
    assert line.calls == ["pause"], "once"
    line.stream.room = HIGH_WATER_BYTES // 2
    line.transport.writable()
    assert line.calls == ["pause"], "not before the low mark"
    line.stream.room = 1 << 30
    line.transport.writable()
    assert line.calls == ["pause", "resume"]
    assert line.stream.written == b"abcdef" + bytes(HIGH_WATER_BYTES) + b"more"


@scenario
async def test_order_is_kept() -> None:
    """While something waits, nothing overtakes it, though there may be room by now."""
    line = Line()
    line.stream.room = 0
    line.transport.write(b"first")
    line.stream.room = 100
    line.transport.write(b"second")
    line.transport.writable()
    assert line.stream.written == b"firstsecond"


@scenario
async def test_all_kinds_of_bytes_may_be_written() -> None:
    line = Line()
    line.stream.room = 9
    words = memoryview(bytearray(b"0123456789abcdef")).cast("I")
    line.transport.write(words)
    line.stream.room = 1 << 30
    line.transport.writable()
    line.transport.write(bytearray(b"ghi"))
    line.transport.writelines([b"j", b"k"])
    line.transport.write(b"")
    assert line.stream.written == b"0123456789abcdefghijk"


@scenario
async def test_an_urgent_byte_keeps_its_place_behind_what_waits() -> None:
    line = Line()
    line.transport.write_urgent(b"now")
    assert line.stream.marks == [3]
    line.stream.room = 2
    line.transport.write(b"four")
    line.transport.write_urgent(b"fi!")
    line.transport.write(b"after")
    line.stream.room = 4
    line.transport.writable()
    assert (bytes(line.stream.written), line.stream.marks) == (b"nowfourfi", [3])
    line.stream.room = 1 << 20
    line.transport.writable()
    assert (bytes(line.stream.written), line.stream.marks) == (b"nowfourfi!after", [3, 10])


@scenario
async def test_a_long_queue_is_given_in_pieces() -> None:
    line = Line()
    line.stream.room = 0
    data = bytes(range(256)) * 20000
    line.transport.write(data)
    line.stream.room = 1 << 30
    line.transport.writable()
    assert line.stream.written == data


@scenario
async def test_water_marks() -> None:
    line = Line()
    assert line.transport.get_write_buffer_limits() == (HIGH_WATER_BYTES // 4, HIGH_WATER_BYTES)
    for marks, expected in (
        ({"high": 100}, (25, 100)),
        ({"low": 100}, (100, 400)),
        ({"high": 9, "low": 9}, (9, 9)),
        ({"high": 0}, (0, 0)),
        ({}, (HIGH_WATER_BYTES // 4, HIGH_WATER_BYTES)),
    ):
        line.transport.set_write_buffer_limits(**marks)
        assert line.transport.get_write_buffer_limits() == expected
    for wrong in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}):
        with pytest.raises(ValueError, match="must be >="):
            line.transport.set_write_buffer_limits(**wrong)
    line.stream.room = 0
    line.transport.write(b"abc")
    line.transport.set_write_buffer_limits(2)
    assert line.calls == ["pause"]


@scenario
async def test_our_end_comes_behind_what_is_queued() -> None:
    line = Line()
    assert line.transport.can_write_eof()
    line.stream.room = 1
    line.transport.write(b"ab")
    line.transport.write_eof()
    line.transport.write_eof()
    assert line.stream.calls == []
    with pytest.raises(RuntimeError, match=r"after write_eof\(\)"):
        line.transport.write(b"c")
    line.stream.room = 1
    line.transport.writable()
    assert line.stream.calls == ["finish"]
    line.stream.unread = [b"still read"]
    line.transport.readable()
    assert line.calls == [b"still read"]


# -- closing -----------------------------------------------------------------------------------------------------------


@scenario
async def test_closing_is_over_when_the_engine_has_everything() -> None:
    line = Line()
    line.stream.room = 1
    line.transport.write(b"ab")
    line.transport.close()
    line.transport.close()
    line.transport.write(b"not any more")
    await line.rest()
    assert (line.calls, line.stream.calls) == ([], [])
    line.stream.room = 1
    line.transport.writable()
    assert line.calls == [], "from the loop, not from inside"
    await line.rest()
    assert (line.calls, line.stream.calls) == ([("lost", None)], ["finish"])
    assert line.stream.written == b"ab"


@scenario
async def test_what_the_guest_still_sends_is_thrown_away() -> None:
    """Not reset: an answer that is still on its way to the guest would be lost by that."""
    line = Line()
    line.stream.unread = [b"unread"]
    line.transport.pause_reading()
    line.transport.close()
    assert line.stream.unread == []
    await line.rest()
    line.stream.unread = [b"more", b"and more"]
    line.transport.readable()
    line.transport.finished()
    assert line.stream.unread == []
    assert line.calls == [("lost", None)]
    line.end("closed")
    await line.rest()
    assert line.calls == [("lost", None)]


@scenario
async def test_a_protocol_that_was_told_of_the_end_is_let_go() -> None:
    """Its flow may live for some seconds more, and would keep a reader and all that it has read."""
    line = Line()
    line.transport.close()
    await line.rest()
    assert line.transport.get_protocol() is not line.recorder


@scenario
async def test_a_guest_that_never_ends_is_reset_in_the_end() -> None:
    line = Line()
    line.transport.close()
    await line.rest()
    assert line.stream.calls == ["finish"]
    assert line.transport._linger is not None
    left = line.transport._linger.when() - line.driver.loop.time()
    assert 0 < left <= transport_module.LINGER_SECONDS
    line.transport._linger_over()
    assert line.stream.calls == ["finish", "abort"]


@scenario
async def test_a_guest_that_ends_too_is_not_waited_for() -> None:
    line = Line()
    line.transport.close()
    await line.rest()
    linger = line.transport._linger
    assert linger is not None
    line.end("closed")
    assert linger.cancelled()


@scenario
async def test_a_reset_is_told_once() -> None:
    line = Line()
    line.end("reset by guest")
    line.transport.close()
    line.transport.abort()
    await line.rest()
    ((_, error),) = line.calls
    assert isinstance(error, ConnectionResetError)
    assert line.transport.is_closing()


@scenario
async def test_a_reset_while_closing_is_told() -> None:
    line = Line()
    line.stream.room = 0
    line.transport.write(b"ab")
    line.transport.close()
    line.end("timed out")
    await line.rest()
    ((_, error),) = line.calls
    assert isinstance(error, TimeoutError)


@scenario
async def test_aborting_drops_what_is_queued() -> None:
    line = Line()
    line.stream.room = 0
    line.transport.write(b"ab")
    line.transport.abort()
    line.transport.abort()
    assert line.transport.get_write_buffer_size() == 0
    await line.rest()
    assert line.calls == [("lost", None)]
    assert line.stream.calls[0] == "abort"
    line.end("shut down")
    await line.rest()
    assert line.calls == [("lost", None)]


@scenario
async def test_closing_what_is_gone() -> None:
    line = Line()
    line.stream.room = 0
    line.transport.write(b"ab")
    line.end("closed")
    line.transport.close()
    await line.rest()
    assert line.calls == [("lost", None)]


# -- protocols that fail -----------------------------------------------------------------------------------------------


def watch_problems() -> list[dict[str, Any]]:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    return problems


@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received", "pause_writing"])
def test_a_protocol_that_fails_ends_its_connection_and_the_loop_is_told(where: str) -> None:
    async def run() -> None:
        problems = watch_problems()
        protocol = Recorder(fails=where)
        line = Line(protocol)
        line.stream.unread = [b"data"]
        line.stream.room = 0
        line.transport.readable()
        line.transport.write(bytes(HIGH_WATER_BYTES + 1))
        line.transport.finished()
        await line.rest()
        (problem,) = problems
        assert problem["transport"] is line.transport
        assert problem["protocol"] is protocol
        assert where in problem["message"]
        assert line.stream.calls[0] == "abort"
        assert protocol.calls[-1] == ("lost", problem["exception"])
        assert line.readiness == [None]

    asyncio.run(run())


@scenario
async def test_a_protocol_that_fails_at_the_end_changes_nothing() -> None:
    problems = watch_problems()
    protocol = Recorder(fails="connection_lost")
    line = Line(protocol)
    line.end("reset by guest")
    await line.rest()
    assert len(problems) == 1
    assert len(protocol.calls) == 2


# -- with asyncio's own streams ----------------------------------------------------------------------------------------


def streams() -> tuple[Line, asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=10, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    line = Line(protocol)
    return line, reader, asyncio.StreamWriter(line.transport, protocol, reader, loop)


@scenario
async def test_a_reader_that_is_full_pauses() -> None:
    line, reader, writer = streams()
    line.stream.unread = [bytes(15), bytes(15), bytes(15)]
    line.transport.readable()
    assert not line.transport.is_reading()
    assert len(line.stream.unread) == 1
    assert await reader.readexactly(45) == bytes(45)
    line.transport.finished()
    assert await reader.read() == b""
    writer.close()


@scenario
async def test_drain_waits_until_the_engine_has_taken_enough() -> None:
    line, _, writer = streams()
    line.stream.room = 0
    writer.write(bytes(HIGH_WATER_BYTES + 1))
    drained = asyncio.ensure_future(writer.drain())
    await line.rest()
    assert not drained.done()
    line.stream.room = 1 << 30
    line.transport.writable()
    await drained
    writer.close()
    await writer.wait_closed()


@scenario
async def test_drain_and_wait_closed_raise_what_has_happened() -> None:
    line, reader, writer = streams()
    line.stream.room = 0
    writer.write(bytes(HIGH_WATER_BYTES + 1))
    drained = asyncio.ensure_future(writer.drain())
    await line.rest()
    line.end("reset by guest")
    with pytest.raises(ConnectionResetError):
        await drained
    with pytest.raises(ConnectionResetError):
        await reader.read()
    with pytest.raises(ConnectionResetError):
        await writer.wait_closed()
