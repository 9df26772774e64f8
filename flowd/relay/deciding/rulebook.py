"""The filters as they were read at one moment: from them every stream's filter set is compiled, without reading again.

Streams come into being while the daemon runs. What decides them must be what decides the others, even where the files
have changed since and nobody asked for that yet.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flowd.filters.load import open_path, open_text
from flowd.filterset import FilterSet

if TYPE_CHECKING:
    from flowd.filters.fluentd import FluentdText
    from flowd.relay.config import Filters

RuleKey = tuple[tuple[str, ...], int]
"""What a rule says, and its number among those that say the same. Its name and place do not count: they move."""


class Rulebook:
    """One reading of the filters. A set is compiled when it is first asked for; one thread at a time may ask."""

    def __init__(self, text: FluentdText) -> None:
        self._text = text
        self._sets: dict[str, FilterSet] = {}

    @property
    def includes(self) -> tuple[str, ...]:
        """The paths, with wildcards, that the text includes."""
        return self._text.includes

    def compile(self, stream: str) -> FilterSet:
        """The stream's filter set, with counters of its own for each caller. Raises FilterError."""
        found = self._sets.get(stream)
        if found is None:
            found = self._sets[stream] = FilterSet(self._text.resolve(stream))
        return found.twin()

    def says_the_same(self, other: Rulebook, streams: list[str]) -> bool:
        """Whether both say the same of these streams, word for word and at the same places."""
        return all(self.compile(stream).text == other.compile(stream).text for stream in streams)


def read_rulebook(filters: Filters) -> Rulebook:
    """Reads the configured filters; without any, everything is kept. Raises OSError and FilterError."""
    if filters.path is None:
        return Rulebook(open_text(""))
    return Rulebook(open_path(filters.path, filters.dialect, filters.skip_unsupported))


def keep_everything(stream: str) -> FilterSet:
    """The filter set of a stream that is not filtered at all."""
    return FilterSet(open_text("").resolve(stream))


def key_deciders(filter_set: FilterSet) -> dict[str, RuleKey]:
    """What each rule and group that can decide says, by its name."""
    says: dict[str, tuple[str, ...]] = {}
    for rule in filter_set.rules:
        decider = rule.group or rule.name
        says[decider] = (*says.get(decider, ("group",) if rule.group else ()), rule.kind, rule.field, rule.pattern)
    seen: Counter[tuple[str, ...]] = Counter()
    keys = {}
    for decider in filter_set.hits:
        said = says.get(decider, (decider,))
        keys[decider] = said, seen[said]
        seen[said] += 1
    return keys
