"""The consumers that are attached, and what they say: ATTACH, CREDIT, COMMIT, GONE_OK, VIEW and BYE.

Belongs to the thread that serves consumers; `describe` may be called by any.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import Any

import msgspec

from flowd.errors import FlowdError
from flowd.relay.consume.attachment import Attachment, Credit
from flowd.relay.consume.compiling import Compiler, describe_refusal
from flowd.relay.consume.door import Door
from flowd.relay.consume.jobs import AttachJob, CommitJob, PlaceJob
from flowd.relay.consume.starts import Begun, Starts
from flowd.relay.deciding.views import View, Views
from flowd.relay.journal.layout import StreamRow
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.store import Store
from flowd.relay.journal.writer import Writer
from flowd.relay.metrics import Counters
from flowd.wire import (
    Attach,
    Attached,
    Bye,
    Commit,
    Err,
    Fenced,
    GoneOk,
    Header,
    Message,
    ViewOk,
)
from flowd.wire import (
    Credit as CreditHeader,
)
from flowd.wire import View as ViewHeader
from flowd.wire.limits import is_stream_name

ATTACHMENTS_MAX = 256
"""Consumers attached at a time; each may have some MiB under way."""
NAME_MAX = 255
"""A consumer's name with its key's behind it, so that it fits into the journal's keys."""
ERR_TEXT_BYTES = 3500
"""An ERR is an ordinary header, of at most 4,096 bytes."""
UNKNOWN = "attach"
"""The ERR code for who is not attached (the daemon was restarted, say): attach again."""

Peer = tuple[Door, bytes]


class Consumers:
    """See the module."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        outbox: Outbox,
        views: Views,
        compiler: Compiler,
        starts: Starts,
        counters: Counters,
    ) -> None:
        self._store = store
        self._writer = writer
        self._outbox = outbox
        self._views = views
        self._compiler = compiler
        self._starts = starts
        self._counters = counters
        self._attachments: dict[Peer, Attachment] = {}
        self._by_name: dict[tuple[str, str], Attachment] = {}
        self._jobs: dict[AttachJob | CommitJob, tuple[Peer, str, Attach | None, View | None]] = {}
        self._order: deque[Attachment] = deque()

    def hear(self, front: Door, peer: bytes, message: Message[Header], now_s: float) -> None:
        """Does what a message asks for."""
        header = message.header
        known = self._attachments.get((front, peer))
        if known is not None:
            known.heard_s = now_s
        if isinstance(header, Attach):
            self._attach(front, peer, header)
        elif isinstance(header, ViewHeader):
            self._make_view(front, peer, header)
        elif isinstance(header, Bye):
            self.detach(known)
        elif not isinstance(header, CreditHeader | Commit | GoneOk):
            front.blame(peer, "type", now_s)
        elif known is None:
            self._counters.add("flowd_refused_attachments_total", reason=UNKNOWN)
            front.reply(peer, Err(UNKNOWN, "say ATTACH first"))
        elif isinstance(header, CreditHeader):
            if not known.credit.add(header.cb, header.cm):
                front.blame(peer, "credit", now_s)
        elif isinstance(header, GoneOk):
            if not known.take_note():
                front.blame(peer, "gone_ok", now_s)
        elif not self._commit(known, header):
            front.blame(peer, "commit", now_s)

    def settle(self) -> bool:
        """Goes on with what the journal and the compiler are done with; False where that is nothing."""
        is_busy = self._compiler.settle()
        while (settled := self._outbox.take()) is not None:
            is_busy = True
            job = settled.job
            if isinstance(job, PlaceJob):
                continue
            assert isinstance(job, AttachJob | CommitJob)
            peer, key, header, view = self._jobs.pop(job)
            if settled.refusal:
                self._refuse(*peer, settled.refusal, "the journal has no room")
            elif isinstance(job, AttachJob):
                assert header is not None
                self._attach_named(peer, key, header, view, job)
            else:
                self._committed(peer, job)
        return is_busy

    def ready(self) -> tuple[list[Attachment], list[Attachment]]:
        """Those who follow, and those who replay, each time beginning with another one."""
        self._order.rotate(-1)
        followers: list[Attachment] = []
        replays: list[Attachment] = []
        for attachment in self._order:
            (replays if attachment.is_replay else followers).append(attachment)
        return followers, replays

    @property
    def is_any_attached(self) -> bool:
        """Whether there is anybody to be served."""
        return bool(self._attachments)

    def is_any_blocked(self, now_s: float) -> bool:
        """Whether somebody's queue was full a moment ago."""
        return any(attachment.blocked_until_s >= now_s for attachment in self._order)

    def detach(self, attachment: Attachment | None) -> None:
        """It is over for this one, on its own wish or because it is gone. Its cursor stays."""
        if attachment is None or self._attachments.get((attachment.front, attachment.peer)) is not attachment:
            return
        del self._attachments[attachment.front, attachment.peer]
        attachment.is_over = True
        self._order.remove(attachment)
        if self._by_name.get((attachment.consumer, attachment.stream)) is attachment:
            del self._by_name[attachment.consumer, attachment.stream]
        if attachment.view is not None:
            self._views.release(attachment.view.name)

    def fence(self, consumer: str, stream: str) -> None:
        """Another has the name: who had it before is told, and not served any more."""
        before = self._by_name.get((consumer, stream))
        if before is not None:
            before.front.reply(before.peer, Fenced())
            self._counters.add("flowd_fenced_attachments_total")
            self.detach(before)

    def describe(self) -> list[dict[str, Any]]:
        """All attachments as plain data."""
        now_s = time.monotonic()
        streams = self._store.streams()
        return [
            {
                "consumer": attachment.consumer,
                "stream": attachment.stream,
                "view": attachment.view.name if attachment.view is not None else "",
                "next": attachment.next,
                "lag_batches": max(0, streams.get(attachment.stream, StreamRow(0)).next - attachment.next),
                "is_replay": attachment.is_replay,
                "credit_bytes": attachment.credit.size_bytes,
                "credit_messages": attachment.credit.messages,
                "sent_batches": attachment.sent.batches,
                "sent_bytes": attachment.sent.bytes,
                "lost_batches": attachment.sent.lost_batches,
                "lost_lines": attachment.sent.lost_lines,
                "silent_s": max(0.0, now_s - attachment.heard_s),
            }
            for attachment in self._attachments.copy().values()
        ]

    def names(self) -> list[tuple[str, str]]:
        """The consumers that have names and are attached, each with its stream. Any thread may call it."""
        return list(self._by_name.copy())

    def close(self) -> None:
        """Gives the views back."""
        for attachment in list(self._attachments.values()):
            self.detach(attachment)

    def _attach(self, front: Door, peer: bytes, header: Attach) -> None:
        refusal = self._judge(header)
        if refusal is not None:
            self._refuse(front, peer, *refusal)
            return
        named = self._views.find(header.st) if header.vw is None and header.flt is None else None
        if named is not None:  # a view can be asked for by its name alone
            header = msgspec.structs.replace(header, st=named.stream, vw=named.name)
        view = self._views.find(header.vw) if header.vw is not None else None
        if header.vw is not None and (view is None or view.stream != header.st):
            self._refuse(front, peer, "view", f"stream {header.st!r} has no view {header.vw[:130]!r}")
            return
        key = front.heard_key
        if header.flt is None:
            self._attach_to(front, peer, key, header, view)
        else:
            done = partial(self._attach_compiled, front, peer, key, header)
            self._compiler.compile(header.st, header.flt, header.dl, done)

    def _judge(self, header: Attach) -> tuple[str, str] | None:
        """Why an ATTACH cannot be served, as an ERR's code and text."""
        if not is_stream_name(header.st):
            return "stream", f"stream {header.st[:130]!r} is no legal name"
        name = header.c.partition("@")[0]
        if header.c and (not is_stream_name(name) or len(header.c.encode()) > NAME_MAX):
            return "name", f"consumer {header.c[:130]!r} is no legal name: 1 to 128 of the characters A-Z a-z 0-9 . _ -"
        if header.vw is not None and header.flt is not None:
            return "view", "give a view or a filter, not both"
        if isinstance(header.start, str) and header.start not in ("cursor", "oldest", "newest"):
            return "from", f"from is {header.start[:80]!r}; it is cursor, oldest, newest or [epoch, sequence]"
        if isinstance(header.until, str) and header.until != "newest":
            return "until", f"until is {header.until[:80]!r}; it is newest or [epoch, sequence]"
        if len(self._attachments) >= ATTACHMENTS_MAX:
            return "busy", f"{ATTACHMENTS_MAX} consumers are attached already"
        return None

    def _attach_compiled(self, front: Door, peer: bytes, key: str, header: Attach, result: View | FlowdError) -> None:
        if isinstance(result, View):
            self._attach_to(front, peer, key, header, result)
        else:
            self._refuse(front, peer, "filter", describe_refusal(result))

    def _attach_to(self, front: Door, peer: bytes, key: str, header: Attach, view: View | None) -> None:
        if not header.c:
            begun = self._starts.begin(header, None)
            self._welcome((front, peer), key, header, view, 0, begun)
            return
        job = AttachJob(self._outbox, header)
        self._jobs[job] = (front, peer), key, header, view
        self._writer.submit(job)

    def _attach_named(self, peer: Peer, key: str, header: Attach, view: View | None, job: AttachJob) -> None:
        """The attachment's generation is stored: who had the name before is fenced."""
        if job.is_fenced:
            peer[0].reply(peer[1], Fenced())
            self._counters.add("flowd_fenced_attachments_total")
            return
        if job.cursor is None:
            self._refuse(*peer, "busy", "too many consumers have cursors: `flowd consumers delete` removes old ones")
            return
        before = self._by_name.get((header.c, header.st))
        if before is not None and (before.front, before.peer) != peer:
            self.fence(header.c, header.st)
        begun = self._starts.begin(header, job.cursor)
        if job.cursor.sequence is None and header.start == "cursor":
            self._place(header, job.cursor.generation, begun.next)
        self._welcome(peer, key, header, view, job.cursor.generation, begun)

    def _place(self, header: Attach, generation: int, next_sequence: int) -> None:
        with self._store.read() as reading:
            row = self._store.stream(header.st) or StreamRow(0)
            lines = reading.lines_before(row, next_sequence)
        place = PlaceJob(self._outbox, header.c, header.st, generation, next_sequence - 1, lines or 0)
        self._writer.submit(place)

    def _welcome(self, peer: Peer, key: str, header: Attach, view: View | None, generation: int, begun: Begun) -> None:
        self.detach(self._attachments.get(peer))
        row = self._store.stream(header.st) or StreamRow(0)
        attachment = Attachment(
            front=peer[0],
            peer=peer[1],
            key=key,
            consumer=header.c,
            stream=header.st,
            view=view,
            generation=generation,
            next=begun.next,
            credit=Credit(header.cb, header.cb, header.cm),
            until=begun.until,
            heard_s=time.monotonic(),
        )
        if view is not None:
            self._views.use(view.name)
        self._attachments[peer] = attachment
        self._order.append(attachment)
        if header.c:
            self._by_name[header.c, header.st] = attachment
        self._counters.add("flowd_attachments_total")
        attached = Attached(self._store.epoch, begun.next, row.oldest, row.next - 1, generation)
        peer[0].reply(peer[1], attached)
        if begun.gone is not None:
            attachment.lose(begun.gone)

    def _commit(self, attachment: Attachment, header: Commit) -> bool:
        """Has a cursor moved; False for a COMMIT that makes no sense."""
        if not attachment.consumer or header.q >= attachment.next:
            return False
        with self._store.read() as reading:
            row = self._store.stream(attachment.stream) or StreamRow(0)
            lines = reading.lines_before(row, header.q + 1)
        job = CommitJob(self._outbox, attachment.consumer, attachment.stream, header.gen, header.q, lines or 0)
        peer = attachment.front, attachment.peer
        self._jobs[job] = peer, attachment.key, None, None
        self._writer.submit(job)
        return True

    def _committed(self, peer: Peer, job: CommitJob) -> None:
        attachment = self._attachments.get(peer)
        if job.is_fenced:
            peer[0].reply(peer[1], Fenced())
            self._counters.add("flowd_fenced_attachments_total")
            if attachment is not None and attachment.generation == job.generation:
                self.detach(attachment)
        elif attachment is not None:
            attachment.owed_commits.append(job.sequence)

    def _make_view(self, front: Door, peer: bytes, header: ViewHeader) -> None:
        if not is_stream_name(header.st):
            self._refuse(front, peer, "stream", f"stream {header.st[:130]!r} is no legal name")
            return
        self._compiler.compile(header.st, header.flt, header.dl, partial(self._answer_view, front, peer))

    def _answer_view(self, front: Door, peer: bytes, result: View | FlowdError) -> None:
        if isinstance(result, View):
            front.reply(peer, ViewOk(result.name, result.generation))
        else:
            self._refuse(front, peer, "filter", describe_refusal(result))

    def _refuse(self, front: Door, peer: bytes, code: str, text: str) -> None:
        self._counters.add("flowd_refused_attachments_total", reason=code)
        while len(text.encode("utf-8", "replace")) > ERR_TEXT_BYTES:
            text = text[: len(text) // 2]
        front.reply(peer, Err(code, text))
