"""Which lines belong together: a `<section>` to its end tag, and in YAML and classic files what is indented below.

Looks at lines only, so that it serves every dialect, texts with errors, and texts inside of a manifest.
"""

from __future__ import annotations

import re

_TAG = re.compile(r"\s*<(?P<end>/?)(?P<name>[a-zA-Z0-9_]+)")
_CONDITIONS = ("regexp", "exclude")
_HEADER = re.compile(r"\s*[\w.$\"'-]+[ \t]*:[ \t]*(?:#.*)?$")
_ITEM = re.compile(r"\s*-(?:\s|$)")


class Blocks:
    """The blocks of a text's lines; all numbers of lines count from 0."""

    __slots__ = ("_ends", "_lines", "_openings")

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._ends: dict[int, int] = {}
        self._openings: list[int] = []  # for each line that of the innermost section around it, or -1
        open_sections: list[int] = []
        for at, line in enumerate(lines):
            tag = _TAG.match(line)
            self._openings.append(open_sections[-1] if open_sections else -1)
            if tag is not None and not tag["end"]:
                open_sections.append(at)
            elif tag is not None and open_sections:
                self._ends[open_sections.pop()] = at

    def find(self, at: int) -> tuple[int, int]:
        """The first and last line of the block that begins on a line.

        A line inside of `<exclude>` or `<regexp>` stands for all of that section, which is one rule.
        """
        tag = _TAG.match(self._lines[at])
        if tag is not None and not tag["end"]:
            return at, self._end_of(at)
        opening = self._openings[at]
        if opening < 0:
            return at, self._end_of_indented(at)
        inside = _TAG.match(self._lines[opening])
        if inside is not None and inside["name"] in _CONDITIONS:
            return opening, self._end_of(opening)
        return at, at

    def _end_of(self, opening: int) -> int:
        return self._ends.get(opening, len(self._lines) - 1)

    def _end_of_indented(self, at: int) -> int:
        """The last of the lines that are indented further; items of a list may stand right below their key."""
        indent = _indent_of(self._lines[at])
        takes_items = _HEADER.match(self._lines[at]) is not None and not _ITEM.match(self._lines[at])
        last = at
        for k in range(at + 1, len(self._lines)):
            line = self._lines[k]
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            is_item = takes_items and _indent_of(line) == indent and _ITEM.match(line)
            if _indent_of(line) <= indent and not is_item:
                break
            last = k
        return last


def _indent_of(line: str) -> int:
    return len(line) - len(line.lstrip())
