"""Counters of the daemon: what came, what was refused, and why.

Names follow one rule, `flowd_<name>_<unit>_total`, and a loss always carries its reason as a label; each name has its
line in flowd/relay/catalogue.py. Each Counters has one writing thread; anyone may read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
"""A metric's name, and labels with their values."""


class Counters:
    """Whole numbers that only grow, by name and labels."""

    def __init__(self) -> None:
        self._values: defaultdict[Series, int] = defaultdict(int)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Counts; a counter begins to exist with its first count."""
        self._values[name, tuple(labels.items())] += amount

    def get(self, name: str, **labels: str) -> int:
        """What was counted so far."""
        return self._values.get((name, tuple(labels.items())), 0)

    def values(self) -> dict[Series, int]:
        """All counters, as of this moment."""
        return dict(self._values.copy())

    def snapshot(self) -> dict[str, int]:
        """All counters, written as Prometheus writes them: `name{label="value"}`."""
        return {render_name(*series): value for series, value in self.values().items()}


def sum_up(several: Iterable[Counters]) -> dict[Series, int]:
    """What all of these have counted together."""
    found: Counter[Series] = Counter()
    for counters in several:
        found.update(counters.values())
    return dict(found)


def render_name(name: str, labels: Labels) -> str:
    """A counter's name with its labels."""
    if not labels:
        return name
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in labels) + "}"
