"""What new filters drop or keep otherwise than old ones: both are run over the same lines, and what differs is counted
by the pair of rules that decided.

Knows nothing of files and tables; the core does the counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from flowd import _core
from flowd.joint import JointProgram

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from flowd.filterset import FilterSet, Format

Direction = Literal["newly dropped", "newly kept", "otherwise", "same"]
"""What becomes of a line: `otherwise` where it is kept by both, but as malformed or with an error by one of them."""


Line = bytes


class Pair(NamedTuple):
    """How old and new filters decide a line: their verdicts, letters as FilterSet.verdicts gives, and their rules."""

    old_verdict: str
    old_rule: str
    new_verdict: str
    new_rule: str

    @property
    def direction(self) -> Direction:
        """What changes for such a line."""
        if self.old_verdict == self.new_verdict:
            return "same"
        if self.new_verdict == "D":
            return "newly dropped"
        return "newly kept" if self.old_verdict == "D" else "otherwise"


class Change(NamedTuple):
    """Lines that one pair of rules decides: how many, their bytes with newlines, and the first few without."""

    old_verdict: str
    old_rule: str
    new_verdict: str
    new_rule: str
    lines: int
    bytes: int
    examples: tuple[Line, ...]

    @property
    def pair(self) -> Pair:
        """The pair alone."""
        return Pair(*self[:4])

    @property
    def direction(self) -> Direction:
        """What changes for these lines."""
        return self.pair.direction


class Sum(NamedTuple):
    """Lines and their bytes, with newlines."""

    lines: int
    bytes: int


@dataclass(slots=True)
class _Tally:
    lines: int = 0
    bytes: int = 0
    examples: list[Line] = field(default_factory=list)


Counts = dict[Pair, _Tally]


class Comparison:
    """Counts what `new` decides otherwise than `old`, over all lines that were added.

    `examples` is how many lines of each pair are remembered, the first ones. With `with_rules` lines are told apart by
    rules even where their verdict stays (`moves`). For `few_lines` it begins sooner and takes twice as long for each.
    For one thread; others count in a `fork` each, to be merged. The sets' own counters stay as they are.
    """

    def __init__(
        self,
        old: FilterSet,
        new: FilterSet,
        *,
        examples: int = 3,
        format: Format = "auto",
        with_rules: bool = False,
        few_lines: bool = False,
    ) -> None:
        self.old = old
        self.new = new
        self._examples = examples
        self._format: Format = format
        self._with_rules = with_rules
        self._joint = JointProgram(old, new, few_lines=few_lines)
        self._idle: list[_core.Comparer] = []
        self._comparer: _core.Comparer | None = None
        self._counted: Counts = {}

    def add(self, lines: Buffer) -> None:
        """Counts whole lines that end in newlines; the last may lack it. The GIL is released."""
        if self._comparer is None:
            try:
                self._comparer = self._idle.pop()
            except IndexError:
                self._comparer = self._joint.comparer(self._examples)
        self._comparer.add(lines, self._format)

    def fork(self) -> Comparison:
        """An empty comparison of the same sets in the same way: it shares what they know and costs next to nothing."""
        fork = Comparison.__new__(Comparison)
        fork.old, fork.new = self.old, self.new
        fork._examples, fork._format, fork._with_rules = self._examples, self._format, self._with_rules
        fork._joint, fork._idle, fork._comparer = self._joint, self._idle, None
        fork._counted = {}
        return fork

    def merge(self, other: Comparison) -> None:
        """Adds what another comparison of the same two sets has counted; its examples come after those that are here.

        Raises ValueError for a comparison of other sets.
        """
        if other.old is not self.old or other.new is not self.new:
            raise ValueError("only comparisons of the same filter sets can be merged")
        _add_up(self._counts, other._counts, self._examples)
        if other._comparer is not None:  # its tables know the values: another fork goes on with them
            self._idle.append(other._comparer)
            other._comparer = None

    @property
    def changes(self) -> list[Change]:
        """What is decided otherwise, by pairs: dropped lines first, then those that are kept, each by their number."""
        return self._list(lambda pair: pair.direction != "same")

    @property
    def moves(self) -> list[Change]:
        """Where the verdict stays and another rule decides; empty unless it was made `with_rules`."""
        return self._list(lambda pair: pair.direction == "same" and pair.old_rule != pair.new_rule)

    @property
    def pairs(self) -> list[Change]:
        """Every pair, also of lines that both decide alike: their rules are known `with_rules` only."""
        return self._list(lambda _: True)

    @property
    def lines(self) -> int:
        """All lines so far."""
        return sum(tally.lines for tally in self._counts.values())

    @property
    def bytes(self) -> int:
        """All bytes so far, with newlines."""
        return sum(tally.bytes for tally in self._counts.values())

    @property
    def old_dropped(self) -> Sum:
        """What the old filters drop."""
        return self._sum(pair for pair in self._counts if pair.old_verdict == "D")

    @property
    def new_dropped(self) -> Sum:
        """What the new filters drop."""
        return self._sum(pair for pair in self._counts if pair.new_verdict == "D")

    def total(self, direction: Direction) -> Sum:
        """Everything that changes in one direction."""
        return self._sum(pair for pair in self._counts if pair.direction == direction)

    @property
    def _counts(self) -> Counts:
        """All that was counted so far."""
        if self._comparer is not None:
            for old_rule, old, new_rule, new, lines, size, examples in self._comparer.take():
                is_told_apart = old != new or self._with_rules
                names = (self._joint.old_rule(old_rule), self._joint.new_rule(new_rule)) if is_told_apart else ("", "")
                tally = _Tally(lines, size, examples if is_told_apart else [])
                _add_up(self._counted, {Pair(old, names[0], new, names[1]): tally}, self._examples)
        return self._counted

    def _list(self, is_wanted: Callable[[Pair], bool]) -> list[Change]:
        found = [
            Change(*pair, tally.lines, tally.bytes, tuple(tally.examples))
            for pair, tally in self._counts.items()
            if is_wanted(pair)
        ]
        return sorted(found, key=lambda change: (_ORDER[change.direction], -change.lines, change.pair))

    def _sum(self, pairs: Iterable[Pair]) -> Sum:
        counts = self._counts
        found = [counts[pair] for pair in pairs]
        return Sum(sum(tally.lines for tally in found), sum(tally.bytes for tally in found))


_ORDER: dict[Direction, int] = {"newly dropped": 0, "newly kept": 1, "otherwise": 2, "same": 3}


def _add_up(counts: Counts, more: Counts, examples: int) -> None:
    """Adds to the first what the second has counted."""
    for pair, found in more.items():
        tally = counts.setdefault(pair, _Tally())
        tally.lines += found.lines
        tally.bytes += found.bytes
        tally.examples += found.examples[: max(0, examples - len(tally.examples))]
