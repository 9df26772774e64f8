"""Two filter sets as one program, so that each line is walked once and both decide.

What this compiles is for comparing only: `flowd.comparison` counts with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowd import _core
from flowd.program import build_joint_program

if TYPE_CHECKING:
    from flowd.filterset import FilterSet


class JointProgram:
    """The programs of two sets, alone and together. Immutable; may be used by many threads, each with a comparer.

    For `few_lines` they are not compiled together, which thousands of expressions take seconds for: each line is then
    walked twice.
    """

    def __init__(self, old: FilterSet, new: FilterSet, *, few_lines: bool = False) -> None:
        self._old = old.compiled
        self._new = new.compiled
        self._joint = None if few_lines else build_joint_program((old.text, new.text))[0]
        self._old_sections = len(old.text.filters)

    def comparer(self, examples: int) -> _core.Comparer:
        """What counts, for one thread: the first `examples` lines of each pair of decisions are remembered."""
        return _core.Comparer(self._joint, self._old.program, self._new.program, self._old_sections, examples)

    def old_rule(self, number: int) -> str:
        """The name of the old set's rule with this number."""
        return self._old.deciders[number]

    def new_rule(self, number: int) -> str:
        """The name of the new set's rule with this number."""
        return self._new.deciders[number]
