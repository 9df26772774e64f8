"""Between the source's thread and the one that carries lines: chunks that wait, bounded, in order for each stream."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from flowd.relay.journal.outbox import Bell

STREAM_BYTES = 1 << 20
"""What waits of one stream: four batches keep the other thread busy, and one that cannot be carried holds no more."""
TOTAL_BYTES = 4 << 20
"""What waits of all streams; one that has nothing there yet may always put one chunk."""

Places = tuple[tuple[bytes, bytes | None], ...]
"""What is to be stored with a chunk: keys and values, None to forget a key."""


class Advancing(Protocol):
    """A file of which lines are carried; `durable` is how far they are stored."""

    durable: int


class Chunk(NamedTuple):
    """Lines of one stream, with what is to be stored in the same transaction. Without lines it is only about places.

    `advances` says how far each file will have been stored then.
    """

    stream: str
    lines: bytes
    places: Places
    advances: tuple[tuple[Advancing, int], ...] = ()

    @property
    def size_bytes(self) -> int:
        """What it takes of the room."""
        return len(self.lines) + sum(len(value) for _, value in self.places if value is not None)

    def after(self, before: Chunk) -> Chunk:
        """This chunk, with the places of one without lines that came before it."""
        return self._replace(
            places=tuple({**dict(before.places), **dict(self.places)}.items()), advances=before.advances + self.advances
        )


class Handover:
    """The source puts, the lane takes. `bell` wakes the lane; `on_room` wakes a source that found no room."""

    def __init__(self, bell: Bell, on_room: Callable[[], None] = lambda: None) -> None:
        self._bell = bell
        self._on_room = on_room
        self._lock = threading.Lock()
        self._chunks: dict[str, deque[Chunk]] = {}
        self._waiting_bytes: dict[str, int] = {}
        self._is_wanted = False

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._chunks.values()))

    def has_room(self, stream: str) -> bool:
        """Whether a chunk of this stream may be put. Where not, `on_room` is called as soon as one was taken."""
        with self._lock:
            waiting = self._waiting_bytes.get(stream, 0)
            has_room = not waiting or (waiting < STREAM_BYTES and sum(self._waiting_bytes.values()) < TOTAL_BYTES)
            self._is_wanted |= not has_room
            return has_room

    def put(self, chunk: Chunk) -> None:
        """Adds a chunk."""
        with self._lock:
            self._chunks.setdefault(chunk.stream, deque()).append(chunk)
            self._waiting_bytes[chunk.stream] = self._waiting_bytes.get(chunk.stream, 0) + chunk.size_bytes
        self._bell.ring()

    def waiting(self) -> list[str]:
        """The streams of which chunks wait."""
        with self._lock:
            return list(self._chunks)

    def take(self, may_take: Callable[[Chunk], bool]) -> Chunk | None:
        """The oldest chunk of a stream whose next chunk may be taken, the streams in turns; None where there is none.

        What is only about places goes with the lines that follow it, where there are any.
        """
        with self._lock:
            for chunks in self._chunks.values():
                chunk, used, size_bytes = chunks[0], 1, chunks[0].size_bytes
                while not chunk.lines and used < len(chunks):
                    chunk = chunks[used].after(chunk)
                    size_bytes += chunks[used].size_bytes
                    used += 1
                if may_take(chunk):
                    break
            else:
                return None
            stream = chunk.stream
            for _ in range(used):
                chunks.popleft()
            self._waiting_bytes[stream] -= size_bytes
            del self._chunks[stream]
            if chunks:
                self._chunks[stream] = chunks  # to the end: the others' turn
            is_wanted, self._is_wanted = self._is_wanted, False
        if is_wanted:
            self._on_room()
        return chunk
