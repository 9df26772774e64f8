"""How the daemon is: `ok`, `degraded` with its reasons, `draining`, or `ended`."""

from __future__ import annotations

from typing import Any


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
