"""What the filters made of lines that are there again: which rule has decided each, and some lines of each rule.

Works on programs of its own: nothing that it looks at is counted.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from flowd.joint import JointProgram
from flowd.relay.deciding.deciders import BYPASS, Deciders

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.wire import Buffer


class Pool(NamedTuple):
    """The lines of one batch that one rule has decided in one way: how many there are, and the first few of them,
    without newlines."""

    verdict: str
    rule: str
    file: str
    line: int
    lines: int
    examples: list[bytes]
    time_ns: int


class Looker:
    """Looks at batches with one filter set. It holds tables of some MiB: let it go when they are not wanted soon."""

    def __init__(self, filter_set: FilterSet, most_lines: int) -> None:
        """At most so many lines of each rule are given of a batch."""
        self.filter_set = filter_set
        self.most_lines = most_lines
        self._deciders = Deciders(filter_set)
        self._comparer = JointProgram(filter_set, filter_set, few_lines=True).comparer(most_lines)

    def look(self, lines: Buffer, is_bypassed: bool, time_ns: int, random: Random) -> list[Pool]:
        """All lines of a batch by rule and verdict; the given ones are those behind a place picked at random."""
        view = memoryview(lines)
        cut = _find_cut(view, random)
        self._comparer.add(view[cut:])
        self._comparer.add(view[:cut])
        pools = []
        for number, verdict, _, _, count, _, examples in self._comparer.take():
            place = self._deciders.describe(number, (0, 0))
            rule = BYPASS if is_bypassed else place.name
            pools.append(Pool(verdict, rule, place.file, place.line, count, examples, time_ns))
        return pools


class Picked(NamedTuple):
    """A line, and what has decided it."""

    pool: Pool
    text: bytes


def pick_lines(pools: list[Pool], wanted: int, random: Random) -> list[Picked]:
    """So many lines of all pools, or all where there are fewer: each line has the same chance. By time."""
    total = sum(pool.lines for pool in pools)
    chosen = sorted(random.sample(range(total), min(wanted, total)))
    picked: list[Picked] = []
    begin = at = 0
    for pool in pools:
        end = begin + pool.lines
        taken = 0
        while at < len(chosen) and chosen[at] < end:
            at += 1
            taken += 1
        picked += [Picked(pool, text) for text in pool.examples[:taken]]
        begin = end
    return sorted(picked, key=lambda one: one.pool.time_ns)


def _find_cut(view: memoryview, random: Random) -> int:
    """Where a line begins behind a random place; 0 where that is in the last one."""
    at = random.randrange(max(1, len(view)))
    window_bytes = 4096
    while at < len(view):
        found = bytes(view[at : at + window_bytes]).find(b"\n")
        if found >= 0:
            return (at + found + 1) % len(view)
        at += window_bytes
    return 0
