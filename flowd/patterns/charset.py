"""Sets of characters as sorted, disjoint ranges of code points. Knows nothing of patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LAST_CODE_POINT = 0x10FFFF
ASCII_SIZE = 0x80

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CharSet:
    """An immutable set of code points; `ranges` are inclusive, sorted, and neither touch nor overlap."""

    ranges: Ranges = ()

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]]) -> CharSet:
        """The union of any ranges, in any order."""
        merged: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    @classmethod
    def chars(cls, text: str) -> CharSet:
        """The characters of a text."""
        return cls.of((ord(char), ord(char)) for char in text)

    def __or__(self, other: CharSet) -> CharSet:
        return CharSet.of(self.ranges + other.ranges)

    def __invert__(self) -> CharSet:
        gaps = []
        start = 0
        for low, high in self.ranges:
            if low > start:
                gaps.append((start, low - 1))
            start = high + 1
        if start <= LAST_CODE_POINT:
            gaps.append((start, LAST_CODE_POINT))
        return CharSet(tuple(gaps))

    def __and__(self, other: CharSet) -> CharSet:
        return ~(~self | ~other)

    def __sub__(self, other: CharSet) -> CharSet:
        return ~(~self | other)

    def __contains__(self, char: str) -> bool:
        code = ord(char)
        return any(low <= code <= high for low, high in self.ranges)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    @property
    def only_char(self) -> str:
        """The one member, or the empty text if there are more or none."""
        if len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return chr(self.ranges[0][0])
        return ""


NOTHING = CharSet()
EVERYTHING = CharSet(((0, LAST_CODE_POINT),))
ASCII = CharSet(((0, ASCII_SIZE - 1),))
DIGIT = CharSet.of([(0x30, 0x39)])
WORD = CharSet.of([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
SPACE = CharSet.of([(0x09, 0x0D), (0x20, 0x20)])
HEX = CharSet.of([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)])

# POSIX brackets as they are for ASCII characters, under (?a) and for ASCII values; from Ruby 3.3.
POSIX_ASCII = {
    "alnum": CharSet.of([(0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)]),
    "alpha": CharSet.of([(0x41, 0x5A), (0x61, 0x7A)]),
    "ascii": ASCII,
    "blank": CharSet.chars("\t "),
    "cntrl": CharSet.of([(0x00, 0x1F), (0x7F, 0x7F)]),
    "digit": DIGIT,
    "graph": CharSet.of([(0x21, 0x7E)]),
    "lower": CharSet.of([(0x61, 0x7A)]),
    "print": CharSet.of([(0x20, 0x7E)]),
    "punct": CharSet.of([(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)]),
    "space": SPACE,
    "upper": CharSet.of([(0x41, 0x5A)]),
    "word": WORD,
    "xdigit": HEX,
}
