"""docs/tcp.md names what is there, and leaves no topic of the scripts out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.meta.tree import ROOT

TCP = ROOT / "ext/pyslirp/engine/protocols/tcp"
SCRIPTS = ROOT / "tests/tcp/scripts"
PAGE = ROOT / "docs/tcp.md"
RFCS = {1191, 2018, 2883, 3042, 3168, 5482, 5681, 5961, 6191, 6298, 6528, 6582, 6675, 7323, 8201, 8985, 9293, 9438}


def rows() -> list[list[str]]:
    """The cells of each row, without heads; `where`, `proved by` and `remarks` are the last three."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| --- ")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if not line.startswith(("| section |", "| RFC |"))
    ]


def missing(name: str) -> str | None:
    """Why this name, as it stands between backquotes, names nothing."""
    path, _, test = name.partition("::")
    if path.startswith(("tests/", "ext/", "pyslirp/")):
        if not (ROOT / path).exists():
            return f"no file {path}"
        return None if not test or f"def {test}(" in (ROOT / path).read_text() else f"no test {test} in {path}"
    if path.endswith((".pyx", ".pxd")):
        return None if (TCP / path).is_file() else f"no file {path} of TCP"
    if re.fullmatch(r"\w+/\*", path):
        return None if (SCRIPTS / path[:-2]).is_dir() else f"no topic {path}"
    if re.fullmatch(r"\w+/\w+", path):
        return None if (SCRIPTS / f"{path}.pkt").is_file() else f"no script {path}"
    return f"what is {name}?"


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_what_is_named_is_there() -> None:
    wrong = [reason for row in rows() for cell in row[-3:] for name in names(cell) if (reason := missing(name))]
    assert not wrong, "\n".join(wrong)


def test_what_is_done_has_its_place_and_its_proof_and_what_is_not_says_so() -> None:
    wrong = []
    for *what, where, proof, remarks in rows():
        if remarks.startswith("not done: "):
            if where or proof:
                wrong.append(what)
        elif not names(where) or not names(proof):
            wrong.append(what)
    assert not wrong


def test_every_rfc_and_every_topic_has_its_row() -> None:
    text = PAGE.read_text()
    assert not [number for number in RFCS if not re.search(rf"\b{number}\b", text)]
    topics = {path.name for path in SCRIPTS.iterdir() if path.is_dir()}
    assert not topics - {name.partition("/")[0] for row in rows() for name in names(" ".join(row))}


@pytest.mark.parametrize(
    "name",
    [
        "nowhere.pyx",
        "tests/nowhere.py",
        "tests/meta/test_docs_tcp.py::test_nowhere",
        "ecn/nowhere",
        "nowhere/*",
        "nowhere",
    ],
)
def test_a_name_of_nothing_is_seen(name: str) -> None:
    assert missing(name)


def test_the_rows_are_read() -> None:
    assert Path(PAGE).is_file()
    assert len(rows()) > 50
    assert {len(row) for row in rows()} == {6, 7}
