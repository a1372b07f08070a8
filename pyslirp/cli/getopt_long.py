"""getopt_long(3) as glibc has it: one option at a time, told and refused in its words.

Python's getopt reads the whole line before it hands out the first option.  A program in C acts on each as it comes, so
that ``-v`` in front of a mistake prints the version, and of two mistakes the first is told.  So it is here: `options` is a
generator, and raises where it gets to.

As there, what is no option may stand among the options, unless POSIXLY_CORRECT is set; ``--`` ends them; a long option may be
cut short as long as one is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class GetoptError(Exception):
    """`str()` is what getopt_long prints behind the program's name."""


class Option(NamedTuple):
    """One option of a program."""

    name: str  #: without the two dashes
    short: str = ""  #: its letter, where it has one
    takes_value: bool = False


class Getopt:
    """One reading of one command line."""

    def __init__(self, known: Sequence[Option], arguments: Sequence[str], *, permute: bool = True) -> None:
        """permute: options may follow what is none (POSIXLY_CORRECT forbids it)."""
        self._known = known
        self._letters = {option.short: option for option in known if option.short}
        self._rest = list(reversed(arguments))
        self._permute = permute
        self.words: list[str] = []  #: what is no option: complete when `options` is at its end

    def options(self) -> Iterator[tuple[str, str]]:
        """Name and value of each option, in order.  Raises GetoptError."""
        while self._rest:
            word = self._rest.pop()
            if word == "--":
                break
            if word.startswith("--"):
                yield self._long(word)
            elif word.startswith("-") and word != "-":
                yield from self._letters_of(word[1:])
            else:
                self.words.append(word)
                if not self._permute:
                    break
        self.words += reversed(self._rest)

    def _long(self, word: str) -> tuple[str, str]:
        written, equals, value = word[2:].partition("=")
        option = self._find(written, word)
        if not option.takes_value:
            if equals:
                raise GetoptError(f"option '--{option.name}' doesn't allow an argument")
        elif not equals:
            if not self._rest:
                raise GetoptError(f"option '--{option.name}' requires an argument")
            value = self._rest.pop()
        return option.name, value

    def _find(self, written: str, word: str) -> Option:
        possible = [option for option in self._known if option.name.startswith(written)]
        exact = [option for option in possible if option.name == written]
        if len(exact or possible) == 1:
            return (exact or possible)[0]
        if not possible:
            raise GetoptError(f"unrecognized option '{word}'")
        names = " ".join(f"'--{option.name}'" for option in possible)
        raise GetoptError(f"option '{word}' is ambiguous; possibilities: {names}")

    def _letters_of(self, letters: str) -> Iterator[tuple[str, str]]:
        for at, letter in enumerate(letters, 1):
            option = self._letters.get(letter)
            if option is None:
                raise GetoptError(f"invalid option -- '{letter}'")
            if not option.takes_value:
                yield option.name, ""
                continue
            value = letters[at:]
            if not value:
                if not self._rest:
                    raise GetoptError(f"option requires an argument -- '{letter}'")
                value = self._rest.pop()
            yield option.name, value
            return
