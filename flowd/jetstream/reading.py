"""The reading itself, in an event loop: the connection, where to begin, a passing consumer, storing the cursor."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING, Protocol

from flowd.errors import Fenced, FlowdError, WireError
from flowd.jetstream.bucket import CursorBucket
from flowd.jetstream.cursor import Cursor, Yielded
from flowd.jetstream.order import RETENTION, Mark, Order, Ready
from flowd.jetstream.passing import Passing, find_batch, find_moment, has_batches, open_passing
from flowd.jetstream.place import Place
from flowd.wire.jetstream import Head

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext
    from nats.js.api import StreamInfo

    from flowd.client.pull import Wanted

FETCH_S = 2.0
"""How long a request for messages waits at the server; then it is looked whether the consumer is still there."""
FETCH_MESSAGES = 16
MESSAGE_BYTES = 256 << 10
"""What a message has as a rule: so that less is asked for than there is credit."""
EPOCH = "epoch"
AGAIN_S = 1.0
"""The pause before another attempt."""
SHORT_ATTEMPTS = 10
"""How often it is looked whether a stream has really lost its end."""
ROOM_S = 0.5
"""How soon it is looked whether batches have waited too long for those before them, while there is no room."""

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Whoever the batches are for."""

    @property
    def has_room(self) -> bool: ...
    def put(self, ready: Ready, cursor: Cursor) -> None: ...
    def tell(self) -> None: ...


class Reading:
    """See the module. `run` is for the loop, as is all but what says otherwise. `begun` is how far each epoch was
    yielded before it began, as the cursor says."""

    def __init__(
        self, place: Place, wanted: Wanted, creds_file: str | os.PathLike[str] | None, incarnation: str, sink: Sink
    ) -> None:
        self.is_attached = False
        self.began_at_oldest = False
        self.has_ended = False
        self.is_caught_up = False
        self.malformed = 0
        self.trouble = ""
        self.committed: tuple[bytes, int] | None = None
        self.begun: dict[bytes, Mark] = {}
        self._place = place
        self._wanted = wanted
        self._login = place.login(creds_file)
        self._incarnation = incarnation
        self._sink = sink
        self._fetch_messages = max(1, min(FETCH_MESSAGES, wanted.credit_batches, wanted.credit_bytes // MESSAGE_BYTES))
        self._subject = place.template.pattern(wanted.view or wanted.stream, place.node)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._order = Order()
        self._yielded = Yielded(Cursor())
        self._is_ending = False
        self._created = ""
        self._short = 0
        self._heard = 0
        self._next = 0
        self._last: int | None = None
        self._gap = ""
        self._bucket: CursorBucket | None = None
        self._wanted_commit: tuple[tuple[bytes, int], Cursor] | None = None
        self._commits = asyncio.Event()

    async def run(self) -> None:
        """Reads until the end. Raises FlowdError where it cannot go on."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if self._is_ending:
            return
        committing = asyncio.ensure_future(self._store_cursors())
        committing.add_done_callback(self._end_with)
        try:
            while True:
                await self._converse()
                await asyncio.sleep(AGAIN_S)
        except asyncio.CancelledError:
            if committing.done() and not committing.cancelled() and committing.exception() is not None:
                raise committing.exception() from None  # type: ignore[misc] # it is one
            raise
        finally:
            committing.cancel()
            self.is_attached = False

    async def _converse(self) -> None:
        """One connection, which heals by itself: until a server says that it is over."""
        from nats.aio.client import Client
        from nats.errors import Error as NatsError

        client = Client()
        try:
            await self._connect(client)
            jetstream = client.jetstream(timeout=5)
            if self._bucket is not None:
                self._bucket.use(jetstream)
            while not client.is_closed:
                try:
                    while not self.has_ended:
                        await self._read(jetstream)
                except (TimeoutError, NatsError, OSError) as error:
                    self._note_trouble(error)
                await asyncio.sleep(AGAIN_S)  # at the end commits go on behind the last batch
        except (TimeoutError, NatsError, OSError) as error:
            self._note_trouble(error)
        finally:
            self.is_attached = False
            await client.close()

    def _note_trouble(self, error: Exception) -> None:
        self.trouble = str(error) or type(error).__name__
        log.info("jetstream: %s; trying again", self.trouble)

    def end(self) -> None:
        """Ends `run`, from any thread."""
        self._is_ending = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    def make_room(self) -> None:
        """Something was taken; from any thread."""
        if self._loop is not None and not self._room.is_set():
            self._loop.call_soon_threadsafe(self._room.set)

    def commit(self, place: tuple[bytes, int], cursor: Cursor) -> None:
        """Has the cursor stored, soon; from any thread. `committed` is the place of the one stored last."""
        self._wanted_commit = place, cursor
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._commits.set)

    def _end_with(self, committing: asyncio.Future[None]) -> None:
        if not committing.cancelled() and committing.exception() is not None and self._task is not None:
            self._task.cancel()

    async def _connect(self, client: Client) -> None:
        async def on_error(error: Exception) -> None:
            self._note_trouble(error)

        await client.connect(
            list(self._place.servers),
            name="flowd consumer",
            error_cb=on_error,
            connect_timeout=2,
            reconnect_time_wait=1,
            max_reconnect_attempts=-1,
            ping_interval=5,
            max_outstanding_pings=2,
            **self._login,
        )

    async def _read(self, jetstream: JetStreamContext) -> None:
        """One passing consumer, for as long as it lives and nothing that it sent was lost."""
        info = await self._wait_for_stream(jetstream)
        if not self._next:
            await self._begin(jetstream, info)
        elif self._is_another(info, self._created):
            log.warning("jetstream: the stream %s has begun anew", self._place.jetstream)
            self._gap, self._next = EPOCH, 1
            self._yielded = Yielded(Cursor())
        elif self._is_short(info, self._next - 1):
            self._next = info.state.last_seq + 1
            self._yielded = Yielded(Cursor(info.state.last_seq))
        self._created, self._short = _creation(info), 0
        passing = await open_passing(jetstream, self._place.jetstream, self._subject, self._next)
        self._heard = 0
        self.is_attached, self.trouble = True, ""
        self.is_caught_up = not passing.waiting
        self._note_end(0 if passing.waiting else info.state.last_seq)
        self._sink.tell()
        try:
            while not self.has_ended and await self._fetch(jetstream, passing):
                self._put(self._order.give_up(time.monotonic()))
        finally:
            self.is_attached = False
            await asyncio.shield(passing.pull.unsubscribe())

    async def _fetch(self, jetstream: JetStreamContext, passing: Passing) -> bool:
        """Takes what comes next; False where something is lost between the server and here: nothing that a passing
        consumer has sent is sent again, and so another one is needed."""
        await self._wait_for_room()
        try:
            messages = await passing.pull.fetch(self._fetch_messages, timeout=FETCH_S)
        except TimeoutError:
            asked = jetstream.consumer_info(self._place.jetstream, passing.name)
            found = await asyncio.wait_for(asked, FETCH_S)  # its server may be gone, and then another is made
            if found.delivered is not None and found.delivered.consumer_seq != self._heard:
                return False
            self.is_caught_up = not found.num_pending
            if self.is_caught_up:
                self._note_end(self._last or 0)
            self._sink.tell()
            return True
        for message in messages:
            if message.metadata.sequence.consumer != self._heard + 1:
                return False
            self._heard += 1
            self._take(message)
        return True

    async def _wait_for_stream(self, jetstream: JetStreamContext) -> StreamInfo:
        from nats.js.errors import NotFoundError

        while True:
            try:
                return await jetstream.stream_info(self._place.jetstream)
            except NotFoundError:
                self.trouble = f"there is no stream {self._place.jetstream}"
                await asyncio.sleep(AGAIN_S)

    async def _begin(self, jetstream: JetStreamContext, info: StreamInfo) -> None:
        """Where the first message is read: by the cursor, or as `start` says."""
        cursor: Cursor | None = None
        start = self._wanted.start
        if self._wanted.name:
            replicas = info.config.num_replicas or 1
            self._bucket = CursorBucket(self._subject, self._wanted.name, self._incarnation, replicas)
            self._bucket.use(jetstream)
            cursor = await self._bucket.open()
            if cursor is not None:
                await self._bucket.store(cursor._replace(incarnation=self._incarnation))
        first, last = info.state.first_seq or 1, info.state.last_seq
        gap = ""
        if start != "cursor":
            cursor = None
        if cursor is not None and self._is_another(info, cursor.created):
            gap, cursor = EPOCH, Cursor(first - 1)
        elif cursor is not None:
            if self._is_short(info, cursor.sequence):
                cursor = cursor.between(0, last)
            gap = RETENTION if cursor.next < first else ""
            cursor = cursor.between(first, max(last, first - 1))
        elif start == "newest":
            cursor = Cursor(last)
        elif isinstance(start, tuple):
            found = await find_batch(jetstream, self._place.jetstream, self._subject, start, first, last)
            cursor = Cursor(found - 1)
        elif self._wanted.since_ns is not None:
            since_ns = self._wanted.since_ns
            found = await find_moment(jetstream, self._place.jetstream, self._subject, since_ns, last)
            cursor = Cursor(found - 1)
        else:
            cursor = Cursor(first - 1)
        cursor = cursor._replace(incarnation=self._incarnation, created=_creation(info))
        await self._find_end(jetstream, cursor.next, last)
        if self._bucket is not None and start == "cursor":
            await self._bucket.store(cursor)  # who is killed before its first commit begins here again
        self.began_at_oldest = cursor.next <= first
        self._gap = gap
        self._yielded = Yielded(cursor)
        self.begun = cursor.marks
        self._order = Order(dict(cursor.marks), is_cut=bool(gap), begin=None if cursor.missing else cursor.next)
        self._next = cursor.next

    async def _find_end(self, jetstream: JetStreamContext, first: int, last: int) -> None:
        """Where the reading ends that begins at `first`: with what is stored now, or before, at the batch wanted last;
        at once, where nothing of that one's epoch up to it is there."""
        until = self._wanted.until
        if isinstance(until, tuple):
            has_any = await has_batches(jetstream, self._place.jetstream, self._subject, until, first)
            self._last = last if has_any else 0
        elif until is not None:
            self._last = last

    def _is_another(self, info: StreamInfo, created: str) -> bool:
        """Whether this is not the stream that was read before."""
        found = _creation(info)
        return bool(found and created and found != created)

    def _is_short(self, info: StreamInfo, reached: int) -> bool:
        """Whether the stream has lost its end, up to which it was read. Raises TimeoutError where that may pass: a
        server that has just become the leader may know less at first."""
        if reached <= info.state.last_seq:
            return False
        self._short += 1
        if self._short < SHORT_ATTEMPTS:
            raise TimeoutError(f"the stream ends at {info.state.last_seq}, and was read to {reached}")
        log.warning("jetstream: the stream ends at %d, and was read to %d", info.state.last_seq, reached)
        return True

    async def _wait_for_room(self) -> None:
        while not self._sink.has_room:
            self._room.clear()
            if not self._sink.has_room:
                try:
                    await asyncio.wait_for(self._room.wait(), ROOM_S)
                except TimeoutError:
                    self._put(self._order.give_up(time.monotonic()))

    def _take(self, message: Msg) -> None:
        sequence = message.metadata.sequence.stream
        self.is_caught_up = not message.metadata.num_pending
        if sequence >= self._next:
            self._next = sequence + 1
            is_known = self._yielded.is_known(sequence)
            self._yielded.receive(sequence)
            if not is_known:
                self._order_in(message, sequence)
        self._note_end((self._last or 0) if self.is_caught_up else sequence)

    def _order_in(self, message: Msg, sequence: int) -> None:
        try:
            head = Head.parse(message.headers)
        except WireError as error:
            log.warning("jetstream: message %d is passed over: %s", sequence, error.message)
            self.malformed += 1
            self._yielded.take((sequence,))
        else:
            self._put(self._order.add(head, sequence, message.data, time.monotonic()))

    def _put(self, found: list[Ready]) -> None:
        for ready in found:
            head = ready.head
            reached, missing = self._yielded.take(ready.sequences)
            if self.has_ended:
                return
            until = self._wanted.until if isinstance(self._wanted.until, tuple) else (b"", 0)
            is_last = head.epoch == until[0] and not ready.is_passed_over
            if is_last and head.seq > until[1]:  # the one wanted last is not there any more
                self._finish()
                return
            mark = {} if ready.is_passed_over else {head.epoch: Mark(head.seq, head.before + head.lines)}
            if self._gap and ready.lines:
                ready, self._gap = ready._replace(gap=ready.gap or self._gap), ""
            self._sink.put(ready, Cursor(reached, missing, self._incarnation, mark, self._created))
            if is_last and head.seq == until[1]:
                self._finish()

    def _note_end(self, sequence: int) -> None:
        """Ends the reading where everything wanted was read."""
        if self._last is not None and sequence >= self._last and not self.has_ended:
            self._put(self._order.release())
            self._finish()

    def _finish(self) -> None:
        self.has_ended = True
        self._sink.tell()

    async def _store_cursors(self) -> None:
        """Stores the cursor that was asked for last, whenever one was."""
        from nats.errors import Error as NatsError

        while True:
            await self._commits.wait()
            self._commits.clear()
            wanted = self._wanted_commit
            while wanted is not None and wanted[0] != self.committed:
                if self._bucket is None:
                    raise FlowdError("a consumer without a name has no cursor", hint="give it a name")
                try:
                    await self._bucket.store(wanted[1])
                    self.committed = wanted[0]
                    self._sink.tell()
                except Fenced:
                    raise
                except (TimeoutError, NatsError, OSError) as error:
                    log.info("jetstream: the cursor is not stored yet: %s", error or type(error).__name__)
                    await asyncio.sleep(AGAIN_S)
                wanted = self._wanted_commit


def _creation(info: StreamInfo) -> str:
    """When the stream was made: tells it from another one of its name."""
    created: object = getattr(info, "created", None)  # older libraries do not have it
    return "" if created is None else str(created)
