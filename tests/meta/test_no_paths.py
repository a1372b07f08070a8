"""The project names no machine that it was written on: no folder of a session, no host of a package registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.meta.tree import ROOT, relative

BINARY = {".so", ".pcapng", ".pcap", ".bin", ".png", ".pyc", ".gz"}
# Spelled so that this file does not match itself.
MACHINE = re.compile(r"(?<![\w.])/(?:work|root|farm|home/\w+)/[\w.]|/tmp/bash[_]", re.ASCII)
REGISTRY = re.compile(
    r"\b(?:pypi\.(?:org|python\.org)|(?:files\.)?python"
    r"hosted\.org|registry\.npm"
    r"js\.org|deb\.debian"
    r"\.org"
    r"|(?:archive|security)\.ubuntu"
    r"\.com|proxy\.golang"
    r"\.org|static\.crates"
    r"\.io)\b"
)


def files() -> list[Path]:
    """What git keeps, or would; in an unpacked sdist everything that is no build product."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for top in ("pyslirp", "ext", "tests", "fuzz", ".ci") for path in (ROOT / top).rglob("*")]
        found += [path for path in ROOT.iterdir() if path.is_file()]
    return sorted(path for path in found if path.is_file() and path.suffix not in BINARY and "corpus" not in path.parts)


def offences(text: str) -> list[str]:
    return [match.group() for pattern in (MACHINE, REGISTRY) for match in pattern.finditer(text)]


def test_no_machine_and_no_registry_is_named() -> None:
    wrong = {relative(path): found for path in files() if (found := offences(path.read_text(errors="replace")))}
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "cd " + "/work" + "/main",
        "see " + "/root" + "/.pyenv",
        "/home" + "/someone/x",
        "https://py" + "pi.org/simple",
        "http://deb.debian" + ".org/debian",
        "/tmp" + "/bash_jobs.0",
    ],
)
def test_a_planted_one_is_found(text: str) -> None:
    assert offences(text)


@pytest.mark.parametrize("text", ["framework/main", "a/root/b", "/workers", "unix:/run/x", "python.org"])
def test_others_are_not(text: str) -> None:
    assert not offences(text)
