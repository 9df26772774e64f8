"""What an administrator asks of the journal and its consumers: list, reset, delete; how full, and make room."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from flowd.errors import FlowdError
from flowd.relay.answers import take_page
from flowd.relay.consume.jobs import ResetJob
from flowd.relay.consume.lane import ConsumeLane
from flowd.relay.journal.layout import Cursor, StreamRow
from flowd.relay.journal.outbox import Job, Outbox
from flowd.relay.journal.reading import Reading
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import Retired, Transaction
from flowd.relay.journal.writer import FAILED, Writer

Name = tuple[str, str]
"""A cursor's: its consumer, and its stream."""
ANSWER_S = 30.0
"""How long the journal may take for one of these."""


class Administration:
    """The operations `consumers` and `journal` of the admin lane. Raises FlowdError to say no."""

    def __init__(self, store: Store, writer: Writer, lane: ConsumeLane) -> None:
        self._store = store
        self._writer = writer
        self._lane = lane

    def consumers(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`do`: `list` (or nothing; a page of those `after` a consumer and stream), `reset` (`consumer`, `stream`;
        `to`: oldest, newest, a sequence), `delete`."""
        what = arguments.get("do", "list")
        if what == "list":
            return self._list(_read_after(arguments))
        if what not in ("reset", "delete"):
            raise FlowdError(f"do is {what!r}"[:200], hint="it is list, reset or delete")
        consumer, stream = (_read_text(arguments, name) for name in ("consumer", "stream"))
        moved = self._find_place(stream, arguments.get("to")) if what == "reset" else None
        job = ResetJob(Outbox(_Done()), consumer, stream, moved)
        self._perform(job)
        if not job.is_known:
            raise FlowdError(
                f"consumer {consumer!r} has no cursor in {stream!r}", hint="`flowd consumers` lists those that have one"
            )
        self._lane.tasks.run(lambda: self._lane.consumers.fence(consumer, stream))
        return {"consumer": consumer, "stream": stream, "next": moved[0] + 1 if moved is not None else None}

    def journal(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`do`: `stat` (or nothing), or `trim` to at most `bytes`."""
        what = arguments.get("do", "stat")
        retired = Retired()
        if what == "trim":
            size_bytes = arguments.get("bytes")
            if not isinstance(size_bytes, int) or isinstance(size_bytes, bool) or size_bytes < 0:
                raise FlowdError(f"bytes is {size_bytes!r}"[:200], hint="give how many bytes may stay, as a number")
            retired = self._trim(size_bytes)
        elif what != "stat":
            raise FlowdError(f"do is {what!r}"[:200], hint="it is stat or trim")
        return {
            **self._store.stat()._asdict(),
            "retired_batches": retired.batches,
            "retired_lines": retired.lines,
            "streams": {
                name: {"oldest": row.oldest, "next": row.next, "lines": row.lines}
                for name, row in self._store.streams().items()
            },
        }

    def _trim(self, size_bytes: int) -> Retired:
        """In pieces, so that batches get between them."""
        total = Retired()
        while True:
            job = _TrimJob(size_bytes)
            self._perform(job)
            total = Retired(total.batches + job.retired.batches, total.lines + job.retired.lines)
            if not job.retired.batches:
                return total

    def _list(self, after: Name) -> dict[str, Any]:
        """By name and stream, those after this one, as many as fit, and `next`: after which to go on."""
        with self._store.read() as reading:
            cursors = reading.cursors()
            rows = self._store.streams()
            described = self._lane.consumers.describe()
            attached = {(one["consumer"], one["stream"]): one for one in described if one["consumer"]}
            now_ns = self._store.clock.now_ns()
            names = sorted(name for name in cursors.keys() | attached.keys() if name > after)

            def describe(at: int) -> dict[str, Any]:
                cursor, row = cursors.get(names[at]), rows.get(names[at][1], StreamRow(0))
                told = _describe_cursor(names[at], cursor, row, attached.get(names[at]))
                return {**told, "lag_s": _find_lag_s(reading, row, told["next"], now_ns)}

            page = take_page(describe, len(names), 0)
        return {"consumers": page.items, "next": None if page.next is None else list(names[page.next - 1])}

    def _find_place(self, stream: str, to: object) -> tuple[int, int]:
        """The last sequence before the place to go to, and the lines up to there."""
        row = self._store.stream(stream)
        if row is None:
            raise FlowdError(f"there is no stream {stream!r}", hint="`flowd status` lists the streams")
        if to in ("oldest", "newest"):
            sequence = (row.oldest if to == "oldest" else row.next) - 1
        elif isinstance(to, int) and not isinstance(to, bool) and 1 <= to <= row.next:
            sequence = to - 1
        else:
            hint = f"it is oldest, newest, or the next sequence, up to {row.next}"
            raise FlowdError(f"to is {to!r}"[:200], hint=hint)
        with self._store.read() as reading:
            lines = reading.lines_before(row, sequence + 1)
        return sequence, lines or 0

    def _perform(self, job: Job) -> None:
        """Has the journal do a job, and waits for it."""
        self._writer.submit(job)
        done = job.outbox.wake
        assert isinstance(done, _Done)
        done.is_rung.wait(ANSWER_S)
        settled = job.outbox.take()
        if settled is None:
            raise FlowdError("the journal does not answer", hint="`flowd status` says how it is")
        if settled.refusal == FAILED:
            raise FlowdError("the journal has failed, and the daemon ends", hint="see its log")
        if settled.refusal:
            raise FlowdError("the journal has no room", hint="make room on the disk")


class _Done:
    """A bell that an administrator waits for."""

    def __init__(self) -> None:
        self.is_rung = threading.Event()

    def ring(self) -> None:
        """It is done."""
        self.is_rung.set()


class _TrimJob:
    """Retires the oldest batches until no more than so many bytes are used."""

    size_bytes = 0
    is_patient = False
    is_small = False

    def __init__(self, most_bytes: int) -> None:
        self.outbox = Outbox(_Done())
        self.term = 0
        self.retired = Retired()
        self._most_bytes = most_bytes

    def write(self, transaction: Transaction) -> None:
        """Retires a transaction's worth."""
        self.retired = transaction.retire(self._most_bytes, 1 << 62)


def _describe_cursor(
    name: Name, cursor: Cursor | None, row: StreamRow, attached: dict[str, Any] | None
) -> dict[str, Any]:
    consumer, stream = name
    place = cursor.sequence + 1 if cursor is not None and cursor.sequence is not None else None
    lines = cursor.lines if cursor is not None and place is not None else None
    return {
        "consumer": consumer,
        "stream": stream,
        "next": place,
        "lag_batches": max(0, row.next - (place if place is not None else row.oldest)),
        "lag_lines": None if lines is None else max(0, row.lines - lines),
        "gone_batches": 0 if place is None else max(0, row.oldest - place),
        "committed_ns": cursor.time_ns if cursor is not None and place is not None else None,
        "generation": cursor.generation if cursor is not None else 0,
        "attached": attached,
    }


def _find_lag_s(reading: Reading, row: StreamRow, place: int | None, now_ns: int) -> float | None:
    """For how long the first batch that is not committed has been stored, 0 where all is; None where that is not
    known, as for who has no place yet."""
    if place is None:
        return None
    if place >= row.next:
        return 0.0
    age_ns = reading.age_of(row, max(place, row.oldest))
    return max(0.0, (now_ns - age_ns) / 1e9) if age_ns else None


def _read_after(arguments: Mapping[str, Any]) -> Name:
    value = arguments.get("after")
    if value is None:
        return "", ""
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise FlowdError(f"after is {value!r}"[:200], hint="give after as the answer before had it in `next`")
    return value[0], value[1]


def _read_text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise FlowdError(f"{name} is {value!r}"[:200], hint=f"give the {name}'s name")
    return value
