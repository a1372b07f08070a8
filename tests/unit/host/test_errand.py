"""A child that brings a descriptor back."""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest

from pyslirp.errors import LinkError
from pyslirp.host.errand import Errand


def make_pipe_with(text: bytes) -> int:
    """In the child: a pipe with something in it."""
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return reading


def test_what_the_child_has_made_is_fetched() -> None:
    errand = Errand(lambda: make_pipe_with(b"from the child"))
    descriptor = errand.fetch()
    assert os.read(descriptor, 100) == b"from the child"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    errand.finish()
    errand.finish()
    assert errand.wait() == 0


def refuse() -> int:
    raise LinkError(errno.EBUSY, "tap tap0: it is busy")


def fail_to_open() -> int:
    return os.open("/no/such/file", os.O_RDONLY)


def kill_itself() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def raise_something() -> int:
    raise ZeroDivisionError("in the child")


@pytest.mark.parametrize(
    ("make", "number", "text"),
    [
        (refuse, errno.EBUSY, "tap tap0: it is busy"),
        (fail_to_open, errno.ENOENT, "/no/such/file: No such file or directory"),
        (kill_itself, None, "the child process has ended (137) without a word"),
        (lambda: 4711, errno.EBADF, "Bad file descriptor"),
    ],
    ids=["refused", "errno", "killed", "no descriptor"],
)
def test_what_stood_in_the_childs_way(make: object, number: int | None, text: str) -> None:
    errand = Errand(make)  # type: ignore[arg-type]
    with pytest.raises(LinkError) as caught:
        errand.fetch()
    assert caught.value.args == (number, text)


def test_the_step_that_failed_comes_back() -> None:
    def make() -> int:
        raise LinkError(errno.EBUSY, "tap tap0: it is busy", "tap")

    with pytest.raises(LinkError) as caught:
        Errand(make).fetch()
    assert caught.value.step == "tap"


def test_a_mistake_of_ours_comes_back_with_its_traceback() -> None:
    with pytest.raises(LinkError, match="ZeroDivisionError: in the child"):
        Errand(raise_something).fetch()


def exec_command(*command: str) -> None:
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise LinkError(error.errno, f"{command[0]}: {error.strerror}") from None


def test_a_child_with_something_left_to_do_waits_and_becomes_it() -> None:
    errand = Errand(lambda: make_pipe_with(b""), lambda: exec_command("sh", "-c", "kill -PIPE $$; exit 3"))
    os.close(errand.fetch())
    assert errand.wait(block=False) is None
    errand.go_on()
    assert errand.wait() == 128 + signal.SIGPIPE  # which Python ignores, and another program must not


def test_what_it_cannot_become() -> None:
    errand = Errand(lambda: make_pipe_with(b""), lambda: exec_command("/no/such/program"))
    os.close(errand.fetch())
    with pytest.raises(LinkError) as caught:
        errand.go_on()
    assert caught.value.args == (errno.ENOENT, "/no/such/program: No such file or directory")


def test_signals_reach_it() -> None:
    errand = Errand(lambda: make_pipe_with(b""), signal.pause)
    os.close(errand.fetch())
    errand.signal(signal.SIGTERM)
    assert errand.wait() == 128 + signal.SIGTERM
    errand.signal(signal.SIGTERM)  # to nobody: another process may have its number by now
    errand.finish()


def test_without_go_on_the_child_does_nothing_more() -> None:
    reading, writing = os.pipe()

    def then() -> None:
        os.write(writing, b"x")

    errand = Errand(lambda: make_pipe_with(b""), then)
    os.close(errand.fetch())
    errand.finish()
    os.close(writing)
    assert errand.wait() == 0
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_mistake_of_ours_where_python_finds_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "traceback", None)
    with pytest.raises(LinkError, match=r"ZeroDivisionError\('in the child'\)"):
        Errand(raise_something).fetch()
