"""What new filters would change, before they decide anything: which rules come and go, and how a stream's recent lines
would fare.

Works on twins of the filter sets, so that trying is not counted as deciding.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flowd.filterset import FilterSet
    from flowd.relay.deciding.streams import Stream

LEAST_LINES = 32
"""A share of fewer lines says too little to refuse anything."""
RULES_SHOWN = 20
"""Rules named of those that come, and of those that go; there may be thousands."""


class Trial(NamedTuple):
    """A stream's outlook: its rules after the change, and what was and would be dropped of its recent lines."""

    rules: int
    come: list[str]
    gone: list[str]
    sampled_lines: int
    dropped_lines: int
    would_drop_lines: int

    @property
    def extra_drop(self) -> float:
        """The share of recent lines that would be dropped in addition; 0 where too few are known."""
        if self.sampled_lines < LEAST_LINES:
            return 0.0
        return (self.would_drop_lines - self.dropped_lines) / self.sampled_lines

    def describe(self) -> dict[str, Any]:
        """As plain data, bounded in size."""
        return {
            "rules": self.rules,
            "rules_come": len(self.come),
            "rules_gone": len(self.gone),
            "come": self.come[:RULES_SHOWN],
            "gone": self.gone[:RULES_SHOWN],
            "sampled_lines": self.sampled_lines,
            "dropped_lines": self.dropped_lines,
            "would_drop_lines": self.would_drop_lines,
        }


def try_filters(stream: Stream, candidate: FilterSet) -> Trial:
    """Compares what a stream has loaded with what it would get."""
    loaded = stream.loaded
    sampled = stream.sample.lines()
    lines = b"".join(sampled)
    before, after = _describe_rules(loaded), _describe_rules(candidate)
    return Trial(
        rules=len(candidate.rules),
        come=sorted((after - before).elements()),
        gone=sorted((before - after).elements()),
        sampled_lines=len(sampled),
        dropped_lines=loaded.twin().verdicts(lines).count(b"D"),
        would_drop_lines=candidate.twin().verdicts(lines).count(b"D"),
    )


def _describe_rules(filter_set: FilterSet) -> Counter[str]:
    return Counter(
        f"{rule.kind} {rule.field} {rule.pattern}" + (" (in a group)" if rule.group else "")
        for rule in filter_set.rules
    )
