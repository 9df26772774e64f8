"""What the thread that serves consumers needs of where they come in: messages with their peer, and a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import zmq

    from flowd.wire import Header, Message


class Door(Protocol):
    """A socket's Reception, or the Inside of the daemon's own sinks.

    `heard_key` is the key of the last message's peer. Who comes in where `is_inside` is set is in this process: lines
    are handed to it as they are.
    """

    is_inside: bool
    heard_key: str

    def receive(self, now_s: float) -> tuple[bytes, Message[Header]] | None:
        """The next message that waits."""

    def blame(self, peer: bytes, reason: str, now_s: float) -> None:
        """Counts a message that made no sense."""

    def may_hear(self, key: str, stream: str) -> bool:
        """Whether the holder of this key may be sent the stream now."""

    def reply(self, peer: bytes, header: Header) -> None:
        """Answers; counts what did not go."""

    def send(self, peer: bytes, header: Header, lines: bytes | zmq.Frame | None = None) -> str:
        """Sends, without waiting: "" where it went, else why not: the peer is `gone`, or its queue `full`."""
