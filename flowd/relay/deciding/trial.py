"""What new filters would change, before they decide anything: which rules come and go, and how a stream's recent lines
would fare.

Trying is not counted as deciding: a comparison works on twins of the filter sets.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from flowd.comparison import Change, Comparison
from flowd.explanation import VERDICTS
from flowd.relay.answers import cut_text, take_fitting

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.relay.deciding.streams import Stream

LEAST_LINES = 32
"""A share of fewer lines says too little to refuse anything."""
RULES_SHOWN = 20
"""Rules named of those that come, and of those that go; there may be thousands."""
CHANGES_SHOWN = 10
"""Pairs of rules told of those that decide recent lines otherwise."""
EXAMPLES_SHOWN = 2
EXAMPLE_BYTES = 384
"""A glimpse of a line, of a rule, or of its name."""


class Trial(NamedTuple):
    """A stream's outlook: its rules after the change, and what was and would be dropped of its recent lines."""

    rules: int
    come: list[str]
    gone: list[str]
    sampled_lines: int
    dropped_lines: int
    would_drop_lines: int
    newly_dropped_lines: int
    newly_kept_lines: int
    changes: list[Change]

    @property
    def extra_drop(self) -> float:
        """The share of recent lines that would be dropped in addition; 0 where too few are known."""
        if self.sampled_lines < LEAST_LINES:
            return 0.0
        return (self.would_drop_lines - self.dropped_lines) / self.sampled_lines

    def describe(self, room_bytes: int) -> dict[str, Any]:
        """As plain data that fits: the changes of what is decided come first, then the rules."""
        changes = take_fitting(map(_describe_change, self.changes[:CHANGES_SHOWN]), room_bytes // 2)
        come, gone = (
            take_fitting((cut_text(rule, EXAMPLE_BYTES) for rule in rules[:RULES_SHOWN]), room_bytes // 5)
            for rules in (self.come, self.gone)
        )
        return {
            "rules": self.rules,
            "rules_come": len(self.come),
            "rules_gone": len(self.gone),
            "come": come,
            "gone": gone,
            "sampled_lines": self.sampled_lines,
            "dropped_lines": self.dropped_lines,
            "would_drop_lines": self.would_drop_lines,
            "newly_dropped_lines": self.newly_dropped_lines,
            "newly_kept_lines": self.newly_kept_lines,
            "changes": changes,
            "more_changes": len(self.changes) - len(changes),
        }


def try_filters(stream: Stream, candidate: FilterSet) -> Trial:
    """Compares what a stream has loaded with what it would get."""
    loaded = stream.loaded
    sampled = stream.sample.lines()
    comparison = Comparison(loaded, candidate, examples=EXAMPLES_SHOWN, few_lines=True)
    comparison.add(b"".join(sampled))
    before, after = _describe_rules(loaded), _describe_rules(candidate)
    return Trial(
        rules=len(candidate.rules),
        come=sorted((after - before).elements()),
        gone=sorted((before - after).elements()),
        sampled_lines=len(sampled),
        dropped_lines=comparison.old_dropped.lines,
        would_drop_lines=comparison.new_dropped.lines,
        newly_dropped_lines=comparison.total("newly dropped").lines,
        newly_kept_lines=comparison.total("newly kept").lines,
        changes=comparison.changes,
    )


def _describe_change(change: Change) -> dict[str, Any]:
    """A pair of rules with its lines; of the examples as much as may be told, as text."""
    return {
        "change": change.direction,
        "old_verdict": VERDICTS[change.old_verdict],
        "old_rule": cut_text(change.old_rule, EXAMPLE_BYTES),
        "new_verdict": VERDICTS[change.new_verdict],
        "new_rule": cut_text(change.new_rule, EXAMPLE_BYTES),
        "lines": change.lines,
        "examples": [example[:EXAMPLE_BYTES].decode("utf-8", "replace") for example in change.examples],
    }


def _describe_rules(filter_set: FilterSet) -> Counter[str]:
    return Counter(
        f"{rule.kind} {rule.field} {rule.pattern}" + (" (in a group)" if rule.group else "")
        for rule in filter_set.rules
    )
