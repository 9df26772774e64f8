"""Texts of several dialects that are one: a folder or a ConfigMap with a fluentd text under one key and a Fluent Bit
list under the other.

All of their filters apply, in the order of the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flowd.errors import FilterError, Problem
from flowd.filters.model import Filter, FilterText
from flowd.filters.tags import NamedTag


class OpenText(Protocol):
    """A text that was read once, to be asked for any stream."""

    dialect: str
    includes: tuple[str, ...]

    @property
    def section_count(self) -> int:
        """How many filters are written, whatever they are for."""

    @property
    def tags(self) -> tuple[NamedTag, ...]:
        """Some of the tags that its filters are for, as far as they say."""

    def resolve(self, stream: str, *, numbered_from: int = 1) -> FilterText:
        """The filters for a stream. Reads no file. Raises FilterError."""


class MixedText:
    """Several texts, in their order. `dialect` names all of theirs, joined by `+`."""

    def __init__(self, texts: Sequence[OpenText]) -> None:
        self._texts = tuple(texts)
        self.dialect = "+".join(dict.fromkeys(text.dialect for text in texts))
        self.includes = tuple(dict.fromkeys(path for text in texts for path in text.includes))

    @property
    def section_count(self) -> int:
        """How many filters are written, whatever they are for."""
        return sum(text.section_count for text in self._texts)

    @property
    def tags(self) -> tuple[NamedTag, ...]:
        """Some of the tags that its filters are for, as far as they say."""
        return tuple(tag for text in self._texts for tag in text.tags)

    def resolve(self, stream: str, *, numbered_from: int = 1) -> FilterText:
        """The filters for a stream. Raises FilterError with the problems of all texts."""
        filters: list[Filter] = []
        problems: list[Problem] = []
        warnings: list[Problem] = []
        for text in self._texts:
            try:
                resolved = text.resolve(stream, numbered_from=numbered_from)
            except FilterError as error:
                problems += error.problems
                warnings += error.warnings
            else:
                filters += resolved.filters
                warnings += resolved.warnings
            numbered_from += text.section_count
        if problems:
            raise FilterError(problems, warnings)
        return FilterText(self.dialect, stream, tuple(filters), tuple(warnings))
