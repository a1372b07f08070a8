"""The fuzzer finds what is planted and repeats itself; every parser has a target, which says what must hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz.engine import target
from fuzz.engine.mutate import MAX_BYTES, Mutator
from fuzz.engine.target import Target, parse_words
from tests.meta.tree import ROOT

TARGETS = target.targets()
# Parsers of untrusted bytes that are not in pyslirp/wire: whole frames against the core, the stream's framing ...
PARSERS = {"frame", "framing", "dhcp", "dhcp6", "dns", "qemu_options", "control"}

PLANTED = '''"""Invariant tested: none; three faults are planted."""
import os
def fuzz(data):
    if data.startswith(b"\\x45") and b"BUG" in data:
        raise ValueError("planted")
    if data.startswith(b"ABORT"):
        os.abort()
    while data.startswith(b"HANG"):
        pass
    return data[:1]
'''


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of targets with one target, `planted`, importable in child processes."""
    folder = tmp_path / "planted_targets"
    (folder / "corpus" / "planted").mkdir(parents=True)
    (folder / "dict").mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "planted.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    return folder


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz.run", "--folder", str(folder), "--package", folder.name, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def crashes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in (folder / "corpus" / "planted").glob("crash-*")]


def test_an_exception_is_found_cut_down_and_kept(planted: Path) -> None:
    (planted / "dict" / "planted.dict").write_text('# words\nbug="B\\x55G"\n"\\x45"\n')
    (planted / "corpus" / "planted" / "seed").write_bytes(b"harmless bytes of some length")
    done = run(planted, "--seed", "1", "--runs", "200000", "--seconds", "100", "planted")
    assert done.returncode == 1, done.stdout
    assert "ValueError at planted.py:5" in done.stdout
    assert crashes(planted) == [b"EBUG"]
    again = run(planted, "--seed", "1", "--runs", "0", "planted")
    assert again.returncode == 1, "a kept crash is a seed"


def test_a_crash_that_needs_what_came_before_says_so(planted: Path) -> None:
    (planted / "grudge.py").write_text("past = []\ndef fuzz(data):\n    past.append(data)\n    assert len(past) < 3\n")
    done = run(planted, "--seed", "1", "--runs", "10", "--no-keep", "grudge")
    assert "AssertionError at grudge.py:4; not with this input alone" in done.stdout
    assert not (planted / "corpus" / "grudge").exists()


def test_the_death_of_the_process_is_found(planted: Path) -> None:
    (planted / "corpus" / "planted" / "seed").write_bytes(b"ABORT and more")
    done = run(planted, "--seed", "1", "--runs", "0", "planted")
    assert done.returncode == 1
    assert "signal 6" in done.stdout
    assert crashes(planted) == [b"ABORT"]


def test_a_hang_is_found(planted: Path) -> None:
    (planted / "corpus" / "planted" / "seed").write_bytes(b"HANG")
    done = run(planted, "--seed", "1", "--runs", "0", "--input-seconds", "0.2", "planted")
    assert done.returncode == 1
    assert "hang" in done.stdout
    assert crashes(planted) == [b"HANG"]


def test_a_run_is_repeated_by_its_seed(planted: Path) -> None:
    (planted / "harmless.py").write_text(
        "import zlib\nlog = 0\ndef fuzz(data):\n    global log\n    log = zlib.crc32(data, log)\n"
        "    print(log)\n    return data[:1]\n"
    )
    runs = [run(planted, "--seed", seed, "--runs", "300", "harmless").stdout.splitlines()[:-1] for seed in "778"]
    assert len(runs[0]) == 301
    assert runs[0] == runs[1] != runs[2]


def test_all_targets_run_and_the_worst_counts(planted: Path) -> None:
    (planted / "fine.py").write_text("def fuzz(data):\n    pass\n")
    (planted / "corpus" / "planted" / "seed").write_bytes(b"ABORT")
    assert run(planted, "--seconds", "0").returncode == 1
    assert run(planted, "--seconds", "0", "fine").returncode == 0
    assert run(planted, "--list").stdout.split() == ["fine", "planted"]
    unknown = run(planted, "nosuch")
    assert (unknown.returncode, "no target nosuch" in unknown.stderr) == (2, True)


def test_one_input_is_replayed(planted: Path) -> None:
    bad, good = planted / "bad", planted / "good"
    bad.write_bytes(b"E BUG")
    good.write_bytes(b"GOOD")
    assert run(planted, "--replay", str(bad), "planted").returncode == 1
    assert run(planted, "--replay", str(good), "planted").returncode == 0


def test_mutations_are_bounded_and_differ() -> None:
    mutator = Mutator(Random(1), [b"word"])
    pool = [b"short", bytes(range(64)), bytes(60_000)]
    made = [mutator.mutate(pool) for _ in range(3000)]
    assert max(map(len, made)) <= MAX_BYTES
    assert len(set(made)) > 2500
    assert any(b"word" in data for data in made)


def test_dictionary_lines_are_read_or_refused() -> None:
    assert parse_words('# c\n\nname="a\\x00\\"b"\n"c"\nx@2="d"') == [b'a\x00"b', b"c", b"d"]
    with pytest.raises(ValueError, match="no quotes"):
        parse_words("no quotes")


@pytest.mark.parametrize("one", TARGETS.values(), ids=list(TARGETS))
class TestTargets:
    def test_opens_with_its_invariant(self, one: Target) -> None:
        head = ast.get_docstring(ast.parse(one.source.read_text())) or ""
        assert head.startswith("Invariant tested: ")

    def test_has_seeds_and_a_readable_dictionary(self, one: Target) -> None:
        assert one.seeds(), f"put a valid input of the format into {one.corpus.relative_to(ROOT)}"
        one.words()

    def test_holds_for_every_seed(self, one: Target) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.run", "--seconds", "0", "--no-keep", one.name],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_parser_has_its_target() -> None:
    wire = {path.stem for path in (ROOT / "pyslirp" / "wire").glob("*.py") if path.stem != "__init__"}
    assert not sorted((wire | PARSERS) - set(TARGETS))


def test_every_corpus_and_dictionary_has_its_target() -> None:
    kept = {path.name for path in (ROOT / "fuzz/corpus").glob("*")} | {
        path.stem for path in (ROOT / "fuzz/dict").glob("*.dict")
    }
    assert not sorted(kept - set(TARGETS))
