"""Numbered lines, and the ledger that says whether each came once and in order.

A source's lines are numbered from 0. Some are dropped by the filters, which ones is known; all others must come, in
their order, once. Chunks of which nobody can know whether they were handed over (their producer was killed in the
middle of handing them over) may be missing as a whole, or be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

FILTERS = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^dev$/
  </exclude>
</filter>
"""
DROPPED_EVERY, DROPPED_AT = 7, 3
_LINE = re.compile(rb'\{"source":"(\w+)","n":(\d+),')
NOTED_MAX = 20
"""Of what went wrong so many are described; all are counted."""

Chunk = tuple[int, int]
"""Numbers from, and up to but without."""


def is_kept(n: int) -> bool:
    """Whether the filters keep the line of this number."""
    return n % DROPPED_EVERY != DROPPED_AT


def make_lines(source: str, begin: int, end: int) -> bytes:
    """A source's lines of these numbers."""
    return b"".join(
        b'{"source":"%s","n":%d,"source_namespace":"%s","dest_namespace":"web"}\n'
        % (source.encode(), n, b"prod" if is_kept(n) else b"dev")
        for n in range(begin, end)
    )


@dataclass
class Ledger:
    """What has come of each source. `wrong` describes what should not be; `holes` are runs of numbers that did not
    come, for `settle` to judge."""

    counts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubled: int = 0
    lost: int = 0
    holes: dict[str, list[Chunk]] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)

    @property
    def lines(self) -> int:
        """Lines that have come."""
        return sum(self.counts.values())

    def enter(self, lines: bytes) -> None:
        """Takes lines that have come into account, in the order in which they came."""
        for line in lines.splitlines():
            found = _LINE.match(line)
            if found is None:
                self._note(f"a line of nobody: {line[:80]!r}")
                continue
            source, n = found[1].decode(), int(found[2])
            self.counts[source] = self.counts.get(source, 0) + 1
            expected = self._next.get(source, 0)
            if not is_kept(n):
                self._note(f"{source} {n} should have been dropped")
            elif n < expected:
                self.doubled += 1
                self._note(f"{source} {n} came again, {expected} was next")
            elif any(is_kept(number) for number in range(expected, n)):
                self.holes.setdefault(source, []).append((expected, n))
            self._next[source] = max(expected, n + 1)

    def settle(self, source: str, end: int, doubtful: Iterable[Chunk]) -> None:
        """Everything of a source has come that will: `end` were handed over, of the `doubtful` chunks nobody knows."""
        last = self._next.get(source, 0)
        holes = [*self.holes.pop(source, []), *([(last, end)] if last < end else [])]
        forgiven = set(doubtful)
        for begin, stop in holes:
            missing = [n for n in range(begin, stop) if is_kept(n)]
            for first, after in forgiven:
                chunk = [n for n in range(first, after) if is_kept(n)]
                if chunk and set(chunk) <= set(missing):  # whole chunks only: a part of one would be a loss
                    missing = [n for n in missing if not first <= n < after]
            if missing:
                self.lost += len(missing)
                self._note(f"{source}: {len(missing)} lines did not come, from {missing[0]} to {missing[-1]}")

    def _note(self, what: str) -> None:
        if len(self.wrong) < NOTED_MAX:
            self.wrong.append(what)
