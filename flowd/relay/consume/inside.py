"""Where the daemon's own sinks come in as consumers: messages handed from thread to thread, through no socket.

What they say and are told is what any consumer says and is told, in the same order; but nothing is packed, no line is
copied for it, and no checksum is made of what never leaves the process. What waits for a sink is bounded by its credit,
as everything else is an answer to something that it said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from flowd.relay.metrics import Counters
from flowd.wire import Batch, Header, Message

if TYPE_CHECKING:
    import zmq

LANE = "consume"


class Inside:
    """A Door for the thread that serves consumers, and for sinks the maker of their links: `link` is for any thread.

    `wake` ends the waiting of the thread that serves.
    """

    is_inside = True

    def __init__(self, wake: Callable[[], None], counters: Counters) -> None:
        self.heard_key = ""
        self._wake = wake
        self._counters = counters
        self._said: deque[tuple[bytes, Message[Header]]] = deque()
        self._links: dict[bytes, InsideLink] = {}
        self._numbers = count(1)

    def link(self, endpoint: str) -> InsideLink:
        """A way in for one consumer, not open yet; `endpoint` is what it is called before people."""
        return InsideLink(self, endpoint)

    def receive(self, now_s: float) -> tuple[bytes, Message[Header]] | None:  # noqa: ARG002
        """See Door."""
        return self._said.popleft() if self._said else None

    def blame(self, peer: bytes, reason: str, now_s: float) -> None:  # noqa: ARG002
        """See Door."""
        self._counters.add("flowd_malformed_messages_total", lane=LANE, reason=reason)

    def may_hear(self, key: str, stream: str) -> bool:  # noqa: ARG002
        """See Door."""
        return True

    def reply(self, peer: bytes, header: Header) -> None:
        """See Door."""
        outcome = self.send(peer, header)
        if outcome:
            self._counters.add("flowd_undelivered_replies_total", lane=LANE, reason=outcome)

    def send(self, peer: bytes, header: Header, lines: bytes | zmq.Frame | None = None) -> str:
        """See Door."""
        link = self._links.get(peer)
        if link is None:
            return "gone"
        assert lines is None or isinstance(lines, bytes), "what goes inside is no frame"
        link.deliver(Message(header, 0, lines or b""))
        return ""

    def enter(self, link: InsideLink) -> bytes:
        """A link is opened: who it is until it leaves."""
        peer = b"%d" % next(self._numbers)
        self._links[peer] = link
        return peer

    def leave(self, peer: bytes) -> None:
        """It is closed: what is sent to it from now on goes nowhere."""
        self._links.pop(peer, None)

    def hear(self, peer: bytes, header: Header) -> None:
        """A link says something."""
        self._said.append((peer, Message(header, 0, b"")))
        self._wake()


class InsideLink:
    """A sink's end: see flowd.client.connection.Connection. For one thread, which `on_arrival` wakes: the thread that
    serves calls it, whenever something has come, and it must return at once."""

    malformed = 0

    def __init__(self, inside: Inside, endpoint: str) -> None:
        self.endpoint = endpoint
        self.on_arrival: Callable[[], None] = _ignore
        self._inside = inside
        self._peer = b""
        self._arrived: SimpleQueue[Message[Header]] = SimpleQueue()

    @property
    def is_open(self) -> bool:
        """Whether the other end knows it."""
        return bool(self._peer)

    def open(self) -> None:
        """Begins as somebody new: what came for who it was before is forgotten."""
        self.close()
        self._arrived = SimpleQueue()
        self._peer = self._inside.enter(self)

    def close(self) -> None:
        """May be called twice."""
        if self._peer:
            self._inside.leave(self._peer)
            self._peer = b""

    def say(self, header: Header, linger_ms: int = 0) -> bool:  # noqa: ARG002
        """Says it; there is always room."""
        self._inside.hear(self._peer, header)
        return True

    def hear(self, wait_s: float) -> Message[Header] | None:
        """The next message; None where none came in this time."""
        try:
            return self._arrived.get(wait_s > 0, wait_s)
        except Empty:
            return None

    def deliver(self, message: Message[Header]) -> None:
        """Something comes. Called by the thread that serves."""
        self._arrived.put(message)
        self.on_arrival()

    @staticmethod
    def open_lines(header: Batch, message: Message[Header]) -> bytes:  # noqa: ARG004
        """The lines of a batch, as they were taken from the journal."""
        lines = message.payload
        assert isinstance(lines, bytes), "lines are handed over as they are"
        return lines


def _ignore() -> None:
    """Nobody waits yet."""
