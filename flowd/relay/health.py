"""How the daemon is: `ok`, `degraded` with its reasons, `draining`, or `ended`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STANDSTILL_S = 60.0
"""A loop that has not turned for so long does not come back by itself: as WatchdogSec of the systemd unit."""


def is_live(health: Mapping[str, Any]) -> bool:
    """Whether a restart would not help: the loop that carries lines runs, and has turned of late."""
    turned_ago_s: float = health["turned_ago_s"]
    return health["state"] != "ended" and turned_ago_s < STANDSTILL_S


def is_ready(health: Mapping[str, Any]) -> bool:
    """Whether lines are carried, as configured or not: `ok` and `degraded`."""
    return health["state"] in ("ok", "degraded")


class Health:
    """The reasons for which the daemon serves less than it should, by what they concern. Any thread may call."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def degrade(self, concern: str, reason: str) -> None:
        """Something is not served as configured; `restore` with the same concern takes it back."""
        self._reasons[concern] = reason

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
        """The state, and where it is degraded its reasons."""
        if is_draining:
            return {"state": "draining"}
        if not is_alive:
            return {"state": "ended"}
        reasons = self.reasons()
        return {"state": "degraded", "reasons": reasons} if reasons else {"state": "ok"}
