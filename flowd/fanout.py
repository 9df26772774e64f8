"""Many filter sets over the same lines in one pass: each line is walked once, and every set decides it.

What a line costs does not grow with the sets; what they keep is copied for each. Each set's `hits` count what is
decided here. The daemon decides a stream's views so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from flowd import _core
from flowd.program import build_joint_program

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from flowd.filterset import FilterSet


class FannedOut(NamedTuple):
    """What the chosen sets keep of one batch: of each, in order, the kept lines, and numbers of lines as in Applied.

    Sets that keep the same lines share one object; one that keeps all of them has what was given.
    """

    kept: list[Buffer]
    kept_lines: list[int]
    malformed: list[int]
    errors: list[int]


class FanOut:
    """Filter sets that decide together, for one thread at a time; all are chosen at first.

    `can_join` says which may. Compiling takes as long as compiling each of them. `close` when it decides no more.
    """

    def __init__(self, filter_sets: Sequence[FilterSet]) -> None:
        self.filter_sets = tuple(filter_sets)
        program, fields = build_joint_program([filter_set.text for filter_set in filter_sets])
        outputs = [
            (len(filter_set.text.filters), len(filter_set.compiled.deciders), of_set)
            for filter_set, of_set in zip(filter_sets, fields, strict=True)
        ]
        self._core = _core.FanOut(program, outputs)
        self._core.choose(range(len(outputs)))
        for number, filter_set in enumerate(self.filter_sets):
            filter_set.evaluator.join(self._core, number)

    def choose(self, numbers: Sequence[int]) -> None:
        """From the next batch on only these sets decide and count: numbers in `filter_sets`, each once."""
        self._core.choose(numbers)

    def decide(self, lines: Buffer) -> int:
        """Decides a batch for the chosen sets and copies nothing yet; returns how many lines it has.

        The lines are held until `gather`. Raises MemoryError where they would need more than the bounds allow: then
        nothing is counted, and each set has to be asked by itself.
        """
        return self._core.decide(lines)

    def gather(self) -> FannedOut:
        """What each chosen set keeps of the batch that was decided."""
        return FannedOut(*self._core.gather())

    def apply(self, lines: Buffer) -> FannedOut:
        """What each chosen set's `apply_borrowing` gives for the lines. Raises what `decide` does."""
        self._core.decide(lines)
        return FannedOut(*self._core.gather())

    @property
    def cache_stat(self) -> dict[str, int]:
        """What the caches hold now: `bytes`, and `resets`, how often they were emptied at their bound; `outcomes`, the
        ways in which all sets together have decided."""
        stat: dict[str, int] = self._core.cache_stat()
        return stat

    def close(self) -> None:
        """The sets keep what they counted here."""
        for filter_set in self.filter_sets:
            filter_set.evaluator.leave(self._core)


def can_join(filter_set: FilterSet) -> bool:
    """Whether the set may decide together with others.

    One with rules that only count, or let a share of lines go, decides by itself: what becomes of a line is not told by
    its values alone there.
    """
    return not any(step.is_shadow or step.sample for section in filter_set.text.filters for step in section.steps)


def is_strict(filter_set: FilterSet) -> bool:
    """Which sets fit together: those that agree on this, since they find the same lines malformed."""
    strict: bool = filter_set.compiled.program.strict
    return strict
