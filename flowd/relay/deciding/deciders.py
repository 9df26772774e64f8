"""What can decide a stream's lines, and what it has decided: looked up once for a set of filters, told in any part.

With ten thousand rules the counts are asked for every few seconds while lines are decided: nothing here goes through
the rules again for an answer, and an object is made only of a rule that is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from flowd.program import SAMPLED

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.program import CompiledRule

RuleKey = tuple[tuple[str, ...], int]
"""What a rule says, and its number among those that say the same. Its name and place do not count: they move."""
Counts = tuple[int, int]
"""Lines, and their bytes."""

BYPASS = "bypass"
"""Decides while filtering is bypassed."""
RETIRED = "retired"
"""The rules of earlier filters that are no more, together."""
BYPASS_KEY: RuleKey = ((BYPASS,), 0)
RETIRED_KEY: RuleKey = ((RETIRED,), 0)


class Decided(NamedTuple):
    """What a rule has decided since the daemon began, over all filters that had it.

    `is_shadow` rules only count; of what a rule would drop one line in `sample` is let go, and counted as
    `<name>.sampled`; from `until_ns` on (0: never) it does nothing.
    """

    name: str
    lines: int
    bytes: int
    file: str = ""
    line: int = 0
    is_shadow: bool = False
    sample: int = 0
    until_ns: int = 0


class Deciders:
    """The rules and groups of a filter set that can decide, by the core's number, which is 0 for `default`."""

    def __init__(self, filter_set: FilterSet) -> None:
        found = key_deciders(filter_set)
        self.keys = tuple(found.values())
        self.numbers = {key: number for number, key in enumerate(self.keys)}
        self._names = tuple(found)
        # A group decides as a whole: it is found where its first rule stands.
        rules = filter_set.rules
        places = {rule.group: rule for rule in reversed(rules)} | {rule.name: rule for rule in rules}
        self._places: list[CompiledRule | None] = [places.get(name.removesuffix(SAMPLED)) for name in found]

    def __len__(self) -> int:
        return len(self.keys)

    def describe(self, number: int, counts: Counts) -> Decided:
        """What this decider has decided, with its place."""
        name, place = self._names[number], self._places[number]
        if place is None:
            return Decided(name, *counts)
        return Decided(name, *counts, place.file, place.line, place.is_shadow, place.sample, place.until_ns)


class Tally:
    """What the rules of a stream have decided by one moment, as generation `generation`.

    It is a list that is made item by item: each loaded rule and group in the order in which they decide, `default`,
    and where there are such lines, what was kept by bypassing and what was decided by rules that are no more.
    """

    def __init__(
        self, deciders: Deciders, counts: list[Counts], earlier: dict[RuleKey, Counts], generation: int
    ) -> None:
        """`counts` are those of the loaded filters; `earlier` has what earlier ones and bypassing have decided."""
        self.generation = generation
        self.bypassed_lines = earlier.get(BYPASS_KEY, (0, 0))[0]
        self._deciders = deciders
        self._counts = counts
        self._others: list[Decided] = []
        retired = 0, 0
        for key, more in earlier.items():
            number = deciders.numbers.get(key)
            if number is not None:
                counts[number] = _add(counts[number], more)
            elif key == BYPASS_KEY:
                self._others.append(Decided(BYPASS, *more))
            else:
                retired = _add(retired, more)
        if any(retired):
            self._others.append(Decided(RETIRED, *retired))

    @property
    def deciders(self) -> Deciders:
        """The loaded rules, whose numbers `counts` goes by."""
        return self._deciders

    @property
    def counts(self) -> Sequence[Counts]:
        """What each loaded rule has decided, by the core's number."""
        return self._counts

    def __len__(self) -> int:
        return len(self._counts) + len(self._others)

    def __getitem__(self, at: int) -> Decided:
        last = len(self._counts) - 1  # where `default` stands, the core's number 0
        if at > last:
            return self._others[at - last - 1]
        number = at + 1 if at < last else 0
        return self._deciders.describe(number, self._counts[number])

    def rank(self, most: int) -> list[int]:
        """The places of what is told where not all can be: `default` and what follows it, then of the rules that have
        decided anything those with the most lines, at most so many."""
        last = len(self._counts) - 1
        lines = [count for count, _ in self._counts]
        hit = [number for number, count in enumerate(lines) if count and number]
        return [*range(last, len(self)), *(number - 1 for number in nlargest(most, hit, key=lines.__getitem__))]

    def total(self) -> Counts:
        """All of it."""
        told = [*self._counts, *((other.lines, other.bytes) for other in self._others)]
        return sum(lines for lines, _ in told), sum(size_bytes for _, size_bytes in told)


def key_deciders(filter_set: FilterSet) -> dict[str, RuleKey]:
    """What each rule and group that can decide says, by its name."""
    says: dict[str, list[str]] = {}
    for rule in filter_set.rules:
        begin = ["shadow"] if rule.is_shadow else ["group"] if rule.group else []
        says.setdefault(rule.group or rule.name, begin).extend((rule.kind, rule.field, rule.pattern))
    seen: Counter[tuple[str, ...]] = Counter()
    keys = {}
    for decider in filter_set.compiled.deciders:
        said = tuple(says.get(decider, (decider,)))
        keys[decider] = said, seen[said]
        seen[said] += 1
    return keys


def _add(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1]
