"""A consumer's side of the consume lane: attaching, credit, what comes in order, losses, and commits.

The conversation is begun again (new socket, ATTACH) when the connection breaks, when the daemon does not know us, and
when it does not answer: behind the last batch that was taken, so that none comes twice. For one thread.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from typing import NamedTuple

from flowd.client.batch import Batch
from flowd.client.connection import Connection
from flowd.client.link import LinkBroken
from flowd.errors import Fenced, Refused, WireError
from flowd.wire import (
    Attach,
    Attached,
    Bye,
    CaughtUp,
    Commit,
    Committed,
    Credit,
    Err,
    Gone,
    GoneOk,
    Header,
    Message,
)
from flowd.wire import Batch as StoredBatch
from flowd.wire import Fenced as FencedHeader

ATTACH_WAIT_S = 1.0
"""How long an ATTACH may stay unanswered before it is said again on a new socket; doubled up to the next one."""
ATTACH_WAIT_MAX_S = 8.0
COMMIT_WAIT_S = 5.0
"""How long a COMMIT may stay unanswered before everything is begun anew."""
AGAIN_S = 0.1
"""The pause before a conversation that broke is begun anew, doubled up to the next one."""
AGAIN_MAX_S = 2.0
CREDIT_PART = 4
"""Credit is given back when so many parts of it have been taken."""
BAD_MAX = 3
"""A batch damaged on its way thrice is damaged before it."""
BYE_LINGER_MS = 200
UNKNOWN = "attach"
"""The ERR code of a daemon that does not know this conversation (it was restarted): attach again."""
LATER = ("busy", "no_space")
"""ERR codes that are worth another try."""

log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What a consumer asks for; see Consumer."""

    name: str
    stream: str
    start: str | tuple[bytes, int]
    view: str | None
    filter: str | None
    dialect: str | None
    until: str | tuple[bytes, int] | None
    since_ns: int | None
    last_lines: int | None
    credit_bytes: int
    credit_batches: int


class Pull:
    """`step` makes headway and may wait for it, `turn` does not wait; `take` gives what has come, in order.

    `position` is the last batch taken, `taken_batches` counts them, `began_at_oldest` says whether the first one was
    the oldest stored. `is_done` says that `until` was reached and everything before it taken.
    """

    def __init__(self, link: Connection, wanted: Wanted) -> None:
        self.position: tuple[bytes, int] | None = None
        self.is_attached = False
        self.missed_lines = 0
        self.missed_batches = 0
        self.taken_batches = 0
        self.began_at_oldest = False
        self._link = link
        self._wanted = wanted
        self._incarnation = secrets.randbits(63)
        self._until = wanted.until
        self._epoch = b""
        self._generation = 0
        self._expected = 0
        self._arrived: deque[Batch | Gone] = deque()
        self._has_ended = False
        self._is_caught_up = False
        self._was_attached = False
        self._missed: tuple[int, str] | None = None
        self._owed_bytes = 0
        self._owed_batches = 0
        self._committed: tuple[bytes, int] | None = None
        self._asked: tuple[bytes, int] | None = None
        self._asked_s = 0.0
        self._attach_s = 0.0
        self._attach_wait_s = ATTACH_WAIT_S
        self._again_s = 0.0
        self._pause_s = AGAIN_S
        self._bad: tuple[int, int] = (0, 0)

    @property
    def malformed(self) -> int:
        """Messages that were none of FLW/1, and were skipped."""
        return self._link.malformed

    @property
    def is_done(self) -> bool:
        """Whether nothing more will come."""
        return self._has_ended and not self._arrived

    @property
    def is_caught_up(self) -> bool:
        """Whether everything that was stored lately has been taken."""
        return self._is_caught_up and not self._arrived

    def take(self) -> Batch | None:
        """The next batch that has come, which may have no lines; None where none has."""
        while self._arrived:
            arrived = self._arrived.popleft()
            if isinstance(arrived, Gone):
                lines, _ = self._missed or (0, "")
                self._missed = lines + arrived.lost[1], arrived.why
                self.missed_lines += arrived.lost[1]
                self.missed_batches += arrived.lost[0]
                self.position = self._epoch, arrived.oldest - 1
                continue
            if self._missed is not None and arrived.lines:
                arrived.missed, arrived.gap = self._missed
                self._missed = None
            self.position = arrived.epoch, arrived.seq
            self.taken_batches += 1
            self._return_credit(len(arrived.lines))
            return arrived
        return None

    @property
    def title(self) -> str:
        """Where it reads, for people."""
        return self._link.endpoint

    def absence(self, timeout_s: float | None) -> tuple[str, str]:
        """What to say where nobody attached this consumer for so long, and a hint."""
        words = f"{self.title}: no daemon answered within {timeout_s} s"
        return words, "is the daemon running? `flowd status` asks it"

    def step(self, deadline_s: float | None) -> bool:
        """Waits for the next message, or makes the connection; False where the deadline passed.

        Raises Refused and Fenced.
        """
        now_s = time.monotonic()
        left_s = 3600.0 if deadline_s is None else deadline_s - now_s
        if left_s <= 0 and not self._link.is_open:
            return False
        try:
            if not self._link.is_open:
                self._wait_to_open(now_s, left_s)
                return deadline_s is None or time.monotonic() < deadline_s
            message = self._link.hear(min(max(0.0, left_s), self._patience_s(now_s)))
            if message is not None:
                self._hear(message)
                return True
            self._look_at_clock(time.monotonic())
        except LinkBroken as broken:
            log.info("consumer: %s", broken)
            self._begin_anew()
        return deadline_s is None or time.monotonic() < deadline_s

    def turn(self) -> None:
        """Takes in all that has come, and opens the connection where it is time to; never waits. To be called when
        something comes, and now and then. Raises Refused and Fenced."""
        now_s = time.monotonic()
        if not self._link.is_open:
            if now_s < self._again_s:
                return
            self._link.open()
            self._attach()
        try:
            while self._link.is_open and (message := self._link.hear(0.0)) is not None:
                self._hear(message)
            if self._link.is_open:
                self._look_at_clock(now_s)
        except LinkBroken as broken:
            log.info("consumer: %s", broken)
            self._begin_anew()

    @property
    def is_committing(self) -> bool:
        """Whether a commit was asked for that is not answered yet."""
        return self._asked is not None

    def ask_commit(self, place: tuple[bytes, int]) -> None:
        """Has the cursor moved behind this batch, soon; asked again by itself after a break."""
        if not self.is_attached or place[0] != self._epoch or self._asked == place:
            return
        if self._link.say(Commit(place[1], self._generation)):
            self._asked = place
            self._asked_s = time.monotonic()

    def is_committed(self, place: tuple[bytes, int]) -> bool:
        """Whether the cursor stands behind this batch, or its journal is no more."""
        if self.is_attached and place[0] != self._epoch:
            return True
        done = self._committed
        return done is not None and done[0] == place[0] and done[1] >= place[1]

    def close(self) -> None:
        """Says BYE and gives the socket back."""
        if self._link.is_open and self.is_attached:
            self._link.say(Bye(), BYE_LINGER_MS)
        self._link.close()
        self.is_attached = False

    def _wait_to_open(self, now_s: float, left_s: float) -> None:
        pause_s = self._again_s - now_s
        if pause_s > 0:
            time.sleep(min(pause_s, max(0.0, left_s)))
            if pause_s > left_s:
                return
        self._link.open()
        self._attach()

    def _attach(self) -> None:
        wanted = self._wanted
        start = wanted.start if self.position is None else (self.position[0], self.position[1] + 1)
        self._link.say(
            Attach(
                st=wanted.stream,
                cb=wanted.credit_bytes,
                cm=wanted.credit_batches,
                c=wanted.name,
                vw=wanted.view,
                flt=wanted.filter,
                dl=wanted.dialect,
                start=start,
                since=wanted.since_ns,
                last=wanted.last_lines,
                until=self._until,
                inc=self._incarnation,
                again=self._was_attached,
            )
        )
        self._attach_s = time.monotonic()
        self._owed_bytes = self._owed_batches = 0

    def _begin_anew(self, at_once: bool = False) -> None:
        """Forgets the conversation and what came of it that was not taken; the next step begins another."""
        self._link.close()
        self.is_attached = False
        self._is_caught_up = False
        self._has_ended = False
        self._asked = None
        self._arrived.clear()
        self._again_s = time.monotonic() + (0.0 if at_once else self._pause_s)
        self._pause_s = min(2 * self._pause_s, AGAIN_MAX_S)

    def _patience_s(self, now_s: float) -> float:
        """How long to wait for a message before something else is to be done."""
        if not self.is_attached:
            return max(0.0, self._attach_s + self._attach_wait_s - now_s)
        if self._asked is not None:
            return max(0.0, self._asked_s + COMMIT_WAIT_S - now_s)
        return 3600.0

    def _look_at_clock(self, now_s: float) -> None:
        """Begins anew where the daemon owes an answer for too long."""
        if not self.is_attached and now_s >= self._attach_s + self._attach_wait_s:
            log.warning("consumer: no daemon answers at %s, trying again", self._link.endpoint)
            self._attach_wait_s = min(2 * self._attach_wait_s, ATTACH_WAIT_MAX_S)
            self._begin_anew(at_once=True)
        elif self.is_attached and self._asked is not None and now_s >= self._asked_s + COMMIT_WAIT_S:
            log.warning("consumer: %s did not answer a commit, beginning anew", self._link.endpoint)
            self._begin_anew(at_once=True)

    def _hear(self, message: Message[Header]) -> None:
        header = message.header
        if isinstance(header, Attached):
            self._hear_attached(header)
        elif isinstance(header, Err):
            self._hear_error(header)
        elif isinstance(header, FencedHeader):
            self._link.close()
            self.is_attached = False
            self._arrived.clear()  # they are the other's now
            raise Fenced(
                f"another consumer named {self._wanted.name!r} has attached to {self._wanted.stream!r}",
                hint="give each consumer a name of its own",
            )
        elif not self.is_attached:
            return  # of a conversation before
        elif isinstance(header, StoredBatch):
            self._hear_batch(header, message)
        elif isinstance(header, Gone):
            self._expected = header.oldest
            self._arrived.append(header)
            self._link.say(GoneOk())
        elif isinstance(header, CaughtUp):
            self._is_caught_up = True
            self._has_ended = self._until is not None
        elif isinstance(header, Committed):
            self._committed = self._epoch, header.q
            if self._asked is not None and self._asked[1] <= header.q:
                self._asked = None

    def _hear_attached(self, attached: Attached) -> None:
        self._epoch = attached.e
        self._generation = attached.gen
        self._expected = attached.next
        self.is_attached = self._was_attached = True
        self._attach_wait_s = ATTACH_WAIT_S
        self._pause_s = AGAIN_S
        if self.position is None:
            self.position = attached.e, attached.next - 1
            self.began_at_oldest = attached.next <= attached.oldest
        if self._until == "newest":
            self._until = attached.e, attached.newest

    def _hear_error(self, error: Err) -> None:
        if error.code == UNKNOWN:
            self._begin_anew(at_once=True)
        elif error.code in LATER:
            log.warning("consumer: %s: %s", self._link.endpoint, error.text)
            self._begin_anew()
        else:
            self._link.close()
            self.is_attached = False
            raise Refused(error.code, f"{self._link.endpoint} refused: {error.text or error.code}")

    def _hear_batch(self, header: StoredBatch, message: Message[Header]) -> None:
        if header.gen != self._generation:
            return
        if header.q != self._expected or header.e != self._epoch:
            log.warning("consumer: %s sent batch %d, not %d", self._link.endpoint, header.q, self._expected)
            self._begin_anew()
            return
        try:
            lines = self._link.open_lines(header, message)
        except WireError as error:
            sequence, times = self._bad
            self._bad = (header.q, times + 1 if sequence == header.q else 1)
            if self._bad[1] >= BAD_MAX:
                raise
            log.warning("consumer: batch %d: %s; asking for it again", header.q, error)
            self._begin_anew()
            return
        self._expected = header.q + 1
        self._is_caught_up = False
        self._arrived.append(
            Batch(
                self._wanted.view or self._wanted.stream,
                header.e,
                header.q,
                lines,
                time_ns=header.t,
                generation=header.g,
                record_times_ns=header.ft,
                line_count=header.n,
            )
        )

    def _return_credit(self, size_bytes: int) -> None:
        """A batch was taken: its credit goes back, a part of the whole at a time."""
        self._owed_bytes += size_bytes
        self._owed_batches += 1
        is_due = (
            self._owed_bytes * CREDIT_PART >= self._wanted.credit_bytes
            or self._owed_batches * CREDIT_PART >= self._wanted.credit_batches
            or not self._arrived
        )
        if is_due and self.is_attached and self._link.say(Credit(self._owed_bytes, self._owed_batches)):
            self._owed_bytes = self._owed_batches = 0
