"""Subscriber: a live view's batches, best effort, with what was missed. Public API."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from types import TracebackType

import zmq
from zmq.utils.monitor import recv_monitor_message

from flowd.client.batch import Batch
from flowd.client.continuity import Continuity, Gap
from flowd.client.recovery import Recovery
from flowd.client.refusal import is_key_refused, key_refused
from flowd.client.registration import Registration
from flowd.errors import FlowdError, Unreachable, WireError
from flowd.memory import keep_freed_memory
from flowd.wire import Heartbeat, Live, open_payload, parse
from flowd.wire.keys import load_client_keys
from flowd.wire.limits import HEARTBEAT_MS, is_stream_name
from flowd.wire.sockets import check_endpoint, connect, open_socket, secure_client

SILENCE_S = 3.5
"""A view of one's own that was not heard of for so long is not known to the daemon any more: it was restarted."""

log = logging.getLogger(__name__)


class Subscriber:
    """Follows a view (a stream's name, or a configured view's) on a daemon's live socket: `for batch in subscriber`.

    Live is best effort: a subscriber that is too slow loses batches, and is told how many lines. The connection is
    made at the first iteration (or by `connect`) and made again for ever. With `timeout_s`, iteration ends when no
    batch came for so long, and raises Unreachable when nothing at all was heard of the view. Batches of which nothing
    was kept are not yielded. A tcp:// endpoint takes `server_key` (the daemon's public key, or the name of its
    certificate) and `secret_file` (this client's); a key that is not let in raises Refused. For one thread at a time.

    With `consume`, the address of the consume socket, what was missed is fetched from the daemon's journal and yielded
    in its place; missed is then only what is not there any more. A `filter` in `dialect` (None: recognised) of its own
    makes a view of the stream named by `view`; it needs `consume`, too.
    """

    def __init__(
        self,
        endpoint: str,
        view: str = "flows",
        *,
        filter: str | None = None,
        dialect: str | None = None,
        consume: str | None = None,
        timeout_s: float | None = None,
        server_key: str | None = None,
        secret_file: str | os.PathLike[str] | None = None,
    ) -> None:
        check_endpoint(endpoint)
        self._keys = load_client_keys(endpoint, server_key, secret_file)
        if not is_stream_name(view):
            raise FlowdError(f"view {view!r} is no legal name", hint="use 1 to 128 of the characters A-Z a-z 0-9 . _ -")
        if filter is not None and consume is None:
            raise FlowdError(
                "a filter of one's own is registered on the consume socket", hint="give its address as consume="
            )
        self.endpoint = endpoint
        self.view = view
        self.timeout_s = timeout_s
        self.malformed = 0
        """Messages that were no publication of FLW/1, and were skipped."""
        self.heard = 0
        """Publications heard so far, heartbeats included."""
        self._topic: str | None = view if filter is None else None
        self._registration: Registration | None = None
        self._recovery: Recovery | None = None
        if consume is not None:
            check_endpoint(consume)
            keys = self._keys if consume.startswith("tcp://") else None
            self._recovery = Recovery(consume, server_key, secret_file, view, filter, dialect)
            if filter is not None:
                self._registration = Registration(consume, keys, view, filter, dialect)
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._continuity = Continuity()
        self._heard_s = 0.0
        self._reported = 0
        self._early: Batch | None = None

    @property
    def missed_lines(self) -> int:
        """All lines of the stream that were lost since the first batch or heartbeat, and not fetched."""
        recovered = self._recovery.recovered_lines if self._recovery is not None else 0
        return self._continuity.lost_lines - recovered

    @property
    def missed_batches(self) -> int:
        """All batches that were lost since the first batch or heartbeat and not fetched, with those of which nothing
        was kept."""
        recovered = self._recovery.recovered_batches if self._recovery is not None else 0
        return self._continuity.lost_batches - recovered

    @property
    def began_empty(self) -> bool:
        """Whether the view's stream had no lines yet when it was first heard: it is new, or its name is misspelt."""
        return self._continuity.began_empty

    def connect(self, timeout_s: float | None = None) -> None:
        """Connects, and returns when the daemon has been heard: from here on no batch is lost unnoticed.

        Raises Unreachable if that takes longer than `timeout_s` (by default the subscriber's own)."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._continuity.epoch is None:
            publication = self._receive(deadline_s)
            if publication is None:
                raise self.unreachable(timeout_s)
            if isinstance(publication, Batch):
                self._early = publication

    def poll(self, timeout_s: float | None = None) -> Batch | None:
        """The next batch; None when none came within `timeout_s` (None: waits for ever). Never raises for silence."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            while self._recovery is not None and self._recovery.is_under_way:
                fetched = self._recovery.poll(deadline_s)
                if fetched is not None:
                    return self._mark(fetched)
                if self._recovery.is_under_way and deadline_s is not None and time.monotonic() >= deadline_s:
                    return None
            if self._early is not None:
                early, self._early = self._early, None
                return self._mark(early)
            publication = self._receive(deadline_s)
            if publication is None:
                return None
            if isinstance(publication, Batch):
                self._early = publication

    def is_silent(self, heard: int, timeout_s: float) -> bool:
        """Whether a wait of `timeout_s` since `heard` had this value means that no daemon publishes the view. A wait
        shorter than a heartbeat proves nothing once the daemon was heard."""
        return self.heard == heard and (timeout_s >= HEARTBEAT_MS / 1000 or not self.heard)

    def close(self) -> None:
        """Disconnects. May be called twice."""
        if self._recovery is not None:
            self._recovery.close()
        if self._socket is not None:
            if self._monitor is not None:
                self._socket.disable_monitor()
                self._monitor.close()
                self._monitor = None
            self._socket.close()
            self._socket = None

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        heard = self.heard
        batch = self.poll(self.timeout_s)
        if batch is not None:
            return batch
        if self.timeout_s is not None and self.is_silent(heard, self.timeout_s):
            raise self.unreachable(self.timeout_s)
        raise StopIteration

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mark(self, batch: Batch) -> Batch:
        """The batch with what was missed since the one yielded last."""
        missed = self.missed_lines
        batch.missed = max(0, missed - self._reported)
        self._reported = missed
        return batch

    def _receive(self, deadline_s: float | None) -> Batch | Heartbeat | None:
        """The next batch with lines, or heartbeat; None when the deadline passed."""
        socket = self._open(deadline_s)
        while socket is not None:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            if self._registration is not None:
                patience_s = max(0.0, self._heard_s + SILENCE_S - time.monotonic())
                left_s = patience_s if left_s is None else min(left_s, patience_s)
            if self._wait(socket, None if left_s is None else int(left_s * 1000)):
                publication = self._read(socket)
                if publication is not None:
                    return publication
            elif deadline_s is not None and time.monotonic() >= deadline_s:
                return None
            elif self._registration is not None and time.monotonic() - self._heard_s >= SILENCE_S:
                self._register(deadline_s)
        return None

    def _wait(self, socket: zmq.Socket[bytes], left_ms: int | None) -> bool:
        """Whether something came in this time. Raises Refused where the daemon does not let this key in."""
        if self._monitor is None:
            return bool(socket.poll(left_ms))
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        ready = dict(poller.poll(left_ms))
        if self._monitor in ready and is_key_refused(recv_monitor_message(self._monitor)):
            self.close()
            raise key_refused(self.endpoint)
        return bool(ready)

    def _read(self, socket: zmq.Socket[bytes]) -> Batch | Heartbeat | None:
        """One message read; None for an empty batch, and for what is no publication (which is counted)."""
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:  # it was not a message that came
            return None
        try:
            header, flags, payload = parse(frames[1:])
            if not isinstance(header, Live | Heartbeat):
                raise WireError("type", f"{header.type.name} has no place in the live lane")
            lines = open_payload(flags, payload)
        except WireError as error:
            self.malformed += 1
            log.warning("subscriber: %s sent what is no publication: %s", self.endpoint, error)
            return None
        self.heard += 1
        self._heard_s = time.monotonic()
        if isinstance(header, Heartbeat):
            self._recover(self._continuity.hear(header))
            return header
        self._recover(self._continuity.follow(header))
        if not lines:
            return None
        return Batch(
            self.view,
            header.e,
            header.q,
            bytes(lines),
            time_ns=header.t,
            generation=header.g,
            record_times_ns=header.ft,
            line_count=header.n,
        )

    def _recover(self, gap: Gap | None) -> None:
        if gap is not None and self._recovery is not None:
            self._recovery.begin(gap)

    def _open(self, deadline_s: float | None) -> zmq.Socket[bytes] | None:
        """The socket, made where there is none; None where the daemon did not make the view in time."""
        if self._topic is None and not self._register(deadline_s):
            return None
        if self._socket is None:
            assert self._topic is not None
            keep_freed_memory()
            self._socket = open_socket(zmq.Context.instance(), zmq.SUB)
            secure_client(self._socket, self._keys, self.endpoint)
            if self._keys is not None:
                self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            self._socket.subscribe(self._topic.encode() + b"\0")
            connect(self._socket, self.endpoint)
            self._heard_s = time.monotonic()
        return self._socket

    def _register(self, deadline_s: float | None) -> bool:
        """Tells the daemon the filter. Raises Refused for one that cannot be compiled."""
        assert self._registration is not None
        name = self._registration.register(deadline_s)
        self._heard_s = time.monotonic()
        if name is not None:
            self._topic = name
        return name is not None

    def unreachable(self, timeout_s: float | None) -> Unreachable:
        """The error of a wait in which nothing was heard."""
        return Unreachable(
            f"{self.endpoint}: nothing was heard of the view {self.view!r} within {timeout_s} s",
            hint="is the daemon running, and does it have a stream of this name?",
        )
