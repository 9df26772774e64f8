"""How much of what was received may lie in memory: what waits to be stored, and what has come of unfinished messages.

Where there is no room, nothing more is read, and senders wait. For the source's thread.
"""

from __future__ import annotations

from typing import Protocol

ROOM_BYTES = 64 << 20
"""Beside the largest message: enough that senders and the thread that carries lines do not wait for each other."""
SENDER_BYTES = 16 << 20
"""What may wait of one sender: others are to have room, too."""
STALLED_S = 5.0
"""Of a connection whose unfinished message takes the last room, how long nothing may have come."""


class Tenant(Protocol):
    """Who has something in memory."""

    heard_s: float

    @property
    def partial_bytes(self) -> int:
        """In how much of a buffer its unfinished message is."""

    def go_on(self) -> None:
        """There may be room again."""

    def give_up(self, reason: str) -> None:
        """It is in the way, and must go."""


class Room:
    """See the module. `waiting_bytes` were handed over and are not stored, `partial_bytes` are in unfinished messages'
    buffers."""

    def __init__(self, largest_bytes: int) -> None:
        self.waiting_bytes = 0
        self.partial_bytes = 0
        self._most_bytes = ROOM_BYTES + largest_bytes
        self._paused: dict[Tenant, None] = {}

    @property
    def is_short(self) -> bool:
        """Whether nothing more should be read."""
        return self.waiting_bytes + self.partial_bytes >= self._most_bytes

    @property
    def is_ample(self) -> bool:
        """Whether a message may have its room before it has come."""
        return (self.waiting_bytes + self.partial_bytes) * 2 < self._most_bytes

    @property
    def paused(self) -> int:
        """How many wait for room."""
        return len(self._paused)

    def wait(self, tenant: Tenant) -> None:
        """This one is told when there may be room."""
        self._paused[tenant] = None

    def forget(self, tenant: Tenant) -> None:
        """This one is gone."""
        self._paused.pop(tenant, None)

    def wake(self) -> None:
        """Tells those who wait to look again: who still finds none, waits again, behind the others."""
        waiting = list(self._paused)
        self._paused.clear()
        for tenant in waiting:
            tenant.go_on()

    def clear(self, tenants: list[Tenant], now_s: float) -> None:
        """Where unfinished messages alone take all room, so that none of them can be finished: those go of which
        nothing has come for a while, or the one of which nothing has come for longest."""
        if not self.is_short or self.waiting_bytes:
            return
        unfinished = sorted((each for each in tenants if each.partial_bytes), key=lambda each: each.heard_s)
        stalled = [each for each in unfinished if now_s - each.heard_s >= STALLED_S]
        for each in stalled or unfinished[:1]:
            each.give_up("memory")
