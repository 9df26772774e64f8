"""One stream's way into JetStream: a window of messages under way, acknowledged in any order, committed in theirs.

A message whose acknowledgement does not come is sent again under the same id. What was sent first longer ago than the
server remembers ids, and everything of a daemon that ended, is looked for in the stream before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from flowd.errors import FlowdError, WireError
from flowd.sinks.nats.look import find_last, find_since
from flowd.sinks.sink import Feed, Outgoing, Report
from flowd.wire.jetstream import Acknowledged, Head, SubjectTemplate, cut_payload

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

    from flowd.sinks.nats.link import Link

HEADERS_BYTES = 1024
"""What the headers of a message take of the server's bound, at most."""
PAYLOAD_MIN_BYTES = 8 * HEADERS_BYTES
"""The least that a server must take."""
TICK_S = 0.25
"""How often it is looked whether something is to be sent again."""
AGAIN_S = 0.25
AGAIN_MAX_S = 8.0
"""The pause before a refused message is sent again, doubled up to the next one."""
ELECTION_MAX_S = 1.0
"""The longest pause where a cluster has no leader: it will have one in seconds."""
PATIENCE_MAX = 3
"""How many times as long an acknowledgement may take when a message was sent often: the server may be slow."""
NO_LEADER = 503
NO_STREAM = 10059
REASONS = {
    NO_LEADER: "no_leader",
    10023: "resources",
    10047: "resources",
    10077: "limit",
    10054: "too_big",
    10053: "too_big",
    10060: "no_stream",
}
"""The server's error codes, as the label of a counter."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """What may be under way, in messages and bytes, and how long an acknowledgement may take, in seconds."""

    messages: int = 64
    bytes: int = 8 << 20
    acknowledge_s: float = 5.0


@dataclass(frozen=True)
class Place:
    """Where batches go: the JetStream stream, which remembers ids for `memory_s`, the subjects in it, and this node."""

    stream: str
    template: SubjectTemplate
    node: str
    memory_s: float


class Publication:
    """A message on its way: `due_s` is when it is to be sent again, by the steady clock. It was first sent when
    `floor`, a sequence of the JetStream stream, was stored: it comes to stand behind."""

    __slots__ = ("attempts", "batch", "due_s", "first_s", "floor", "head", "is_stored", "payload", "stored_seq")

    def __init__(self, batch: Outgoing, head: Head, payload: bytes | memoryview) -> None:
        self.batch = batch
        self.head = head
        self.payload = payload
        self.attempts = 0
        self.first_s = 0.0
        self.floor = 0
        self.due_s = 0.0
        self.is_stored = False
        self.stored_seq = 0


class Lane:
    """See the module. For the sink's event loop."""

    def __init__(
        self,
        link: Link,
        jetstream: JetStreamContext,
        place: Place,
        feed: Feed,
        window: Window,
        report: Report,
    ) -> None:
        self._link = link
        self._jetstream = jetstream
        self._stream = place.stream
        self._memory_s = place.memory_s
        self._feed = feed
        self._subject = place.template.subject(feed.stream, place.node)
        self._node = place.node
        self._window = window
        self._report = report
        self._under_way: dict[int, Publication] = {}
        self._under_way_bytes = 0
        self._number = 0
        self._inbox = ""
        self._moved = asyncio.Event()
        self._acknowledged = Acknowledged()
        self._stored: dict[str, int] = {}
        self._passed: deque[Head] = deque()
        self._epoch = b""
        self._previous: int | None = None
        self._lines = 0

    async def run(self) -> None:
        """Carries the feed until it ends and all of it is acknowledged."""
        client = self._link.client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._hear)
        await self._look_back()
        self._report.up(self._link.peer)
        tasks = [asyncio.ensure_future(work) for work in (self._carry(), self._repeat())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def reconnected(self) -> None:
        """What was under way on the connection before is sent again at once."""
        for publication in self._under_way.values():
            publication.due_s = 0.0

    async def _carry(self) -> None:
        while (batch := await self._feed.next()) is not None:
            if batch.epoch == self._epoch and batch.seq <= self._acknowledged.seq:
                self._feed.commit(batch)  # the daemon ended between the acknowledgement and the cursor's commit
                continue
            for publication in self._publications(batch):
                while self._is_full(len(publication.payload)):
                    await self._wait()
                await self._begin(publication)
        while self._under_way:
            await self._wait()

    def _publications(self, batch: Outgoing) -> list[Publication]:
        if batch.epoch != self._epoch:
            self._epoch, self._previous, self._lines = batch.epoch, None, 0
            self._acknowledged = self._acknowledged._replace(seq=0, lines=0)
            self._passed.clear()
        self._pass_stored(batch.seq)
        lines = batch.line_count
        payloads = cut_payload(batch.lines, self._payload_bytes())
        if batch.missed or batch.gap:
            reason = batch.gap or "unknown"
            self._report.count("flowd_sink_missed_lines_total", batch.missed, reason=reason)
            log.warning(
                "sink: %s: %d lines before batch %d are lost: %s", self._subject, batch.missed, batch.seq, reason
            )
        made = [
            Publication(
                batch,
                Head(
                    batch.epoch, self._feed.stream, self._node, batch.seq, part, len(payloads), lines, self._lines,
                    self._previous, self._known(), batch.time_ns, batch.generation, batch.missed, batch.gap or "",
                ),
                payload,
            )
            for part, payload in enumerate(payloads, start=1)
        ]  # fmt: skip
        self._previous = batch.seq
        self._lines += lines
        return made

    def _pass_stored(self, seq: int) -> None:
        """Counts what the daemon before has sent up to here, also what its cursor was moved over and does not come."""
        while self._passed and self._passed[0].seq < seq:
            head = self._passed.popleft()
            if head.seq > (self._previous or 0):
                self._previous, self._lines = head.seq, head.before + head.lines

    def _payload_bytes(self) -> int:
        """What a message may hold. Raises FlowdError where that is next to nothing."""
        allowed = self._link.client.max_payload
        if allowed < PAYLOAD_MIN_BYTES:
            raise FlowdError(
                f"the server takes messages of {allowed} bytes only",
                hint=f"its max_payload must be {PAYLOAD_MIN_BYTES} or more; 1 MiB is what servers have by default",
            )
        return allowed - HEADERS_BYTES

    def _known(self) -> Acknowledged:
        """What is acknowledged now, with a place behind which everything stands that is not."""
        known = self._acknowledged
        for oldest in self._under_way.values():
            return Acknowledged(oldest.floor, known.seq, known.lines)
        return known

    def _is_full(self, size_bytes: int) -> bool:
        return len(self._under_way) >= self._window.messages or (
            self._under_way_bytes > 0 and self._under_way_bytes + size_bytes > self._window.bytes
        )

    async def _wait(self) -> None:
        """Until an acknowledgement has come."""
        self._moved.clear()
        await self._moved.wait()

    async def _begin(self, publication: Publication) -> None:
        self._number += 1
        number = self._number
        self._under_way[number] = publication
        self._under_way_bytes += len(publication.payload)
        publication.first_s = time.monotonic()
        publication.floor = self._acknowledged.sequence
        stored_seq = self._stored.pop(publication.head.message_id, 0) if self._stored else 0
        if stored_seq:
            self._settle(number, stored_seq)
        elif self._link.is_up:
            await self._send(number, publication)

    async def _send(self, number: int, publication: Publication) -> None:
        from nats.errors import Error as NatsError

        publication.due_s = time.monotonic() + self._window.acknowledge_s * min(1 + publication.attempts, PATIENCE_MAX)
        publication.attempts += 1
        if publication.attempts > 1:
            self._report.count("flowd_sink_repeated_messages_total")
        try:
            await self._link.client.publish(
                self._subject,
                publication.payload,  # type: ignore[arg-type] # any buffer will do
                f"{self._inbox}.{number}",
                publication.head.as_headers(),
            )
        except NatsError as error:
            self._report.down(f"{self._subject}: {error or type(error).__name__}")
            log.info("sink: stream %s: message %s waits: %s", self._feed.stream, publication.head.message_id, error)

    async def _hear(self, message: Msg) -> None:
        """An acknowledgement, or a refusal."""
        number = int(message.subject.rpartition(".")[2])
        publication = self._under_way.get(number)
        if publication is None:
            return
        code, words, stored_seq = _read_answer(message)
        if stored_seq:
            self._settle(number, stored_seq)
            return
        reason = REASONS.get(code, "other")
        self._report.count("flowd_sink_refused_messages_total", reason=reason)
        self._report.down(f"stream {self._stream}: {words}")
        longest_s = ELECTION_MAX_S if code == NO_LEADER else AGAIN_MAX_S
        pause_s = min(AGAIN_S * 2 ** min(publication.attempts, 8), longest_s)
        publication.due_s = time.monotonic() + pause_s

    def _settle(self, number: int, stored_seq: int) -> None:
        """A message is stored: where all before it are, too, the cursor follows."""
        publication = self._under_way[number]
        publication.is_stored = True
        publication.stored_seq = stored_seq
        committed: Outgoing | None = None
        while self._under_way:
            first = next(iter(self._under_way))
            oldest = self._under_way[first]
            if not oldest.is_stored:
                break
            del self._under_way[first]
            self._under_way_bytes -= len(oldest.payload)
            head = oldest.head
            _, seq, lines = self._acknowledged
            if head.part == head.parts:
                if head.epoch == self._epoch:  # else the batches of another epoch are being sent already
                    seq, lines = head.seq, head.before + head.lines
                committed = oldest.batch
                self._count(oldest)
            self._acknowledged = Acknowledged(max(self._acknowledged.sequence, oldest.stored_seq), seq, lines)
        if committed is not None:
            self._feed.commit(committed)
            self._report.up(self._link.peer)
        self._moved.set()

    def _count(self, publication: Publication) -> None:
        self._report.count("flowd_sink_batches_total")
        self._report.count("flowd_sink_lines_total", publication.head.lines)
        self._report.count("flowd_sink_bytes_total", len(publication.batch.lines))

    async def _repeat(self) -> None:
        """Sends again what is due."""
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            due = [pair for pair in self._under_way.items() if not pair[1].is_stored and pair[1].due_s <= now_s]
            if self._link.is_closed:
                raise FlowdError(f"the server has ended the connection: {self._link.trouble}", hint="see its log")
            if not due or not self._link.is_up:
                continue
            if now_s - due[0][1].first_s > self._memory_s / 2:
                await self._look_back()
            for number, publication in due:
                if number not in self._under_way or publication.is_stored:
                    continue
                stored_seq = self._stored.pop(publication.head.message_id, 0)
                if stored_seq:
                    self._settle(number, stored_seq)
                elif self._link.is_up:
                    await self._send(number, publication)

    async def _look_back(self) -> None:
        """Finds what the stream has of this node's batches from those on that were not acknowledged. Tries until the
        server answers: what is sent without having looked could be stored twice."""
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError

        while True:
            try:
                last = await find_last(self._jetstream, self._stream, self._subject)
                if last is None:
                    if not self._number:  # whatever comes will stand behind what is there now
                        state = (await self._jetstream.stream_info(self._stream)).state
                        self._acknowledged = Acknowledged(state.last_seq)
                    return
                since = self._known() if self._number else last.head.acknowledged
                found = await find_since(
                    self._jetstream, self._stream, self._subject, since.sequence + 1, last.sequence
                )
                break
            except WireError as error:
                raise FlowdError(
                    f"subject {self._subject} has a message that no sink has written: {error.message}",
                    hint="give the sink a subject of its own, or the node a name of its own",
                ) from error
            except (TimeoutError, NatsError) as error:
                if isinstance(error, APIError) and error.err_code == NO_STREAM:
                    raise FlowdError(f"stream {self._stream} was deleted", hint="it is made anew") from error
                self._report.down(f"stream {self._stream}: {error or type(error).__name__}")
                await asyncio.sleep(AGAIN_S)
        self._stored = {message.head.message_id: message.sequence for message in found}
        if not self._number:
            self._epoch, self._acknowledged = last.head.epoch, since
            self._previous, self._lines = since.seq or None, since.lines
            heads = [message.head for message in found if message.head.epoch == self._epoch]
            self._passed.extend(sorted(heads, key=lambda head: head.seq))


def _read_answer(message: Msg) -> tuple[int, str, int]:
    """The code and words of a refusal, and the sequence of what was stored: 0 where it was refused."""
    status = (message.headers or {}).get("Status")
    if status is not None:
        return int(status), "nobody takes the messages: there is no such stream, or its cluster has no leader", 0
    try:
        answer: dict[str, Any] = msgspec.json.decode(message.data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0, "the server's answer is no JSON", 0
    error = answer.get("error")
    if isinstance(error, dict):
        code = error.get("err_code", error.get("code", 0))
        return code if isinstance(code, int) else 0, str(error.get("description", "refused")), 0
    sequence = answer.get("seq", 0)
    return 0, "the server's answer names no sequence", sequence if isinstance(sequence, int) else 0
