"""How the daemon is: `ok`, `degraded` with its reasons, `draining`, or `ended`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

STANDSTILL_S = 60.0
"""A loop that has not turned for so long does not come back by itself: as WatchdogSec of the systemd unit."""


RESTART_AFTER_S = 600.0
"""Whoever is up for so long is restarted for a thread that failed. Before that it is not: what fails again soon after
each start would end all that still works, over and over; so it does at most every ten minutes."""


def is_live(health: Mapping[str, Any]) -> bool:
    """Whether a restart would not help: the loop that carries lines runs, and has turned of late, and so does every
    other thread; where one has failed, and the daemon is young, a restart is not worth what it would cost."""
    turned_ago_s: float = health["turned_ago_s"]
    if health["state"] == "ended" or turned_ago_s >= STANDSTILL_S:
        return False
    up_s: float = health.get("up_s", 0.0)
    return not health.get("needs_restart") or up_s < RESTART_AFTER_S


def is_ready(health: Mapping[str, Any]) -> bool:
    """Whether lines are carried, as configured or not: `ok` and `degraded`."""
    return health["state"] in ("ok", "degraded")


class Health:
    """The reasons for which the daemon serves less than it should, by what they concern. Any thread may call."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._failed: set[str] = set()
        self._began_s = time.monotonic()

    def degrade(self, concern: str, reason: str) -> None:
        """Something is not served as configured; `restore` with the same concern takes it back."""
        self._reasons[concern] = reason

    def fail(self, concern: str, reason: str) -> None:
        """A thread has failed: nothing but a restart of the daemon brings back what this concerns."""
        self._reasons[concern] = f"{reason}; restart the daemon"
        self._failed.add(concern)

    def restore(self, concern: str) -> None:
        """What this concerned works again."""
        self._reasons.pop(concern, None)

    def reasons(self) -> list[str]:
        """What is wrong now, each with its concern."""
        return [f"{concern}: {reason}" for concern, reason in sorted(self._reasons.copy().items())]

    def concerns(self) -> list[str]:
        """What the reasons concern."""
        return sorted(self._reasons.copy())

    def describe(self, *, is_alive: bool, is_draining: bool) -> dict[str, Any]:
        """The state, and where it is degraded its reasons; where a thread has failed also what `needs_restart`, and
        for how long the daemon is up."""
        if is_draining:
            return {"state": "draining"}
        if not is_alive:
            return {"state": "ended"}
        reasons = self.reasons()
        if not reasons:
            return {"state": "ok"}
        told: dict[str, Any] = {"state": "degraded", "reasons": reasons}
        if self._failed:
            told |= {"needs_restart": sorted(self._failed), "up_s": round(time.monotonic() - self._began_s, 3)}
        return told
