"""A text with places: which line and column, in which file, a character of it stands at.

Lines end in LF, CR LF or a lone CR. Nothing here reads files or knows a grammar.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

from flowd.errors import Problem

_LINE_END = re.compile(r"\r\n|\r|\n")


class Place(NamedTuple):
    """A character in a file: lines and columns count from 1, in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Source:
    """A text and the file it came from.

    `first_line` and `indent` serve texts that are quoted inside another file (a ConfigMap manifest): the text's first
    line is that line of the file, and each of its lines is indented by so many characters there.
    """

    __slots__ = ("_line_starts", "file", "first_line", "indent", "text")

    def __init__(self, file: str, text: str, *, first_line: int = 1, indent: int = 0) -> None:
        self.file = file
        self.text = text
        self.first_line = first_line
        self.indent = indent
        self._line_starts = [0, *(end.end() for end in _LINE_END.finditer(text))]

    def place(self, position: int) -> Place:
        """Where the character at this offset stands."""
        row = bisect_right(self._line_starts, position) - 1
        return Place(self.file, self.first_line + row, self.indent + position - self._line_starts[row] + 1)

    def line_end(self, position: int) -> int:
        """The offset of the line's end (before its CR or LF) for the line that holds this offset."""
        end = _LINE_END.search(self.text, position)
        return end.start() if end else len(self.text)


class Report:
    """What is found wrong or doubtful while a text is read: reading goes on, and all of it is told at once.

    `includes` collects the paths, with wildcards, that were looked for.
    """

    __slots__ = ("includes", "problems", "warnings")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.includes: list[str] = []

    def problem(self, place: Place, message: str, *, hint: str, code: str) -> None:
        """Add what makes the text unusable."""
        self.problems.append(Problem(place.file, place.line, place.column, message, hint, code))

    def warning(self, place: Place, message: str, *, hint: str, code: str) -> None:
        """Add what is accepted but may not mean what its writer thinks."""
        self.warnings.append(Problem(place.file, place.line, place.column, message, hint, code))


def sort_problems(problems: list[Problem]) -> list[Problem]:
    """By place within a file, files in the order they first occur; each only once."""
    files = {problem.file: n for n, problem in reversed(list(enumerate(problems)))}
    return sorted(dict.fromkeys(problems), key=lambda problem: (files[problem.file], problem.line, problem.column))
