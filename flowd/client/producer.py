"""Producer: lines into the daemon, acknowledged. Public API."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

from flowd.client.conversation import Conversation
from flowd.client.cutting import OpenBatch, Outgoing, cut_lines, whole_lines
from flowd.client.identity import Identity
from flowd.client.unavailable import refuse_unavailable
from flowd.client.window import Window
from flowd.errors import FlowdError, NotAcknowledged, Unreachable
from flowd.wire import Buffer, count_lines
from flowd.wire.keys import load_client_keys
from flowd.wire.limits import BATCH_BYTES, BATCH_DELAY_S, is_stream_name
from flowd.wire.sockets import check_endpoint

ABSENT_HINT = "is the daemon running? `flowd status` asks it"
WAITING_MAX_BYTES = 4 * BATCH_BYTES
"""How far a caller may run ahead of the credit: enough that the next batch is cut while the last one is sent."""


class Producer:
    """Sends lines to a daemon's ingest socket and knows which of them were acknowledged.

    `endpoint` is an ipc:// address, or a tcp:// one with keys: `server_key` (the daemon's public key, or the name of
    its certificate) and `secret_file` (this client's). `id_file` keeps the producer's id over restarts, so that the
    daemon recognises it.
    The connection is made at the first `send` and made again for ever: an absent or restarting daemon only blocks the
    caller, unless `timeout_s` is given. Batches that were not acknowledged are sent again after a restart.
    Methods may be called from several threads; the lines of one call stay together in order.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        id_file: str | os.PathLike[str] | None = None,
        spool_dir: str | os.PathLike[str] | None = None,
        timeout_s: float | None = None,
        server_key: str | None = None,
        secret_file: str | os.PathLike[str] | None = None,
    ) -> None:
        refuse_unavailable(spool_dir=spool_dir)
        check_endpoint(endpoint)
        self._keys = load_client_keys(endpoint, server_key, secret_file)
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._identity = Identity(id_file)
        self._lock = threading.Condition()
        self._sending = threading.Lock()
        self._window = Window()
        self._open: dict[str, OpenBatch] = {}
        self._conversation: Conversation | None = None
        self._is_closed = False

    @property
    def id(self) -> bytes:
        """The producer's id as the daemon knows it: 16 bytes."""
        return self._identity.id

    @property
    def unacknowledged_lines(self) -> int:
        """Lines handed to `send` that the daemon has not acknowledged."""
        with self._lock:
            return self._count_lines()

    def send(self, lines: Buffer, stream: str = "flows") -> None:
        """Hands over whole lines; blocks while the daemon gives no credit for more.

        `lines` end in newlines; one is added where the last lacks it. They are cut into batches of 256 KiB; a rest that
        fills no batch waits 50 ms for more. Raises LineTooLong (then nothing of this call is sent), Refused when the
        daemon will not take this producer or stream, and with a `timeout_s` Unreachable or NotAcknowledged.
        """
        if not is_stream_name(stream):
            raise FlowdError(
                f"stream {stream!r} is no legal name", hint="use 1 to 128 of the characters A-Z a-z 0-9 . _ -"
            )
        owned = whole_lines(lines)
        if not owned:
            return
        with self._sending:
            conversation = self._converse()
            with self._lock:
                opened = self._open.get(stream)
                first_bytes = BATCH_BYTES - (opened.size_bytes if opened else 0)
            cuts = list(cut_lines(owned, first_bytes))
            for start, end in cuts:
                self._add(conversation, owned, start, end, stream)

    def flush(self, timeout_s: float | None = None) -> None:
        """Returns when everything sent so far is acknowledged; raises NotAcknowledged with `.count` lines if that takes
        longer than `timeout_s` (by default the producer's own, and without that for ever)."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        with self._lock:
            conversation = self._conversation
            if conversation is None:
                return
            for stream in list(self._open):
                self._seal(stream)
            conversation.wake.ring()
            wanted = self._window.added  # what other threads send meanwhile is not waited for
            if not self._wait_for(conversation, lambda: self._window.acknowledged >= wanted, timeout_s):
                raise self._not_acknowledged(timeout_s)

    def close(self) -> None:
        """Ends the conversation. Does not wait for acknowledgements: `flush` does. May be called twice.

        A `send` or `flush` that blocks in another thread raises FlowdError.
        """
        with self._lock:
            self._is_closed = True
            conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.end()
        self._identity.release()

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self.close()

    def _converse(self) -> Conversation:
        with self._lock:
            if self._is_closed:
                raise FlowdError("the producer is closed")
            if self._conversation is None:
                self._conversation = Conversation(
                    self.endpoint, self.id, self._window, self._lock, self._seal_due, self._keys
                )
                self._conversation.start()
            return self._conversation

    def _add(self, conversation: Conversation, lines: bytes, start: int, end: int, stream: str) -> None:
        """Adds one run of lines: a full one as a batch of its own, a smaller one to the stream's open batch."""
        size_bytes, count = end - start, count_lines(memoryview(lines)[start:end])
        with self._lock:
            has_room = self._wait_for(
                conversation, lambda: self._window.waiting_bytes < WAITING_MAX_BYTES, self.timeout_s
            )
            if not has_room:
                raise self._late(self.timeout_s)
            opened = self._open.get(stream)
            if opened is not None and opened.size_bytes + size_bytes <= BATCH_BYTES and size_bytes:
                opened.append(lines[start:end], count)
                return
            self._seal(stream)
            if size_bytes > BATCH_BYTES // 2:
                self._window.add(Outgoing(stream, memoryview(lines)[start:end], count))
            elif size_bytes:
                due_ns = time.monotonic_ns() + int(BATCH_DELAY_S * 1e9)
                self._open[stream] = OpenBatch(stream, due_ns, [lines[start:end]], size_bytes, count)
        conversation.wake.ring()

    def _seal(self, stream: str) -> None:
        opened = self._open.pop(stream, None)
        if opened is not None:
            self._window.add(opened.seal())

    def _seal_due(self, now_ns: int) -> float | None:
        for opened in list(self._open.values()):
            if opened.due_ns <= now_ns:
                self._seal(opened.stream)
        return min(((opened.due_ns - now_ns) / 1e9 for opened in self._open.values()), default=None)

    def _wait_for(self, conversation: Conversation, is_done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Waits with the lock held; raises what made the conversation fail."""
        done = self._lock.wait_for(lambda: is_done() or conversation.failure is not None, timeout_s)
        if conversation.failure is not None:
            raise conversation.failure
        return done

    def _count_lines(self) -> int:
        return self._window.lines + sum(opened.lines for opened in self._open.values())

    def _late(self, timeout_s: float | None) -> FlowdError:
        """The error of a `send` that waited too long."""
        if self._conversation is not None and self._conversation.is_welcome:
            return self._not_acknowledged(timeout_s)
        return Unreachable(f"{self.endpoint}: no daemon answered within {timeout_s} s", hint=ABSENT_HINT)

    def _not_acknowledged(self, timeout_s: float | None) -> NotAcknowledged:
        count = self._count_lines()
        text = f"{self.endpoint}: {count} lines were not acknowledged within {timeout_s} s"
        return NotAcknowledged(text, count=count, hint=ABSENT_HINT)
