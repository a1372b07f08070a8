"""`pyslirp demo`: every step is shown, and a failing step is said."""

from __future__ import annotations

import pytest

from pyslirp.cli import demo as module
from pyslirp.cli.demo import demo


def test_every_step_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(["--mib", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["DHCP", "ping", "DNS", "download", "upload"]
    assert "lease of 10.0.2.15, router 10.0.2.2, DNS 10.0.2.3" in lines[1]
    assert "files.pyslirp.test is 10.0.2.2, says 10.0.2.3" in lines[3]
    assert all("2 MiB" in line and "SHA-256 agrees" in line and "Mbit/s" in line for line in lines[4:6])


def test_a_wrong_byte_fails_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    serve = module._serve_files
    monkeypatch.setattr(module, "_serve_files", lambda files, data, digests: serve(files, b"\0" + data[1:], digests))
    monkeypatch.setattr("os.urandom", lambda count: b"\1" * count)
    assert demo(["--mib", "1"]) == 1
    assert "pyslirp: demo: download: 1048576 bytes came, and they are not the 1048576" in capsys.readouterr().err


def test_amounts_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        demo(["--mib", "0"])
    assert stop.value.code == 2
    assert "1 to 4096" in capsys.readouterr().err
