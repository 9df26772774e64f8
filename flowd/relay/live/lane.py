"""The live lane: kept lines published to whoever listens, with sequences that show what was missed.

Best effort: a subscriber that does not keep up loses batches and sees the gap. Belongs to the thread that owns its XPUB
socket; only `subscribers` may be read from elsewhere.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import zmq

from flowd.relay.live.remote import RemotePublisher
from flowd.relay.metrics import Counters
from flowd.wire import Heartbeat, Live, encode
from flowd.wire.limits import HEARTBEAT_MS, is_stream_name

VIEWS_MAX = 1024
"""Views heartbeats are sent for; subscriptions to more names are served, but hear nothing before the first batch."""
SUBSCRIPTIONS_READ = 256
"""Subscriptions read in one go: a flood of them must not keep batches waiting."""
WELCOME_GAP_S = 0.02
"""A new subscriber is sent a heartbeat at once, but a view's never more often than this."""


@dataclass(slots=True)
class View:
    """What is published under one name: the last sequence given, and the lines published so far."""

    topic: bytes
    sequence: int = 0
    lines: int = 0
    subscribers: int = 0
    heard_s: float = float("-inf")
    is_awaited: bool = False


class LiveLane:
    """The views of one daemon's life, which is one epoch."""

    def __init__(self, socket: zmq.Socket[bytes], epoch: bytes, counters: Counters) -> None:
        self.epoch = epoch
        self._socket = socket
        self._counters = counters
        self._views: dict[str, View] = {}
        self._due_s = 0.0
        self._remote: RemotePublisher | None = None

    def attach(self, remote: RemotePublisher) -> None:
        """Publishes over TCP, too."""
        self._remote = remote

    def subscribers(self) -> dict[str, int]:
        """How many subscriptions each view has."""
        return {name: view.subscribers for name, view in self._views.copy().items()}

    def next_sequences(self) -> dict[str, int]:
        """The next sequence of each view."""
        return {name: view.sequence + 1 for name, view in self._views.copy().items()}

    def open_view(self, name: str) -> View:
        """The view of this name, made where it is new."""
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = View(name.encode() + b"\0")
        return view

    def publish(self, name: str, kept: bytes, kept_lines: int, time_ns: int, generation: int) -> None:
        """Gives the batch the view's next sequence and sends it. One of which nothing is kept has no payload frame."""
        view = self.open_view(name)
        view.sequence += 1
        header = Live(self.epoch, view.sequence, kept_lines, view.lines, time_ns, generation)
        view.lines += kept_lines
        # Copied, not lent: giving a lent payload back wakes a thread for each batch, which costs more than the copy.
        frames = [view.topic, *encode(header, kept or None)]
        self._socket.send_multipart(frames)
        if self._remote is not None:
            self._remote.send(frames)

    def beat(self, now_s: float) -> float:
        """Sends the heartbeats that are due; returns the seconds until the next ones are."""
        wait_s = self._due_s - now_s
        if wait_s <= 0:
            self._due_s = now_s + HEARTBEAT_MS / 1000
            wait_s = HEARTBEAT_MS / 1000
            for view in self._views.values():
                self._beat_view(view, now_s)
        for view in self._views.values():
            if view.is_awaited:
                left_s = view.heard_s + WELCOME_GAP_S - now_s
                if left_s <= 0:
                    self._beat_view(view, now_s)
                else:
                    wait_s = min(wait_s, left_s)
        return wait_s if self._remote is None else min(wait_s, self._remote.wait_s())

    def beat_all(self) -> None:
        """Sends every view's heartbeat now: the last word before an end."""
        for view in self._views.values():
            self._beat_view(view, time.monotonic())

    def read_subscriptions(self) -> None:
        """Takes note of who came and who went."""
        if self._remote is not None:
            for topic, is_new in self._remote.read_subscriptions():
                self._count_subscription(topic, is_new)
        for _ in range(SUBSCRIPTIONS_READ):
            try:
                note = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if note[:1] not in (b"\0", b"\1"):
                self._counters.add("flowd_malformed_messages_total", lane="live", reason="subscription")
                continue
            self._count_subscription(note[1:], note[0] == 1)

    def _count_subscription(self, topic: bytes, is_new: bool) -> None:
        name = topic[:-1].decode("ascii", "replace")
        if topic[-1:] != b"\0" or not is_stream_name(name):
            self._counters.add("flowd_unusual_subscriptions_total", change="new" if is_new else "gone")
            return
        view = self._views.get(name)
        if view is None:
            if not is_new or len(self._views) >= VIEWS_MAX:
                return
            view = self.open_view(name)
        if is_new:
            view.subscribers += 1
            view.is_awaited = True
        else:
            view.subscribers = max(0, view.subscribers - 1)
            if not view.subscribers and not view.sequence:
                del self._views[name]

    def _beat_view(self, view: View, now_s: float) -> None:
        view.heard_s = now_s
        view.is_awaited = False
        after = view.sequence + 1
        frames = [view.topic, *encode(Heartbeat(self.epoch, after, view.lines, after))]
        self._socket.send_multipart(frames)
        if self._remote is not None:
            self._remote.send(frames)
