"""Counters of the daemon: what came, what was refused, and why.

Names follow one rule, `flowd_<name>_<unit>_total`, and a loss always carries its reason as a label. Each Counters has
one writing thread; anyone may read.
"""

from __future__ import annotations

from collections import defaultdict

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Whole numbers that only grow, by name and labels."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, Labels], int] = defaultdict(int)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Counts; a counter begins to exist with its first count."""
        self._values[name, tuple(labels.items())] += amount

    def get(self, name: str, **labels: str) -> int:
        """What was counted so far."""
        return self._values.get((name, tuple(labels.items())), 0)

    def snapshot(self) -> dict[str, int]:
        """All counters, written as Prometheus writes them: `name{label="value"}`."""
        return {render_name(name, labels): value for (name, labels), value in self._values.copy().items()}


def render_name(name: str, labels: Labels) -> str:
    """A counter's name with its labels."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels) + "}"
