"""The cursors behind batches that were yielded and are not committed yet, in bounded memory. Plain data.

The latest batches are known one by one. Of those before only the ends of stretches are kept: a commit of a batch within
a stretch moves the cursor to where the stretch begins. So it never stands behind what was not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowd.jetstream.cursor import MARKS_MAX, Cursor, merge_marks
from flowd.jetstream.order import Mark

Named = tuple[bytes, int]
"""A batch: its epoch and its seq."""

EXACT_BATCHES = 1024
"""The latest, each of which has a cursor of its own: more than is handed on before the first of them is done with."""
STRETCHES = 4096
"""How many stretches are before these, at most: then they are joined, so that half as many are left, or fewer where
each has many epochs."""


@dataclass(slots=True)
class _Stretch:
    """Batches that were yielded one after the other. `cursor` stands behind the last of them, and its marks say how far
    each of the epochs in the stretch came; `number` counts the batches up to there."""

    cursor: Cursor
    number: int
    batches: int = 1


class Uncommitted:
    """See the module. `asked` is the batch whose cursor is being stored: it stays the end of a stretch."""

    def __init__(self, exact_batches: int = EXACT_BATCHES, stretches: int = STRETCHES) -> None:
        self.asked: Named | None = None
        self._exact_batches = exact_batches
        self._most = stretches
        self._stretches: dict[Named, _Stretch] = {}
        self._marks: dict[bytes, Mark] = {}
        self._number = 0
        self._longest = 1

    def __len__(self) -> int:
        return len(self._stretches)

    def add(self, place: Named, cursor: Cursor) -> None:
        """A batch was yielded, and this is the cursor behind it."""
        self._number += 1
        self._stretches.pop(place, None)  # it stands in another stream now, which was made anew
        self._stretches[place] = _Stretch(cursor, self._number)
        if len(self._stretches) > self._exact_batches + self._most:
            self._join()

    def pass_over(self, place: Named, cursor: Cursor) -> None:
        """Something that is not yielded came behind the batch that was added last: the cursor may stand behind it."""
        stretch = self._stretches.get(place)
        if stretch is not None:
            stretch.cursor = cursor._replace(marks=stretch.cursor.marks)

    def end_of(self, place: Named) -> Named | None:
        """The batch behind which the cursor is to be moved for this one: itself, or the last one known before it. None
        where there is none, or the cursor stands there."""
        if place in self._stretches:
            return place
        epoch, seq = place
        committed = self._marks.get(epoch)
        if committed is not None and seq <= committed.seq:
            return None
        before: Named | None = None
        for end, stretch in self._stretches.items():
            mark = stretch.cursor.marks.get(epoch)
            if mark is not None and mark.seq >= seq:
                return before
            before = end
        return None

    def cursor_behind(self, end: Named, before: Mapping[bytes, Mark]) -> Cursor:
        """The cursor at an end that `end_of` named, with how far the epochs are there: latest last, oldest go. `before`
        is how far they were where the reading began."""
        marks = dict(before)
        merge_marks(marks, self._marks_up_to(end))
        return self._stretches[end].cursor._replace(marks=dict(list(marks.items())[-MARKS_MAX:]))

    def is_asked(self, end: Named) -> bool:
        """Whether the cursor is being stored behind this batch, or a later one."""
        asked = self._stretches.get(self.asked) if self.asked is not None else None
        return asked is not None and self._stretches[end].number <= asked.number

    def forget(self, end: Named) -> None:
        """The cursor stands behind this batch."""
        if end not in self._stretches:
            return
        self._marks = self._marks_up_to(end)
        for passed in list(self._stretches):
            del self._stretches[passed]
            if passed == end:
                break
        if len(self._stretches) <= self._exact_batches:
            self._longest = 1

    def _marks_up_to(self, end: Named) -> dict[bytes, Mark]:
        marks = dict(self._marks)
        for place, stretch in self._stretches.items():
            merge_marks(marks, stretch.cursor.marks)
            if place == end:
                break
        return marks

    def _join(self) -> None:
        """Joins those before the latest, to longer and longer stretches, until they and their epochs are few."""
        ends = list(self._stretches)
        older = {end: self._stretches[end] for end in ends[: -self._exact_batches]}
        latest = {end: self._stretches[end] for end in ends[-self._exact_batches :]}
        older = self._join_up_to(older)
        while self._weigh(older) > self._most // 2 and self._longest <= self._number:
            self._longest *= 2
            older = self._join_up_to(older)
        self._stretches = older | latest

    @staticmethod
    def _weigh(stretches: dict[Named, _Stretch]) -> int:
        return sum(1 + len(stretch.cursor.marks) for stretch in stretches.values())

    def _join_up_to(self, stretches: dict[Named, _Stretch]) -> dict[Named, _Stretch]:
        joined: dict[Named, _Stretch] = {}
        last: Named | None = None
        for end, stretch in stretches.items():
            if last is not None and last != self.asked:
                before = joined[last]
                if before.batches + stretch.batches <= self._longest:
                    del joined[last]
                    marks = dict(before.cursor.marks)
                    merge_marks(marks, stretch.cursor.marks)
                    cursor = stretch.cursor._replace(marks=marks)
                    stretch = _Stretch(cursor, stretch.number, before.batches + stretch.batches)
            joined[end] = stretch
            last = end
        return joined
