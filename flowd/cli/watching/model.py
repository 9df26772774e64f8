"""What the live view of `flowd top` knows: the last rates, how they went, what the keys have changed. No drawing."""

from __future__ import annotations

from collections import deque
from typing import Any

from flowd.cli.watching.rates import Look, measure
from flowd.cli.watching.tables import SORTS
from flowd.errors import FlowdError

HISTORY = 300
"""Rates remembered of each stream and rule: five minutes of seconds, more than a terminal is wide."""
KEYS_HELP = "q quit   p pause   s sort   up down scroll   ? help"
HELP = (
    "q         quit",
    "p, space  pause, and go on",
    "s         sort the rules otherwise: " + ", ".join(SORTS),
    "up, down  scroll the rules; also k and j, page up and page down, and home",
    "?, h      this help, and back",
    "",
    "Rates are those of the last interval; - where they are not known, as a",
    "rule's after a reload. The newest rate of a trend stands last; each trend",
    "is scaled to the largest rate in it. LAG is what is stored and not",
    "committed, in batches; LAG BYTES is an estimate by the stream's mean line;",
    "BEHIND is for how long the first of these batches has been stored.",
)

Key = tuple[str, ...]


class Model:
    """Belongs to one thread."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.first_rule = 0
        self.is_paused = False
        self.is_helping = False
        self.lost = ""
        """Why the daemon is not heard, where it is not."""
        self.restarts = 0
        self.rates: dict[str, Any] | None = None
        self._before: Look | None = None
        self._past: dict[Key, deque[float | None]] = {}

    def hear(self, found: Look | FlowdError, now_ns: int) -> None:
        """A look at the daemon, or why there was none."""
        if isinstance(found, FlowdError):
            self.lost = found.message
            if not self.is_paused:
                for past in self._past.values():
                    past.append(None)
            return
        self.lost = ""
        before, self._before = self._before, found
        if before is None:
            return
        rates = measure(before, found, now_ns)
        self.restarts += rates["is_restarted"]
        if not self.is_paused:
            self.rates = rates
            self._remember(rates)

    def trend(self, key: Key) -> list[float | None]:
        """The last rates of a stream, `(stream,)`, of what is dropped of it, `(stream, "", "dropped")`, or of a rule,
        `(stream, rule)`: oldest first."""
        return list(self._past.get(key, ()))

    def press(self, key: str) -> bool:
        """What a key does; False where it ends the view."""
        if key in ("q", "Q"):
            return False
        if key in ("p", " "):
            self.is_paused = not self.is_paused
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            self.first_rule = 0
        elif key in ("?", "h"):
            self.is_helping = not self.is_helping
        elif key in _STEPS:
            most = max(0, len(self.rates["rules"]) - 1) if self.rates is not None else 0
            self.first_rule = min(most, max(0, self.first_rule + _STEPS[key]))
        elif key == "home":
            self.first_rule = 0
        return True

    def _remember(self, rates: dict[str, Any]) -> None:
        now: dict[Key, float | None] = {}
        for one in rates["streams"]:
            now[one["stream"],] = one["lines_per_s"]
            now[one["stream"], "", "dropped"] = one["dropped_lines_per_s"]
        for rule in rates["rules"]:
            now[rule["stream"], rule["rule"]] = rule["lines_per_s"]
        # What is no more is forgotten: rules come and go with each reload.
        self._past = {key: self._past.get(key) or deque(maxlen=HISTORY) for key in now}
        for key, rate in now.items():
            self._past[key].append(rate)


_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10}
