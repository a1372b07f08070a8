"""A capture of a network's frames, read back by an independent reader (python-pcapng)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pcapng import FileScanner
from pcapng.blocks import EnhancedPacket, InterfaceDescription

from pyslirp.observe import capture as capture_module
from pyslirp.observe.capture import Capture, Taken

pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")  # of the reader itself

WALL_NS = 1_700_000_000_000_000_000
ENGINE_NS = 5_000
FRAME = bytes(range(60))


class Clock:
    """The time of day, as the module asks for it."""

    @staticmethod
    def time_ns() -> int:
        return WALL_NS


class Frames:
    """What an engine has captured."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, bool, int, bytes]] = []
        self.lost = 0

    def take(self) -> Taken:
        taken, self.waiting = self.waiting, []
        return taken, self.lost


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "time", Clock)


@pytest.fixture
def frames() -> Frames:
    return Frames()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "capture.pcapng"


def blocks(path: Path, kind: type) -> list[Any]:
    with path.open("rb") as file:
        return [block for block in FileScanner(file) if isinstance(block, kind)]


def test_frames_come_back_with_their_port_way_and_time(path: Path, frames: Frames) -> None:
    capture = Capture(str(path), ENGINE_NS, frames.take)
    capture.add_port(3, "guest one")
    capture.add_port(0, "guest two")
    frames.waiting = [(3, True, ENGINE_NS + 1, FRAME), (0, False, ENGINE_NS + 2, FRAME[:42])]
    capture.write()
    assert [block.options["if_name"] for block in blocks(path, InterfaceDescription)] == ["guest one", "guest two"]
    first, second = blocks(path, EnhancedPacket)
    assert (first.interface_id, first.packet_data, first.options["epb_flags"].inout) == (0, FRAME, "inbound")
    assert (second.interface_id, second.packet_data, second.options["epb_flags"].inout) == (1, FRAME[:42], "outbound")
    stamps = [(packet.timestamp_high << 32) + packet.timestamp_low for packet in (first, second)]
    assert stamps == [WALL_NS + 1, WALL_NS + 2]
    capture.close()
    assert not capture.active


def test_what_was_written_can_be_read_at_once(path: Path, frames: Frames) -> None:
    capture = Capture(str(path), ENGINE_NS, frames.take)
    capture.add_port(0, "guest")
    frames.waiting = [(0, True, ENGINE_NS, FRAME)]
    capture.write()
    assert len(blocks(path, EnhancedPacket)) == 1
    frames.waiting = [(0, True, ENGINE_NS, FRAME)]
    capture.close()
    assert len(blocks(path, EnhancedPacket)) == 2


def test_a_port_number_that_is_used_again_is_another_interface(path: Path, frames: Frames) -> None:
    capture = Capture(str(path), ENGINE_NS, frames.take)
    for name in ("first", "second"):
        capture.add_port(0, name)
        frames.waiting = [(0, True, ENGINE_NS, name.encode().ljust(60))]
        capture.write()
    assert [packet.interface_id for packet in blocks(path, EnhancedPacket)] == [0, 1]
    capture.close()


def test_a_port_that_is_nobodys_is_left_out(path: Path, frames: Frames) -> None:
    capture = Capture(str(path), ENGINE_NS, frames.take)
    frames.waiting = [(7, True, ENGINE_NS, FRAME)]
    capture.close()
    assert blocks(path, EnhancedPacket) == []


def test_what_an_earlier_capture_has_left_is_not_this_ones(path: Path, frames: Frames) -> None:
    frames.waiting, frames.lost = [(0, True, ENGINE_NS, b"old".ljust(60))], 100
    capture = Capture(str(path), ENGINE_NS, frames.take)
    capture.add_port(0, "guest")
    frames.waiting = [(0, True, ENGINE_NS, FRAME)]
    capture.close()
    (packet,) = blocks(path, EnhancedPacket)
    assert packet.packet_data == FRAME
    assert "epb_dropcount" not in packet.options


def test_what_was_lost_is_said_with_the_next_frame(path: Path, frames: Frames) -> None:
    capture = Capture(str(path), ENGINE_NS, frames.take)
    capture.add_port(0, "guest")
    frames.lost = 2
    capture.write()
    frames.lost = 5
    frames.waiting = [(0, True, ENGINE_NS, FRAME), (0, True, ENGINE_NS, FRAME)]
    capture.close()
    first, second = blocks(path, EnhancedPacket)
    assert first.options["epb_dropcount"] == 5
    assert "epb_dropcount" not in second.options


def test_a_full_disk_ends_the_capture_with_one_warning(frames: Frames, caplog: pytest.LogCaptureFixture) -> None:
    capture = Capture("/dev/full", ENGINE_NS, frames.take)
    capture.add_port(0, "guest")
    for _ in range(3):
        frames.waiting = [(0, True, ENGINE_NS, FRAME)]
        capture.write()
    assert not capture.active
    capture.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "/dev/full: No space left on device; the capture ends" in record.message


def test_a_file_that_cannot_be_made(tmp_path: Path, frames: Frames) -> None:
    with pytest.raises(FileNotFoundError):
        Capture(str(tmp_path / "missing" / "file"), ENGINE_NS, frames.take)
