"""Consumer: a stream from the daemon's journal, durable, by credit, with a cursor. Public API."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from flowd.client.batch import Batch
from flowd.client.link import Link
from flowd.client.pull import Pull, Wanted
from flowd.client.reader import Place, Reader
from flowd.errors import FlowdError, NotAcknowledged, Unreachable
from flowd.wire.jetstream import is_jetstream_url
from flowd.wire.keys import load_client_keys
from flowd.wire.limits import ID_BYTES, SEQUENCE_MAX, is_stream_name
from flowd.wire.sockets import check_endpoint

if TYPE_CHECKING:
    from flowd.jetstream.pull import JetStreamPull

CREDIT_BYTES = 4 << 20
CREDIT_BATCHES = 64
"""What may be under way: enough to keep a fast reader busy, and what it holds in memory at most."""
NUMBER_MAX = (1 << 63) - 1
"""What is said for more: no clock, no journal and no credit gets there."""
NAME_HINT = "use 1 to 128 of the characters A-Z a-z 0-9 . _ -"

Start = str | tuple[bytes, int]


class Consumer:
    """Reads a stream (or a view of it) from a daemon's consume socket: `for batch in consumer: …; consumer.commit()`.

    Nothing is lost to it that the journal holds: it goes on from its cursor, which `commit` moves, and which the
    daemon keeps under its `name`. A second consumer of a name takes its place: the first one raises Fenced. Without a
    name there is no cursor, and nothing to commit.

    `start` says where to begin: `cursor` (where there is none: the oldest batch, or the first one decided at `since_ns`
    or later, or the one with the n-th line from the end for `last_lines`), `oldest`, `newest`, or the (epoch, seq) of
    the first batch wanted. `until` is the last one wanted, or `newest`: what is stored when it attaches. Earlier it
    ends where nothing more is stored, and at once where `until` is of an epoch that is gone, or before the start.
    `view` names a view of the stream, `filter` is a filter of its own in `dialect` (None: recognised by its text).

    The connection is made at the first batch and made again for ever; a batch is never yielded twice by one Consumer.
    With `timeout_s`, iteration ends when no batch came for so long, and raises Unreachable where no daemon was there.
    What the journal does not have any more is told: `batch.missed` and `batch.gap`, and in all `missed_lines`. Batches
    of which nothing is kept are not yielded. Keys as for Producer. For one thread at a time.

    With `nats://HOST:4222/STREAM` (or `tls://`) it reads what the sinks of many nodes have put into a JetStream stream,
    each node's batches in their order. Then `secret_file` is a NATS credentials file, `view` names a view that a sink
    carries, and `filter` runs here.
    """

    def __init__(
        self,
        endpoint: str,
        name: str = "",
        stream: str = "flows",
        *,
        start: Start = "cursor",
        view: str | None = None,
        filter: str | None = None,
        dialect: str | None = None,
        until: Start | None = None,
        since_ns: int | None = None,
        last_lines: int | None = None,
        timeout_s: float | None = None,
        server_key: str | None = None,
        secret_file: str | os.PathLike[str] | None = None,
        credit_bytes: int = CREDIT_BYTES,
        credit_batches: int = CREDIT_BATCHES,
    ) -> None:
        is_jetstream = is_jetstream_url(endpoint)
        if not is_jetstream:
            check_endpoint(endpoint)
            keys = load_client_keys(endpoint, server_key, secret_file)
        for what, value in (("consumer", name), ("stream", stream), ("view", view)):
            if value and not is_stream_name(value):
                raise FlowdError(f"{what} {value!r} is no legal name", hint=NAME_HINT)
        if start not in ("cursor", "oldest", "newest") and not _is_place(start):
            raise FlowdError(f"start is {start!r}", hint="it is cursor, oldest, newest, or a batch's (epoch, seq)")
        if until is not None and until != "newest" and not _is_place(until):
            raise FlowdError(f"until is {until!r}", hint="it is newest, or a batch's (epoch, seq)")
        if view is not None and filter is not None:
            raise FlowdError("a view and a filter are given", hint="give one of them")
        if credit_bytes < 1 or credit_batches < 1:
            raise FlowdError("without credit nothing is sent", hint="give credit_bytes and credit_batches of 1 or more")
        self.endpoint = endpoint
        self.name = name
        self.stream = stream
        self.view = view or stream
        self.timeout_s = timeout_s
        wanted = Wanted(
            name,
            stream,
            start,
            view,
            filter,
            dialect,
            until,
            None if since_ns is None else min(max(0, since_ns), NUMBER_MAX),
            None if last_lines is None else min(last_lines, NUMBER_MAX),
            min(credit_bytes, NUMBER_MAX),
            min(credit_batches, NUMBER_MAX),
        )
        self._pull: Pull | JetStreamPull
        if is_jetstream:
            self._pull = _open_jetstream(endpoint, wanted, secret_file)
        else:
            self._pull = Pull(Link(endpoint, keys), wanted)
        self._reader = Reader(self._pull, name)

    @property
    def missed_lines(self) -> int:
        """All lines of the stream that were lost to this consumer so far, as far as their number is known."""
        return self._pull.missed_lines

    @property
    def missed_batches(self) -> int:
        """All batches that were lost to it."""
        return self._pull.missed_batches

    @property
    def taken_batches(self) -> int:
        """Batches that came so far, with those of which nothing was kept."""
        return self._pull.taken_batches

    @property
    def malformed(self) -> int:
        """Messages that were none of FLW/1, and were skipped."""
        return self._pull.malformed

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was stored lately has been yielded."""
        return self._pull.is_caught_up

    @property
    def position(self) -> tuple[bytes, int] | None:
        """The last batch taken, as (epoch, seq), with those without lines; before the first, the one before it."""
        return self._pull.position

    @property
    def began_at_oldest(self) -> bool:
        """Whether it was attached at the oldest batch that is stored."""
        return self._pull.began_at_oldest

    @property
    def is_done(self) -> bool:
        """Whether `until` is reached, and everything up to there yielded."""
        return self._pull.is_done

    @property
    def is_attached(self) -> bool:
        """Whether the daemon serves this consumer now."""
        return self._pull.is_attached

    def connect(self, timeout_s: float | None = None) -> None:
        """Connects, and returns when the daemon has attached this consumer. Raises Unreachable if that takes longer
        than `timeout_s` (by default the consumer's own), and Refused."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._pull.is_attached:
            if not self._pull.step(deadline_s):
                raise self.unreachable(timeout_s)

    def poll(self, timeout_s: float | None = None) -> Batch | None:
        """The next batch; None when none came within `timeout_s` (None: waits for ever), or `until` is reached.

        Raises Refused where the daemon will not serve this consumer, and Fenced."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            batch = self._reader.take()
            if batch is not None:
                return batch
            if self._pull.is_done or not self._pull.step(deadline_s):
                return None

    def commit(self, timeout_s: float | None = None, *, batch: Place | None = None) -> None:
        """Moves the cursor behind the batch yielded last, or behind `batch`, one that was yielded before; returns when
        that is stored.

        Blocks across restarts of the daemon. Raises NotAcknowledged if it takes longer than `timeout_s` (by default the
        consumer's own), and Fenced where another consumer has the name now.
        """
        wanted = self._reader.place_of(batch)
        if wanted is None or self._reader.is_committed(wanted):
            return
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._reader.move_cursor(wanted):
            if not self._pull.step(deadline_s):
                raise self.not_stored(timeout_s)

    def commit_soon(self, batch: Place) -> bool:
        """Has the cursor moved behind a batch that was yielded, without waiting; whether it stands there now.

        To be called again until it does, with the latest batch: what was asked of a daemon that ended is forgotten.
        """
        wanted = self._reader.place_of(batch)
        return wanted is None or self._reader.move_cursor(wanted)

    def close(self) -> None:
        """Ends the conversation; what was not committed comes again. May be called twice."""
        self._pull.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = self.poll(self.timeout_s)
        if batch is not None:
            return batch
        if not self._pull.is_done and not self._pull.is_attached:
            raise self.unreachable(self.timeout_s)
        raise StopIteration

    def __enter__(self) -> Consumer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def unreachable(self, timeout_s: float | None) -> Unreachable:
        """The error of a wait in which nobody attached this consumer."""
        words, hint = self._pull.absence(timeout_s)
        return Unreachable(words, hint=hint)

    def not_stored(self, timeout_s: float | None) -> NotAcknowledged:
        """The error of a `commit` that waited too long."""
        _, hint = self._pull.absence(timeout_s)
        words = f"{self._pull.title}: the cursor of {self.name!r} was not stored within {timeout_s} s"
        return NotAcknowledged(words, count=0, hint=hint)


def _is_place(value: object) -> bool:
    """Whether a value is the (epoch, seq) of a batch."""
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    epoch, seq = value
    return isinstance(epoch, bytes) and len(epoch) == ID_BYTES and isinstance(seq, int) and 0 <= seq <= SEQUENCE_MAX


def _open_jetstream(endpoint: str, wanted: Wanted, creds_file: str | os.PathLike[str] | None) -> JetStreamPull:
    if importlib.util.find_spec("nats") is None:
        raise FlowdError(f"{endpoint}: nats-py is not installed", hint="pip install 'flowd[nats]'")
    if creds_file is not None and importlib.util.find_spec("nkeys") is None:
        raise FlowdError(f"{endpoint}: nkeys, which signs, is not installed", hint="pip install 'flowd[nats]'")
    from flowd.jetstream.pull import JetStreamPull

    return JetStreamPull(endpoint, wanted, creds_file)
