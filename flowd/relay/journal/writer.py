"""The thread that writes the journal: it takes the jobs that wait, does them in one transaction, commits, and says so.

While it commits, others decide the next batches: what has come by then is the next group. A group that finds no room is
refused whole, so that no batch overtakes another. An error of the disk ends the daemon: what a failed sync has left
behind, nobody knows, and it is never tried again.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import lmdb

from flowd.relay.config import Journal
from flowd.relay.health import Health
from flowd.relay.journal.known import write_known
from flowd.relay.journal.opening import JournalFailed, describe_store, hint_for
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import Retired, Transaction
from flowd.relay.metrics import Counters

GROUP_BYTES = 8 << 20
"""What one transaction stores at most: a ring finds room again only for what is small beside the map's slack."""
GROUP_JOBS = 256
GROUP_SHARE = 4
"""And no more than this part of what may be stored at all."""
PROBE_LEAST_BYTES = 1 << 20
PROBE_KEY = b"flowd.probe"
RETRY_S = 1.0
"""How often a journal without room tries whether there is some again."""
EVICTIONS_MAX = 8
"""How often more of the oldest is retired because the free pages lie in pieces that are too small."""
EVICTED_SHARE = 64
IDLE_S = 1.0
"""How often the age of batches is looked at where nothing is written."""
KNOWN_S = 5.0
"""How often the file of what is known is renewed, where there is news."""

NO_SPACE, FAILED = "no_space", "failed"

log = logging.getLogger(__name__)


class Job(Protocol):
    """Something to be stored. `write` is called again where its transaction is; `is_patient` jobs wait while there is
    no room, the others are refused. `term` is set by `submit`."""

    outbox: Outbox
    size_bytes: int
    is_patient: bool
    term: int

    def write(self, transaction: Transaction) -> None:
        """Puts it into the transaction."""


class Writer(threading.Thread):
    """Writes until `end`. `failure` is what ended it otherwise; `alarm` is called then.

    `is_full` says that there is no room: who could refuse before deciding a batch, should. `heard` are woken after
    each commit that has stored anything; `commits` counts them.
    """

    def __init__(
        self,
        store: Store,
        settings: Journal,
        state_dir: str | os.PathLike[str],
        counters: Counters,
        health: Health,
        alarm: Callable[[], None],
    ) -> None:
        super().__init__(name="flowd-journal", daemon=True)
        self.failure: JournalFailed | None = None
        self.is_full = False
        self.commits = 0
        self.heard: list[Callable[[], None]] = []
        self._store = store
        self._settings = settings
        self._state_dir = Path(state_dir)
        self._counters = counters
        self._health = health
        self._alarm = alarm
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._held: list[Job] = []
        self._group_bytes = max(1, min(GROUP_BYTES, settings.max_bytes // GROUP_SHARE))
        self._is_ending = False
        self._is_dirty = False
        self._has_news = False
        self._wanted_bytes = PROBE_LEAST_BYTES
        self._retry_s = 0.0
        self._sync_due_s = 0.0
        self._known_due_s = 0.0
        self._known_failed = False

    def submit(self, job: Job) -> None:
        """Hands over a job; its outbox is told what became of it. To be called by the outbox's owner; order is kept."""
        job.term = job.outbox.known_refusals
        self._jobs.put(job)

    def end(self) -> None:
        """Stores what was handed over, and ends the thread. The journal stays open."""
        self._jobs.put(None)
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """The loop."""
        try:
            while not self._is_ending:
                group = self._next_group()
                if self.is_full:
                    self._try_again(group)
                elif group:
                    self._store_group(group)
                else:
                    self._retire_by_age()
                self._keep_up(time.monotonic())
            self._finish()
        except Exception as error:
            log.exception("journal: the thread that writes failed")
            self._fail(error, [])

    def _next_group(self) -> list[Job]:
        """The jobs that wait, up to a group's worth; after a while without any, none."""
        group, self._held = self._held, []
        size_bytes = sum(job.size_bytes for job in group)
        try:
            job = self._jobs.get(timeout=self._wait_s()) if not group or self.is_full else self._jobs.get_nowait()
            while True:
                if job is None:
                    self._is_ending = True
                    break
                if not job.is_patient and job.term != job.outbox.refused:
                    self._settle([job], NO_SPACE)  # it comes after one that was refused
                    job = self._jobs.get_nowait()
                    continue
                if group and size_bytes + job.size_bytes > self._group_bytes:
                    self._held.append(job)  # the next group's first
                    break
                group.append(job)
                size_bytes += job.size_bytes
                if len(group) >= GROUP_JOBS:
                    break
                job = self._jobs.get_nowait()
        except Empty:
            pass
        return group

    def _wait_s(self) -> float:
        if self._is_dirty and self._settings.sync == "interval":
            return max(0.0, min(IDLE_S, self._sync_due_s - time.monotonic()))
        return IDLE_S

    def _store_group(self, group: list[Job]) -> None:
        """One transaction for all jobs of a group."""
        for _ in range(EVICTIONS_MAX):
            try:
                self._commit(group)
            except lmdb.MapFullError as error:
                if self._is_held_by_readers() or not self._evict(group):
                    self._refuse(group, error)
                    return
            except lmdb.DiskError as error:
                self._refuse(group, error)
                return
            except lmdb.Error as error:
                self._fail(error, group)
                return
            else:
                self._settle(group)
                return
        self._refuse(group, lmdb.MapFullError("no free pages side by side"))

    def _settle(self, group: list[Job], refusal: str = "") -> None:
        """Tells the jobs' owners what became of them, and where something was stored, all who wait for that."""
        for job in group:
            job.outbox.put(job, refusal)
        for wake in {job.outbox.wake for job in group}:
            wake.ring()
        if not refusal:
            for hear in self.heard:
                hear()

    def _commit(self, group: list[Job]) -> None:
        with self._store.write() as transaction:
            for job in group:
                job.write(transaction)
            retired = transaction.retire(self._settings.max_bytes, int(self._settings.max_age * 1e9))
        self._count_retired(retired)
        self.commits += 1
        self._has_news = True
        if not self._is_dirty:
            self._is_dirty = True
            self._sync_due_s = time.monotonic() + self._settings.interval_ms / 1000

    def _retire_by_age(self) -> None:
        """Where nothing is written, what is too old goes all the same."""
        before_ns = self._store.clock.now_ns() - int(self._settings.max_age * 1e9)
        with self._store.read() as reading:
            is_due = any(
                row.oldest < row.next and reading.age_of(row, row.oldest) < before_ns
                for row in self._store.streams().values()
            )
        if is_due:
            self._store_group([])

    def _evict(self, group: list[Job]) -> bool:
        """Retires more of the oldest than the bound asks for; False where nothing is left to retire."""
        needed_bytes = sum(job.size_bytes for job in group) + self._settings.max_bytes // EVICTED_SHARE
        with self._store.write() as transaction:
            target_bytes = max(0, transaction.used_bytes() - needed_bytes)
            retired = transaction.retire(target_bytes, int(self._settings.max_age * 1e9))
        self._count_retired(retired)
        return retired.batches > 0

    def _is_held_by_readers(self) -> bool:
        """Whether somebody reads an old state of the journal, so that deleting makes no room."""
        self._store.environment.reader_check()
        last = self._store.environment.info()["last_txnid"]
        lines = self._store.environment.readers().splitlines()[1:]
        seen = [int(words[2]) for words in map(str.split, lines) if len(words) == 3 and words[2].isdigit()]
        return any(number + 1 < last for number in seen)

    def _refuse(self, group: list[Job], error: lmdb.Error) -> None:
        """There is no room: what can be sent again is refused, the rest waits."""
        if not self.is_full:
            log.error("journal: no room: %s; batches are refused until there is", error)
        self.is_full = True
        self._wanted_bytes = max(PROBE_LEAST_BYTES, sum(job.size_bytes for job in group))
        self._retry_s = time.monotonic() + RETRY_S
        self._health.degrade("journal", f"no room to store anything: {error}")
        self._counters.add("flowd_journal_full_total")
        self._settle_without_room(group)

    def _settle_without_room(self, group: list[Job]) -> None:
        self._held = [job for job in group if job.is_patient] + self._held
        self._settle([job for job in group if not job.is_patient], NO_SPACE)

    def _try_again(self, group: list[Job]) -> None:
        """Looks now and then whether there is room again: by storing as much as was refused, and deleting it."""
        if time.monotonic() < self._retry_s and not self._is_ending:
            self._settle_without_room(group)
            return
        self._retry_s = time.monotonic() + RETRY_S
        patient = [job for job in group if job.is_patient]
        try:
            self._store.probe(PROBE_KEY, self._wanted_bytes)
            self._commit(patient)
        except (lmdb.MapFullError, lmdb.DiskError):
            self._settle_without_room(group)
            return
        except lmdb.Error as error:
            self._fail(error, group)
            return
        self.is_full = False
        self._health.restore("journal")
        log.warning("journal: there is room again")
        self._settle(patient)
        self._settle([job for job in group if not job.is_patient], NO_SPACE)

    def _keep_up(self, now_s: float) -> None:
        """What is due from time to time: syncing by interval, and the file of what is known."""
        if self._is_dirty and self._settings.sync == "interval" and now_s >= self._sync_due_s and not self.failure:
            self._is_dirty = False
            try:
                self._store.sync()
            except lmdb.Error as error:
                self._fail(error, [])
        if self._has_news and now_s >= self._known_due_s:
            self._known_due_s = now_s + KNOWN_S
            self._has_news = False
            self._write_known(is_safe=self._settings.sync == "commit")

    def _write_known(self, *, is_safe: bool, is_doubtful: bool = False) -> None:
        try:
            known = describe_store(self._store, is_safe=is_safe)
            known.is_doubtful = is_doubtful
            write_known(self._state_dir, known)
            self._known_failed = False
        except (OSError, lmdb.Error) as error:
            if not self._known_failed:
                log.warning("journal: what is known of it cannot be written: %s", error)
            self._known_failed = True

    def _finish(self) -> None:
        """The end: everything is brought to the disk."""
        if self.failure is not None:
            return
        self._settle(self._held, NO_SPACE)
        try:
            if self._settings.sync != "commit":
                self._store.sync()
        except lmdb.Error as error:
            self._fail(error, [])
            return
        self._write_known(is_safe=True)

    def _fail(self, error: Exception, group: list[Job]) -> None:
        """The disk, or the file, is not to be trusted any more: the daemon ends."""
        is_damaged = isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.PanicError)
        hint = "start it again: the journal is verified first" if is_damaged else hint_for(str(error))
        self.failure = JournalFailed(f"the journal in {self._store.directory} cannot be written: {error}", hint=hint)
        log.critical("%s; the daemon ends", self.failure.message)
        self._counters.add("flowd_journal_failures_total", reason=_name_failure(error))
        if is_damaged:
            self._write_known(is_safe=False, is_doubtful=True)
        self._is_ending = True
        self._settle(group, FAILED)
        self._alarm()

    def _count_retired(self, retired: Retired) -> None:
        if retired.batches:
            self._counters.add("flowd_retired_batches_total", retired.batches)
            self._counters.add("flowd_retired_lines_total", retired.lines)


def _name_failure(error: Exception) -> str:
    if os.strerror(errno.EIO) in str(error):
        return "io"
    return type(error).__name__
