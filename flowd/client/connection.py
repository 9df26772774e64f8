"""What a consumer's conversation with a daemon needs of whatever carries it."""

from __future__ import annotations

from typing import Protocol

from flowd.wire import Batch, Header, Message


class Connection(Protocol):
    """What a conversation is held over: flowd.client.link.Link, or what the daemon's own sinks have instead."""

    @property
    def endpoint(self) -> str:
        """Who is spoken to, for people."""

    @property
    def is_open(self) -> bool: ...

    @property
    def malformed(self) -> int:
        """Messages that were skipped, since they were none of FLW/1."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def say(self, header: Header, linger_ms: int = 0) -> bool:
        """Sends a message; False where there is no room for it now."""

    def hear(self, wait_s: float) -> Message[Header] | None:
        """The next message; None where none came in this time. Raises LinkBroken, and Refused."""

    def open_lines(self, header: Batch, message: Message[Header]) -> bytes:
        """The lines of a batch. Raises WireError where they are not what was sent."""
