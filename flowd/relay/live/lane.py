"""The live lane: kept lines published to whoever listens, with sequences that show what was missed.

Best effort: a subscriber that does not keep up loses batches and sees the gap. Belongs to the thread that owns its XPUB
socket; only `subscribers` may be read from elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from flowd.relay.deciding.together import Together
from flowd.relay.deciding.views import Views, is_registered_name
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import NewBatch, Placed
from flowd.relay.live.remote import RemotePublisher
from flowd.relay.metrics import Counters
from flowd.wire import Buffer, EpochEnd, Heartbeat, Live, encode
from flowd.wire.limits import HEARTBEAT_MS, is_stream_name
from flowd.wire.sockets import DO_NOT_WAIT, has_message, send_frames

TOPICS_MAX = 1024
"""Names heartbeats are sent for. Subscriptions to more are served, but hear nothing before the first batch."""
SUBSCRIPTIONS_READ = 256
"""Subscriptions read in one go: a flood of them must not keep batches waiting."""
WELCOME_GAP_S = 0.02
"""A new subscriber is sent a heartbeat at once, but a topic's never more often than this."""


@dataclass(slots=True)
class Place:
    """Where a stream stands in this lane: the next sequence, and the lines before it; and where it was `before` in the
    epoch that this one goes on from."""

    next: int = 1
    lines: int = 0
    before: EpochEnd | None = None


@dataclass(slots=True)
class Topic:
    """What can be subscribed to by a name: a stream, or a view of one. `place` is its stream's."""

    frame: bytes
    stream: str
    place: Place
    subscribers: int = 0
    heard_s: float = float("-inf")
    is_awaited: bool = False


class LiveLane:
    """Publishes what was stored, as the batches of one journal: its epoch and its sequences."""

    def __init__(self, socket: zmq.Socket[bytes], store: Store, views: Views, counters: Counters) -> None:
        self._socket = socket
        self._store = store
        self._views = views
        self._counters = counters
        self._together = Together(counters)
        self._places = {
            name: Place(row.next, row.lines, store.epoch_before(name)) for name, row in store.streams().items()
        }
        self._topics: dict[str, Topic] = {}
        self._unusual = 0
        self._due_s = 0.0
        self._remote: RemotePublisher | None = None
        for name in self._places:
            self.open_topic(name)

    def attach(self, remote: RemotePublisher) -> None:
        """Publishes over TCP, too."""
        self._remote = remote

    def subscribers(self) -> dict[str, int]:
        """How many subscriptions each name has."""
        return {name: topic.subscribers for name, topic in self._topics.copy().items()}

    def open_topic(self, name: str) -> Topic:
        """The topic of this name, made where it is new."""
        topic = self._topics.get(name)
        if topic is None:
            view = self._views.find(name)
            stream = name if view is None else view.stream
            place = self._place_of(stream)
            topic = self._topics[name] = Topic(name.encode() + b"\0", stream, place)
        return topic

    def publish(self, batch: NewBatch, placed: Placed) -> None:
        """Sends a stored batch to those who listen to its stream, and what views keep of it to theirs.

        One of which nothing is kept has no payload frame.
        """
        topic = self.open_topic(batch.stream)
        topic.place.next = placed.sequence + 1
        topic.place.lines = placed.lines_before + batch.kept_lines
        if topic.subscribers or self._unusual:
            self._send(topic, self._describe(batch, placed, topic.place), batch.kept)
        wanted = [
            (view, seen)
            for view in self._views.of_stream(batch.stream)
            if (seen := self._topics.get(view.name)) is not None and (seen.subscribers or self._unusual)
        ]
        if wanted:
            decided = self._together.apply(batch.stream, [view for view, _ in wanted], batch.kept)
            for (_, seen), (kept, lines) in zip(wanted, decided, strict=True):
                self._send(seen, self._describe(batch, placed, topic.place, lines), kept)

    def close(self) -> None:
        """Ends what compiles views; nothing is published afterwards."""
        self._together.close()

    def beat(self, now_s: float) -> float:
        """Sends the heartbeats that are due; returns the seconds until the next ones are."""
        wait_s = self._due_s - now_s
        if wait_s <= 0:
            self._due_s = now_s + HEARTBEAT_MS / 1000
            wait_s = HEARTBEAT_MS / 1000
            self._open_views()
            for topic in self._topics.values():
                self._beat_topic(topic, now_s)
        for topic in self._topics.values():
            if topic.is_awaited:
                left_s = topic.heard_s + WELCOME_GAP_S - now_s
                if left_s <= 0:
                    self._beat_topic(topic, now_s)
                else:
                    wait_s = min(wait_s, left_s)
        return wait_s if self._remote is None else min(wait_s, self._remote.wait_s())

    def beat_all(self) -> None:
        """Sends every topic's heartbeat now: the last word before an end."""
        for topic in self._topics.values():
            self._beat_topic(topic, time.monotonic())

    def read_subscriptions(self) -> None:
        """Takes note of who came and who went."""
        if self._remote is not None:
            for frame, is_new in self._remote.read_subscriptions():
                self._count_subscription(frame, is_new)
        for _ in range(SUBSCRIPTIONS_READ):
            if not has_message(self._socket):
                return
            note = self._socket.recv(DO_NOT_WAIT)
            if note[:1] not in (b"\0", b"\1"):
                self._counters.add("flowd_malformed_messages_total", lane="live", reason="subscription")
                continue
            self._count_subscription(note[1:], note[0] == 1)

    def _open_views(self) -> None:
        """Views beat from their beginning; one that is no more is forgotten."""
        for view in self._views.all():
            self._point_to_stream(self.open_topic(view.name), view.name)
        for name in [name for name in self._topics if is_registered_name(name) and self._views.find(name) is None]:
            if not self._topics[name].subscribers:
                del self._topics[name]

    def _count_subscription(self, frame: bytes, is_new: bool) -> None:
        name = frame[:-1].decode("ascii", "replace")
        if frame[-1:] != b"\0" or not is_stream_name(name):
            self._counters.add("flowd_unusual_subscriptions_total", change="new" if is_new else "gone")
            self._unusual = max(0, self._unusual + (1 if is_new else -1))
            return
        topic = self._topics.get(name)
        if topic is None:
            if not is_new or len(self._topics) >= TOPICS_MAX:
                self._unusual = max(0, self._unusual + (1 if is_new else -1))
                return
            topic = self.open_topic(name)
        if is_new:
            topic.subscribers += 1
            topic.is_awaited = True
        else:
            topic.subscribers = max(0, topic.subscribers - 1)
            if not topic.subscribers and topic.place.next == 1:
                del self._topics[name]

    def _point_to_stream(self, topic: Topic, name: str) -> bool:
        """Joins a topic that was subscribed to before its view was known to the view's stream. False for a name that
        can only be a view's, and is none's now."""
        view = self._views.find(name)
        if view is None:
            return not is_registered_name(name)
        if topic.stream != view.stream:
            topic.stream = view.stream
            topic.place = self._place_of(view.stream)
        return True

    def _place_of(self, stream: str) -> Place:
        place = self._places.get(stream)
        if place is None:
            place = self._places[stream] = Place(before=self._store.epoch_before(stream))
        return place

    def _describe(self, batch: NewBatch, placed: Placed, place: Place, view_lines: int | None = None) -> Live:
        return Live(
            self._store.epoch,
            placed.sequence,
            batch.kept_lines if view_lines is None else view_lines,
            placed.lines_before,
            batch.time_ns,
            batch.generation,
            None if view_lines is None else batch.kept_lines,
            place.before,
            batch.record_times_ns,
        )

    def _send(self, topic: Topic, header: Live, lines: Buffer) -> None:
        # Copied, not lent: giving a lent payload back wakes a thread for each batch, which costs more than the copy.
        # But a batch that is kept as it came is in a frame of ZeroMQ's own, which goes on as it is.
        frames: list[Buffer | zmq.Frame] = [topic.frame, *encode(header, lines or None)]
        if isinstance(lines, memoryview) and isinstance(lines.obj, zmq.Frame) and len(lines) == len(lines.obj) > 0:
            frames[-1] = lines.obj
        self._send_frames(frames)

    def _beat_topic(self, topic: Topic, now_s: float) -> None:
        topic.is_awaited = False
        topic.heard_s = now_s
        if not self._point_to_stream(topic, topic.frame[:-1].decode()):
            return  # its owner is to notice, and to register it again
        row = self._store.stream(topic.stream)
        oldest = topic.place.next if row is None else min(row.oldest, topic.place.next)
        beat = Heartbeat(self._store.epoch, topic.place.next, topic.place.lines, oldest, topic.place.before)
        self._send_frames([topic.frame, *encode(beat)])

    def _send_frames(self, frames: Sequence[Buffer | zmq.Frame]) -> None:
        send_frames(self._socket, frames)
        if self._remote is not None:
            self._remote.send(frames)
