"""Sends an attached consumer what comes next: batches while its credit lasts, losses, and that it has caught up.

Belongs to the thread that serves consumers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowd.relay.consume.attachment import Attachment
from flowd.relay.consume.parcels import Parcel, ParcelKey, Parcels
from flowd.relay.journal.layout import Corrupt, StreamRow
from flowd.relay.journal.store import Store
from flowd.relay.metrics import Counters
from flowd.wire import Batch, CaughtUp, Committed, Err, Gone, Header

if TYPE_CHECKING:
    import zmq

BLOCKED_S = 0.005
"""How soon a consumer whose queue is full is tried again: ZeroMQ does not say when there is room."""
TOLD_S = 30.0
"""How often a consumer for which there is nothing is told so: who is gone is noticed by that."""

log = logging.getLogger(__name__)


class Dispatch:
    """`detach` is called for a consumer that is gone, or may not be sent anything any more."""

    def __init__(self, store: Store, counters: Counters, detach: Callable[[Attachment], None]) -> None:
        self._store = store
        self._counters = counters
        self._detach = detach
        self._parcels = Parcels()

    def send_burst(self, attachment: Attachment, most: int, now_s: float) -> bool:
        """Sends up to so many batches; False where nothing was to be sent, or could be."""
        sent = 0
        while sent < most and self._send_next(attachment, now_s):
            sent += 1
        return sent > 0

    def _send_next(self, attachment: Attachment, now_s: float) -> bool:
        if attachment.is_over or now_s < attachment.blocked_until_s:
            return False
        if not self._may_hear(attachment):
            self._say(attachment, Err("key", "this key is not allowed to consume any more"), now_s)
            self._counters.add("flowd_refused_messages_total", lane="consume", reason="revoked")
            self._detach(attachment)
            return False
        while attachment.owed_commits:
            if not self._say(attachment, Committed(attachment.owed_commits[0]), now_s):
                return False
            attachment.owed_commits.popleft()
        if attachment.gone is not None:
            return self._say_gone(attachment, now_s)
        row = self._store.stream(attachment.stream) or StreamRow(0)
        is_done = attachment.until is not None and attachment.next > attachment.until
        if is_done or attachment.next >= row.next:
            return self._say_caught_up(attachment, now_s)
        if attachment.credit.messages < 1:
            return False
        if attachment.next < row.oldest:  # told when it could have been sent: one loss, however long it grew
            attachment.lose(self._describe_retired(attachment, row))
            return self._say_gone(attachment, now_s)
        return self._send_batch(attachment, row, now_s)

    def _send_batch(self, attachment: Attachment, row: StreamRow, now_s: float) -> bool:
        sequence = attachment.next
        key = ParcelKey(attachment.stream, sequence, attachment.view, attachment.front.is_inside)
        parcel = self._parcels.find(key)
        if parcel is None:
            try:
                with self._store.read() as reading:
                    parcel = self._parcels.read(reading, row, key)
            except Corrupt as error:
                log.error("journal: %s, batch %d: %s", attachment.stream, sequence, error)
                self._counters.add("flowd_corrupt_batches_total")
                attachment.lose(self._describe_corrupt(row, sequence))
                return self._say_gone(attachment, now_s)
            if parcel is None:
                return False  # it was retired this moment: the row says so by the next time
        if not attachment.credit.lasts_for(parcel.size_bytes):
            return False
        if not self._send(attachment, self._make_header(attachment, parcel, sequence), now_s, parcel.payload):
            return False
        attachment.next += 1
        attachment.is_caught_up = False
        attachment.credit.take(parcel.size_bytes)
        attachment.sent.batches += 1
        attachment.sent.bytes += parcel.size_bytes
        return True

    @staticmethod
    def _may_hear(attachment: Attachment) -> bool:
        """Whether its key is still good for its stream, or for its view."""
        may_hear = attachment.front.may_hear
        if may_hear(attachment.key, attachment.stream):
            return True
        return attachment.view is not None and may_hear(attachment.key, attachment.view.name)

    def _make_header(self, attachment: Attachment, parcel: Parcel, sequence: int) -> Batch:
        head = parcel.head
        return Batch(
            self._store.epoch,
            sequence,
            parcel.lines,
            head.time_ns,
            parcel.crc,
            head.generation,
            attachment.generation,
            head.lines_before,
            None if attachment.view is None else head.lines,
            head.record_times_ns,
        )

    def _describe_retired(self, attachment: Attachment, row: StreamRow) -> Gone:
        """The loss of what was retired, up to the end that is wanted."""
        end = row.oldest if attachment.until is None else min(row.oldest, attachment.until + 1)
        with self._store.read() as reading:
            before = reading.lines_before(row, attachment.next)
            after = reading.lines_before(row, end)
            if before is None:  # its head is gone as well: so much at least
                before = reading.lines_before(row, row.oldest_head)
                is_least = True
            else:
                is_least = False
        lost = end - attachment.next, max(0, (after or 0) - (before or 0))
        return Gone(attachment.next, end, lost, "retention", is_least or after is None)

    def _describe_corrupt(self, row: StreamRow, sequence: int) -> Gone:
        with self._store.read() as reading:
            before, after = (reading.lines_before(row, number) for number in (sequence, sequence + 1))
        is_known = before is not None and after is not None
        lines = (after or 0) - (before or 0) if is_known else 0
        return Gone(sequence, sequence + 1, (1, max(0, lines)), "corrupt", not is_known)

    def _say_gone(self, attachment: Attachment, now_s: float) -> bool:
        """Tells of a loss, once; False, since nothing more is sent before it is taken note of."""
        assert attachment.gone is not None
        if not attachment.is_gone_said and self._say(attachment, attachment.gone, now_s):
            attachment.is_gone_said = True
            self._counters.add("flowd_gone_batches_total", attachment.gone.lost[0], reason=attachment.gone.why)
            self._counters.add("flowd_gone_lines_total", attachment.gone.lost[1], reason=attachment.gone.why)
        return False

    def _say_caught_up(self, attachment: Attachment, now_s: float) -> bool:
        """Tells that there is nothing more, once, and now and then again; False, since that is no batch."""
        is_due = not attachment.is_caught_up or now_s - attachment.told_s >= TOLD_S
        if is_due and self._say(attachment, CaughtUp(attachment.next), now_s):
            attachment.is_caught_up = True
            attachment.told_s = now_s
        return False

    def _say(self, attachment: Attachment, header: Header, now_s: float) -> bool:
        return self._send(attachment, header, now_s)

    def _send(
        self, attachment: Attachment, header: Header, now_s: float, payload: bytes | zmq.Frame | None = None
    ) -> bool:
        outcome = attachment.front.send(attachment.peer, header, payload)
        if outcome == "full":
            attachment.blocked_until_s = now_s + BLOCKED_S
        elif outcome == "gone":
            self._detach(attachment)
        return not outcome
