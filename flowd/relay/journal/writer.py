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
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import lmdb

from flowd.relay.config import Journal
from flowd.relay.health import Health
from flowd.relay.journal.committing import Committer, NoRoom, count_bytes
from flowd.relay.journal.known import Known, forget_known, read_known, write_known
from flowd.relay.journal.layout import Corrupt
from flowd.relay.journal.opening import JournalFailed, describe_store, hint_for
from flowd.relay.journal.outbox import Job
from flowd.relay.journal.store import Store
from flowd.relay.metrics import Counters
from flowd.wire.limits import CREDIT_BYTES

GROUP_BYTES = 8 << 20
"""What one transaction stores at most: a ring finds room again only for what is small beside the map's slack."""
GROUP_JOBS = 256
GROUP_SHARE = 4
"""And no more than this part of what may be stored at all."""
COMMIT_GAP_S = 0.002
"""How far apart commits are that do not wait for the disk: they are so short that each batch would have its own."""
ENOUGH_BYTES = CREDIT_BYTES // 2
"""What is worth a commit before its time: half of what a producer may have under way, so that it sends the other half
meanwhile."""
PROBE_LEAST_BYTES = 1 << 20
RETRY_S = 1.0
"""How often a journal without room tries whether there is some again."""
IDLE_S = 1.0
"""How often the age of batches is looked at where nothing is written."""
KNOWN_S = 5.0
"""How often the file of what is known is renewed, where there is news."""

NO_SPACE, FAILED = "no_space", "failed"

log = logging.getLogger(__name__)


class Writer(threading.Thread):
    """Writes until `end`. `failure` is what ended it otherwise; `alarm` is called then.

    `is_full` says that there is no room: who could refuse before deciding a batch, should. `is_dozing` says that it
    waits for more to be worth a commit. `heard` are woken after each commit that has stored anything; `commits` counts
    them.
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
        self._handed_bytes = 0
        self.is_dozing = False
        self._enough: SimpleQueue[None] = SimpleQueue()
        self._committer = Committer(store, settings, counters)
        self._group_bytes = max(1, min(GROUP_BYTES, settings.max_bytes // GROUP_SHARE))
        self._is_ending = False
        self._is_dirty = False
        self._has_news = False
        self._wanted_bytes = PROBE_LEAST_BYTES
        self._retry_s = 0.0
        self._commit_due_s = 0.0
        self._sync_due_s = 0.0
        self._known_due_s = 0.0
        self._known_failed = False

    def submit(self, job: Job, term: int | None = None) -> None:
        """Hands over a job; its outbox is told what became of it. To be called by the outbox's owner; order is kept.
        `term` is how many refusals the owner knew of when it took the job, where that was earlier than now."""
        job.term = job.outbox.known_refusals if term is None else term
        self._jobs.put(job)
        self._handed_bytes += job.size_bytes
        if self.is_dozing and self._handed_bytes >= ENOUGH_BYTES:
            self.is_dozing = False
            self._enough.put(None)
        if self.failure is not None:
            self._settle_all(FAILED)

    def give_way(self) -> None:
        """Waits while a group is being put together; see Store. For who submits much, before its work."""
        self._store.give_way()

    def end(self) -> None:
        """Stores what was handed over, and ends the thread. The journal stays open."""
        self._jobs.put(None)
        self._enough.put(None)
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
                elif self._committer.is_age_due():
                    self._store_group([])
                self._keep_up(time.monotonic())
                self._doze()
            self._finish()
        except Exception as error:
            log.exception("journal: the thread that writes failed")
            self._fail(error, [])

    def _next_group(self) -> list[Job]:
        """The jobs that wait, up to a group's worth; after a while without any, none."""
        group: list[Job] = []
        size_bytes = 0
        held, self._held = self._held, []
        for waiting in held:
            if self._is_behind_refused(waiting):
                self._settle([waiting], NO_SPACE)
            else:
                group.append(waiting)
                size_bytes += waiting.size_bytes
        try:
            may_wait = not group or self.is_full
            job = self._jobs.get(timeout=self._wait_s()) if may_wait else self._jobs.get_nowait()
            self._handed_bytes = 0
            while job is not None:
                if self._is_behind_refused(job):
                    self._settle([job], NO_SPACE)
                elif group and size_bytes + job.size_bytes > self._group_bytes:
                    self._held.append(job)  # the next group's first
                    break
                else:
                    group.append(job)
                    size_bytes += job.size_bytes
                    if len(group) >= GROUP_JOBS:
                        break
                job = self._jobs.get_nowait()
            else:
                self._is_ending = True
        except Empty:
            pass
        return group

    def _doze(self) -> None:
        """Waits until the next commit is due, or enough has come for one. Each job that came would wake this thread
        only to be put beside the others, and take the GIL from the one that brings them."""
        left_s = self._commit_due_s - time.monotonic()
        if left_s <= 0 or self._settings.sync == "commit" or self._held or self._is_ending:
            return
        self.is_dozing = True
        if self._handed_bytes < ENOUGH_BYTES:
            with suppress(Empty):
                self._enough.get(timeout=left_s)
        self.is_dozing = False

    @staticmethod
    def _is_behind_refused(job: Job) -> bool:
        """Whether a job was handed over when its owner did not know of a refusal yet: it must not overtake that one."""
        return not job.is_patient and job.term != job.outbox.refused

    def _wait_s(self) -> float:
        if self._is_dirty and self._settings.sync == "interval":
            return max(0.0, min(IDLE_S, self._sync_due_s - time.monotonic()))
        return IDLE_S

    def _store_group(self, group: list[Job]) -> None:
        """One transaction for all jobs of a group."""
        try:
            self._commit(group)
        except NoRoom as error:
            self._refuse(group, error)
        except lmdb.Error as error:
            self._fail(error, group)
        else:
            self._settle(group)

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
        self._committer.commit(group)
        self._commit_due_s = time.monotonic() + COMMIT_GAP_S
        self.commits += 1
        self._has_news = True
        if not self._is_dirty:
            self._is_dirty = True
            self._sync_due_s = time.monotonic() + self._settings.interval_ms / 1000

    def _refuse(self, group: list[Job], error: NoRoom) -> None:
        """There is no room: what can be sent again is refused, the rest waits."""
        log.error("journal: no room: %s; batches are refused until there is", error)
        self.is_full = True
        self._wanted_bytes = max(PROBE_LEAST_BYTES, count_bytes(group))
        self._retry_s = time.monotonic() + RETRY_S
        self._health.degrade("journal", f"no room to store anything: {error}")
        self._counters.add("flowd_journal_full_total")
        self._settle_without_room(group)

    def _settle_without_room(self, group: list[Job]) -> None:
        self._held = [job for job in group if job.is_patient] + self._held
        self._settle([job for job in group if not job.is_patient], NO_SPACE)

    def _try_again(self, group: list[Job]) -> None:
        """Looks now and then whether there is room again: by storing as much as was refused, and deleting it. Until
        then what is small waits."""
        group = self._free(group)
        if self.failure is not None:
            return
        small = [job for job in group if job.is_small]
        large = [job for job in group if not job.is_small]
        if time.monotonic() < self._retry_s and not self._is_ending:
            self._held = small + self._held
            self._settle_without_room(large)
            return
        self._retry_s = time.monotonic() + RETRY_S
        patient = [job for job in group if job.is_patient or job.is_small]
        try:
            self._committer.make_room()
            self._committer.probe(self._wanted_bytes)
            self._commit(patient)
        except NoRoom:
            self._settle_without_room(large)
            self._store_small(small)
            return
        except lmdb.Error as error:
            self._fail(error, group)
            return
        self._settle([job for job in group if job not in patient], NO_SPACE)
        self.is_full = False
        self._health.restore("journal")
        log.warning("journal: there is room again")
        self._settle(patient)

    def _store_small(self, small: list[Job]) -> None:
        """A cursor often finds a page where a batch does not: who reads should not have to wait for who writes."""
        if not small:
            return
        try:
            self._commit(small)
        except NoRoom:
            self._settle_without_room(small)
        except lmdb.Error as error:
            self._fail(error, small)
        else:
            self._settle(small)

    def _free(self, group: list[Job]) -> list[Job]:
        """Does what adds nothing at once (an administrator has the journal trimmed): that may be what makes room.
        Returns the others."""
        freeing = [job for job in group if not job.size_bytes and not job.is_patient]
        if not freeing:
            return group
        try:
            self._commit(freeing)
        except NoRoom:
            self._settle(freeing, NO_SPACE)
        except lmdb.Error as error:
            self._fail(error, group)
        else:
            self._settle(freeing)
            self._committer.has_freed()
            self._retry_s = 0.0
        return [job for job in group if job not in freeing]

    def _keep_up(self, now_s: float) -> None:
        """What is due from time to time: syncing by interval, and the file of what is known."""
        if self.failure is not None:
            return
        if self._is_dirty and self._settings.sync == "interval" and now_s >= self._sync_due_s:
            self._is_dirty = False
            try:
                self._store.sync()
            except lmdb.Error as error:
                self._fail(error, [])
                return
        if self._has_news and now_s >= self._known_due_s:
            self._known_due_s = now_s + KNOWN_S
            self._has_news = False
            self._write_known(is_safe=self._settings.sync == "commit")

    def _write_known(self, *, is_safe: bool) -> None:
        try:
            write_known(self._state_dir, describe_store(self._store, is_safe=is_safe))
            self._known_failed = False
        except (OSError, lmdb.Error, Corrupt) as error:
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
        is_damaged = isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError)
        hint = "start it again: the journal is verified first" if is_damaged else hint_for(str(error))
        failure = JournalFailed(f"the journal in {self._store.directory} cannot be written: {error}", hint=hint)
        log.critical("%s; the daemon ends", failure.message)
        self._counters.add("flowd_journal_failures_total", reason=_name_failure(error))
        self._doubt()
        self._is_ending = True
        self.failure = failure
        self._settle(group + self._held, FAILED)
        self._settle_all(FAILED)
        self._alarm()

    def _doubt(self) -> None:
        """Has the next start verify the journal. An environment that failed may not be read any more."""
        try:
            known = describe_store(self._store, is_safe=False)
        except Exception:
            known = read_known(self._state_dir) or Known()
        known.is_doubtful = True
        try:
            write_known(self._state_dir, known)
        except OSError:
            forget_known(self._state_dir)

    def _settle_all(self, refusal: str) -> None:
        """Whatever waits is told that nothing comes of it."""
        with suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    self._settle([job], refusal)


def _name_failure(error: Exception) -> str:
    if os.strerror(errno.EIO) in str(error):
        return "io"
    return type(error).__name__
