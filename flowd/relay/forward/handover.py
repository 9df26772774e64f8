"""Between the thread that speaks Forward and the one that carries lines: messages that wait one way, and what became of
them the other way.

How much may wait is for the source to bound, which hears of each delivery when it is done with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from flowd.relay.journal.outbox import Bell


class Sender(Protocol):
    """Who sent a message, and wants to hear of it."""

    def acknowledge(self, ack: bytes) -> None:
        """Sends an acknowledgement, where it is still there."""

    def give_room(self, size_bytes: int) -> None:
        """So much of what it sent is not under way any more."""

    def flush(self) -> None:
        """That was all for now."""


class Delivery:
    """A message's entries for one stream; they are whole msgpack where `is_sound`, else nobody has looked yet.

    `waiters` are to be told when all of it is stored: senders, each with the acknowledgement that it is sent. `key` is
    what the chunk is remembered by, None where it is not. `size_bytes` is what it takes of the `owner`'s room until
    then.
    """

    __slots__ = ("entries", "is_sound", "is_stored", "key", "owner", "size_bytes", "stream", "waiters")

    def __init__(self, stream: str, entries: bytes | memoryview, owner: Sender, *, is_sound: bool) -> None:
        self.stream = stream
        self.entries = entries
        self.owner = owner
        self.is_sound = is_sound
        self.size_bytes = len(entries)
        self.key: bytes | None = None
        self.waiters: list[tuple[Sender, bytes]] = []
        self.is_stored = False


class Handover:
    """The source puts, the lane takes and gives back. `bell` wakes the lane; `on_done` wakes the source, and is called
    from the lane's thread: once until the source takes what was given back.

    Invariants:
    1. Both deques are for one thread to fill and one to empty.
    2. The source clears `_is_rung` before it takes, the lane sets it after it has added: so none is overlooked.
    """

    def __init__(self, bell: Bell, on_done: Callable[[], None]) -> None:
        self._bell = bell
        self._on_done = on_done
        self._waiting: deque[Delivery] = deque()
        self._done: deque[Delivery] = deque()
        self._is_rung = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Adds some, in their order."""
        self._waiting.extend(deliveries)
        self._bell.ring()

    def take(self) -> Delivery | None:
        """The oldest; None where none waits."""
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def put_back(self, delivery: Delivery) -> None:
        """Undoes a `take`: it stays the oldest."""
        self._waiting.appendleft(delivery)

    def give_back(self, deliveries: Sequence[Delivery], *, is_stored: bool) -> None:
        """These are done with: stored, or dropped."""
        for delivery in deliveries:
            delivery.is_stored = is_stored
        self._done.extend(deliveries)
        if not self._is_rung:
            self._is_rung = True
            self._on_done()

    def take_done(self) -> list[Delivery]:
        """All that were given back since the last call."""
        self._is_rung = False
        done = []
        while self._done:
            done.append(self._done.popleft())
        return done
