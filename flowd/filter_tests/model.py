"""What a tests file says, as plain data, and what came of a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowd.filterset import Format

VERDICT_WORDS = {"keep": "K", "drop": "D", "malformed": "M", "error": "E"}
"""What `expect` may be, with the letters of FilterSet.verdicts."""
COUNTS = ("kept", "dropped", "malformed", "errors")
"""Lines that a test can count. `kept` are all that are not dropped, as `flowd filter` counts them."""


class FilterTest(NamedTuple):
    """One `[[test]]`: lines, and what is to become of them.

    The lines are in `lines`, with newlines, or in the file `sample` (empty: there is none). `expect` is the verdict
    that every line must have, a letter, or empty; `counts` says how many lines of each kind there must be; `rule` is
    what must decide every line, or empty. `rule_line` is where that is written.
    """

    file: str
    line: int
    name: str
    stream: str
    format: Format
    lines: bytes
    sample: str
    expect: str
    counts: dict[str, int]
    rule: str
    rule_line: int

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"


class Outcome(NamedTuple):
    """What came of a test: `failure` says what was expected and what came instead; empty where it passed."""

    test: FilterTest
    failure: str
    lines: int
    time_s: float

    @property
    def has_passed(self) -> bool:
        """Whether all was as expected."""
        return not self.failure


class Unreached(NamedTuple):
    """A rule, or a group as a whole, that decided no line of any test."""

    rule: str
    file: str
    line: int


@dataclass(slots=True)
class Tested:
    """The outcomes of one run, in the tests' order, and the rules that no test reached."""

    outcomes: list[Outcome] = field(default_factory=list)
    unreached: list[Unreached] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(outcome.has_passed for outcome in self.outcomes)

    @property
    def failed(self) -> int:
        """How many did not."""
        return len(self.outcomes) - self.passed
