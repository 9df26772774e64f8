"""Messages of the Fluent Forward protocol and the records in them, as the core sees them: places and JSON lines.

Nothing here makes a Python object of a record. What the protocol's words mean, and how a record is written, stands in
docs/forward.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from flowd import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

MalformedMessage = _core.MalformedMessage
"""What cannot be a message: `args` are why (`invalid`: no msgpack, or `too_large`) and at which of its bytes."""

MessageKind = Literal["other", "message", "forward", "packed", "compressed"]
PROBLEMS = _core.ENTRY_PROBLEMS
"""Why an entry gives no record: it is `truncated` or `invalid`, after which the rest of its run cannot be read, or its
`shape`, `time`, `record`, a `key` or its `depth` is not what it must be, and it alone is passed over."""


class Message(NamedTuple):
    """Where one message lies in the buffer that it was found in: first byte and end of each part.

    `kind` is `other` for what has no records (a heartbeat, a part of the handshake): only `end` counts then. The
    entries of `message` are one bare time and record; of `compressed` they are what the option says how to decompress.
    `entry_count` is their number where the message says it, else 0.
    """

    kind: MessageKind
    end: int
    tag: tuple[int, int]
    entries: tuple[int, int]
    option: tuple[int, int]
    entry_count: int

    @property
    def is_bare(self) -> bool:
        """Whether the entries are one without its list's header."""
        return self.kind == "message"


class MessageWalk:
    """Finds messages in a connection's bytes, walking each byte once however many pieces it comes in.

    A message of more than `most_bytes` is refused as soon as that is certain. Not for two threads at once.
    """

    __slots__ = ("_walker",)

    def __init__(self, most_bytes: int) -> None:
        self._walker = _core.MessageWalker(most_bytes)

    def find(self, buffer: Buffer, start: int = 0) -> Message | int:
        """The message that begins at `start`, or how many bytes more it needs at least.

        After a number, call again with more of the same message, which may lie elsewhere by then. Raises
        MalformedMessage; nobody knows then where the next message begins.
        """
        found = self._walker.walk(buffer, start)
        return found if isinstance(found, int) else Message(*found)  # type: ignore[arg-type]

    def reset(self) -> None:
        """Forgets the message under way."""
        self._walker.reset()


class RecordsRead(NamedTuple):
    """What was read of a run of entries: records, entries that gave none by their problem (those of PROBLEMS that
    occurred), Fluent Bit's marks of groups, which are neither, bytes at the end that were not read, and the earliest
    and the latest record's time (ns since 1970, 0 where there is no record)."""

    records: int
    malformed: int
    problems: dict[str, int]
    markers: int
    unread_bytes: int
    first_ns: int
    last_ns: int

    @property
    def is_lost(self) -> bool:
        """Whether what was not read cannot be: nobody knows where the next entry begins."""
        return "truncated" in self.problems or "invalid" in self.problems


class AppliedRecords(NamedTuple):
    """What FilterSet.apply_records did: the kept records as JSON lines, their number, matches that failed, and what
    was read."""

    kept: bytes
    kept_records: int
    errors: int
    read: RecordsRead


def read_figures(figures: tuple[int, tuple[int, ...], int, int, int, int]) -> RecordsRead:
    """The core's figures by their names."""
    records, counts, markers, unread_bytes, first_ns, last_ns = figures
    problems = {name: count for name, count in zip(PROBLEMS, counts, strict=True) if count}
    return RecordsRead(records, sum(counts), problems, markers, unread_bytes, first_ns, last_ns)


def write_records(
    entries: Buffer, *, time_key: str | None = None, is_bare: bool = False, most_bytes: int = 0
) -> tuple[bytes, RecordsRead]:
    """Every record of a run of entries as a compact JSON line, and what was read. Filtering these lines is what
    FilterSet.apply_records does, whose arguments these are."""
    key = None if time_key is None else time_key.encode()
    lines, figures = _core.write_records(entries, key, is_bare, most_bytes)
    return lines, read_figures(figures)
