"""Runs of lines cut into batches: where to cut, and the batch that is still open.

Everything here is plain and belongs to one lock; nothing knows of sockets or time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from flowd.errors import LineTooLong
from flowd.wire import Buffer
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES, PAYLOAD_MAX_BYTES


@dataclass(slots=True)
class Outgoing:
    """A batch on its way: whole lines of one stream. `sequence` and `crc` are 0 until it is first sent. `start` and
    `end` are its place in the spool, where there is one: no other lines of the stream lie between them."""

    stream: str
    payload: Buffer
    lines: int
    sequence: int = 0
    crc: int = 0
    start: int = 0
    end: int = 0


def whole_lines(lines: Buffer) -> bytes:
    """The same bytes, immutable, with the newline that the last line may lack. Copies only where it must."""
    owned = lines if isinstance(lines, bytes) else bytes(lines)
    return owned if not owned or owned.endswith(b"\n") else owned + b"\n"


def cut_lines(lines: bytes, first_bytes: int = BATCH_BYTES) -> Iterator[tuple[int, int]]:
    """The places (start, end) of runs of whole lines of at most BATCH_BYTES, the first of at most `first_bytes`.

    A line that is longer makes a run of its own. `lines` ends in a newline. The first run is empty where its first line
    does not fit into `first_bytes`. Raises LineTooLong for a line that no batch can hold.
    """
    start = 0
    room = first_bytes
    while start < len(lines):
        end = len(lines) if len(lines) - start <= room else lines.rfind(b"\n", start, start + room) + 1
        if end == 0 and room == BATCH_BYTES:
            end = lines.find(b"\n", start + room) + 1
        elif end == 0:
            end = start
        if end - start > PAYLOAD_MAX_BYTES:
            raise LineTooLong(
                f"a line of {end - start - 1} bytes at byte {start} is longer than {LINE_MAX_BYTES} bytes",
                hint="shorten the line or leave it out",
            )
        yield start, end
        start = end
        room = BATCH_BYTES


@dataclass(slots=True)
class OpenBatch:
    """The lines of a stream that wait for more before they are sent; `due_ns` is when they wait no longer. `start` and
    `end` as in Outgoing."""

    stream: str
    due_ns: int
    start: int = 0
    chunks: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    lines: int = 0
    end: int = 0

    def append(self, chunk: bytes, lines: int, end: int = 0) -> None:
        """Adds whole lines, which end at this place in the spool."""
        self.chunks.append(chunk)
        self.size_bytes += len(chunk)
        self.lines += lines
        self.end = end

    def seal(self) -> Outgoing:
        """The batch that these lines make."""
        payload = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        return Outgoing(self.stream, payload, self.lines, start=self.start, end=self.end)
