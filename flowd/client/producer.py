"""Producer: lines into the daemon, acknowledged. Public API."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from flowd.client.conversation import Conversation
from flowd.client.cutting import OpenBatch, Outgoing, cut_lines, whole_lines
from flowd.client.failing import LOOK_S, start_thread
from flowd.client.identity import Identity
from flowd.client.spool import Spool
from flowd.client.window import Window
from flowd.errors import ClientFailed, FlowdError, NotAcknowledged, Unreachable
from flowd.wire import Buffer, count_lines
from flowd.wire.keys import load_client_keys
from flowd.wire.limits import BATCH_BYTES, BATCH_DELAY_S, is_stream_name
from flowd.wire.sockets import check_endpoint

ABSENT_HINT = "is the daemon running? `flowd status` asks it"
WAITING_MAX_BYTES = 4 * BATCH_BYTES
"""How far a caller may run ahead of the credit: enough that the next batch is cut while the last one is sent."""
WAITING_MAX_BATCHES = 64
"""So many wait for credit before small ones are left open for more lines: an absent daemon is not met with thousands of
batches of one line each."""


class Producer:
    """Sends lines to a daemon's ingest socket and knows which of them were acknowledged.

    `endpoint` is an ipc:// address, or a tcp:// one with keys: `server_key` (the daemon's public key, or the name of
    its certificate) and `secret_file` (this client's). `id_file` keeps the producer's id over restarts, so that the
    daemon recognises it.
    The connection is made at the first `send` and made again for ever: an absent or restarting daemon only blocks the
    caller, unless `timeout_s` is given. Batches that were not acknowledged are sent again after a restart.

    Without a `spool_dir` lines are held in memory only: what is not acknowledged ends with this process. With one, what
    `send` has taken survives the process, even kill -9, and reaches the daemon's journal exactly once, as soon as a
    producer is made with the same folder again. That one connects at once, and `flush` waits for the lines of earlier
    lives, too. A loss of power is not covered: nothing is forced to the disk. The folder is for one producer at a time,
    and keeps its id unless an `id_file` does. It holds what is not acknowledged (4 MiB of credit, 1 MiB and one call's
    lines that wait for it, 256 KiB for each stream) and what was acknowledged lately, 8 MiB as a rule. Raises
    FlowdError for a folder that cannot be used, or is in use.

    Where the thread that speaks with the daemon ends by an error, `send` and `flush` raise ClientFailed, whose cause it
    is.

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
        check_endpoint(endpoint)
        self._keys = load_client_keys(endpoint, server_key, secret_file)
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self.lost_lines = 0
        """Lines of earlier lives that cannot be sent because the spool is damaged, as far as their number is known.
        Some of them the daemon may have."""
        self._lock = threading.Condition()
        self._sending = threading.Lock()
        self._open: dict[str, OpenBatch] = {}
        self._conversation: Conversation | None = None
        self._is_closed = False
        self._spool: Spool | None = None
        if spool_dir is None:
            self._window = Window()
            self._identity = Identity(id_file)
        else:
            self._spool = Spool(Path(spool_dir).absolute())
            self._window = Window(self._spool.seal, self._spool.acknowledge)
            self._restore(self._spool, id_file)

    @property
    def id(self) -> bytes:
        """The producer's id as the daemon knows it: 16 bytes."""
        return self._identity.id

    @property
    def unacknowledged_lines(self) -> int:
        """Lines handed to `send`, with a spool also in earlier lives, that the daemon has not acknowledged."""
        with self._lock:
            return self._count_lines()

    def send(self, lines: Buffer, stream: str = "flows") -> None:
        """Hands over whole lines; blocks while the daemon gives no credit for more.

        `lines` end in newlines; one is added where the last lacks it. They are cut into batches of 256 KiB; a rest that
        fills no batch waits 50 ms for more, and longer while there is no credit. Raises LineTooLong (then nothing of
        this call is sent), Refused when the daemon will not take this producer or stream, and with a `timeout_s`
        Unreachable or NotAcknowledged.

        With a spool, a call's lines are taken all or none: none where it raises. It then also raises FlowdError where
        there is no room for them on the disk.
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
            if self._spool is None:
                for cut in cuts:
                    with self._lock:
                        self._await_room(conversation)
                        has_news = self._pack(owned, [cut], stream)
                    if has_news:
                        conversation.wake.ring()
                return
            with self._lock:
                self._await_room(conversation)
                has_news = self._pack(owned, cuts, stream, self._spool.append(stream, owned))
            if has_news:
                conversation.wake.ring()

    def flush(self, timeout_s: float | None = None) -> None:
        """Returns when everything sent so far is acknowledged, with a spool also what earlier lives have left; raises
        NotAcknowledged with `.count` lines if that takes longer than `timeout_s` (by default the producer's own, and
        without that for ever)."""
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        with self._lock:
            conversation = self._conversation
            if conversation is None:
                if self._is_closed and self._count_lines():
                    raise self._not_acknowledged_at_end()
                return
            for stream in list(self._open):
                self._seal(stream)
            conversation.wake.ring()
            wanted = self._window.added  # what other threads send meanwhile is not waited for
            if not self._wait_for(conversation, lambda: self._window.acknowledged >= wanted, timeout_s):
                raise self._not_acknowledged(timeout_s)

    def close(self) -> None:
        """Ends the conversation. Does not wait for acknowledgements: `flush` does. May be called twice.

        What is not acknowledged is lost, or with a spool waits for the next producer that is made with it.

        A `send` or `flush` that blocks in another thread raises FlowdError.
        """
        with self._lock:
            self._is_closed = True
            conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.end()
        if self._spool is not None:
            with self._lock:
                self._spool.close()
        self._identity.release()

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._is_closed:
                self.flush()
        finally:
            self.close()

    def _converse(self) -> Conversation:
        with self._lock:
            if self._is_closed:
                raise FlowdError("the producer is closed")
            if self._conversation is None:
                conversation = Conversation(
                    self.endpoint, self.id, self._window, self._lock, self._seal_due, self._keys
                )
                try:
                    start_thread(conversation, f"{self.endpoint}: the producer")
                except ClientFailed:
                    conversation.end()
                    raise
                self._conversation = conversation
            return self._conversation

    def _restore(self, spool: Spool, id_file: str | os.PathLike[str] | None) -> None:
        """Takes up what earlier lives have left in the spool, and begins to send it."""
        try:
            self._identity = Identity(spool.id_file if id_file is None else id_file, spool.recovered.owner)
            try:
                found = spool.begin(self.id)
            except BaseException:
                self._identity.release()
                raise
        except BaseException:
            spool.close()
            raise
        self.lost_lines = found.lost_lines
        self._window.restore(found.last, found.sealed)
        for run in found.runs:
            for stream, position, lines in run:
                opened = self._open.get(stream)
                self._pack(
                    lines, cut_lines(lines, BATCH_BYTES - (opened.size_bytes if opened else 0)), stream, position
                )
            self._seal(run[0].stream)
        if not self._window.is_empty:
            self._converse()

    def _await_room(self, conversation: Conversation) -> None:
        """Waits, with the lock held, until more may be taken."""
        has_room = self._wait_for(conversation, lambda: self._window.waiting_bytes < WAITING_MAX_BYTES, self.timeout_s)
        if not has_room:
            raise self._late(self.timeout_s)

    def _pack(self, lines: bytes, cuts: Iterable[tuple[int, int]], stream: str, position: int = 0) -> bool:
        """Adds runs of lines: a full one as a batch of its own, a smaller one to the stream's open batch. Says whether
        the conversation has to know now. `position` is the place of `lines` in the spool."""
        has_news = False
        for start, end in cuts:
            size_bytes, count = end - start, count_lines(memoryview(lines)[start:end])
            opened = self._open.get(stream)
            if opened is not None and opened.size_bytes + size_bytes <= BATCH_BYTES and size_bytes:
                opened.append(lines[start:end], count, position + end)
                continue
            has_news = True
            self._seal(stream)
            place = position + start
            if size_bytes > BATCH_BYTES // 2:
                full = Outgoing(stream, memoryview(lines)[start:end], count, start=place, end=place + size_bytes)
                self._window.add(full)
            elif size_bytes:
                due_ns = time.monotonic_ns() + int(BATCH_DELAY_S * 1e9)
                opened = self._open[stream] = OpenBatch(stream, due_ns, place)
                opened.append(lines[start:end], count, place + size_bytes)
        return has_news

    def _seal(self, stream: str) -> None:
        opened = self._open.pop(stream, None)
        if opened is not None:
            self._window.add(opened.seal())

    def _seal_due(self, now_ns: int) -> float | None:
        if self._window.waiting_batches >= WAITING_MAX_BATCHES:
            return None  # what would only wait behind them can as well wait for more lines
        for opened in list(self._open.values()):
            if opened.due_ns <= now_ns:
                self._seal(opened.stream)
        return min(((opened.due_ns - now_ns) / 1e9 for opened in self._open.values()), default=None)

    def _wait_for(self, conversation: Conversation, is_done: Callable[[], bool], timeout_s: float | None) -> bool:
        """Waits with the lock held; raises what made the conversation fail."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = LOOK_S if until_s is None else min(LOOK_S, until_s - time.monotonic())
            done = self._lock.wait_for(lambda: is_done() or conversation.failure is not None, left_s)
            conversation.check()
            if done or (until_s is not None and time.monotonic() >= until_s):
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

    def _not_acknowledged_at_end(self) -> NotAcknowledged:
        count = self._count_lines()
        text = f"{self.endpoint}: the producer is closed, and {count} lines were not acknowledged before"
        return NotAcknowledged(text, count=count, hint="flush before you close")
