"""A set of ranges as what it means: a set of numbers.  For small numbers only."""

from __future__ import annotations


class Ranges:
    """Half-open ranges of naturals, kept number by number."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()

    def add(self, start: int, end: int) -> bool:
        """Was anything of it new?"""
        before = len(self.numbers)
        self.numbers.update(range(start, end))
        return len(self.numbers) > before

    def drop_below(self, offset: int) -> None:
        self.numbers = {number for number in self.numbers if number >= offset}

    def covered(self) -> int:
        return len(self.numbers)

    def items(self) -> list[tuple[int, int]]:
        """The runs of consecutive numbers, in order."""
        starts = sorted(number for number in self.numbers if number - 1 not in self.numbers)
        ends = sorted(number + 1 for number in self.numbers if number + 1 not in self.numbers)
        return list(zip(starts, ends, strict=True))

    def find(self, offset: int) -> int:
        return next((index for index, (start, end) in enumerate(self.items()) if start <= offset < end), -1)

    def after(self, offset: int) -> int:
        return next((index for index, (_, end) in enumerate(self.items()) if end > offset), len(self.items()))
