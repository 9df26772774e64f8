"""A group of jobs in one transaction, and what is tried where there is no room for it. For the thread that writes.

Free pages that lie in pieces are made use of piece by piece; then the oldest batches go as if the group were there
already. What is not tried is to retire more than that: a full disk, or somebody who reads for too long, must not empty
the journal.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import lmdb

from flowd.relay.config import Journal
from flowd.relay.journal.layout import DATA_NAME
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import Retired, Transaction
from flowd.relay.metrics import Counters

ENTRY_BYTES = 512
"""What a job takes beside its lines: its share of the pages of heads, marks and streams."""
STEP_BYTES = 1 << 20
"""What is retired at once where room is short: the list of its pages then fits into one page itself."""
EVICTIONS_MAX = 4
"""How often more of the oldest goes because a group does not fit although it should."""
EVICTED_SHARE = 64
"""Each time such a part of the journal more."""
PAGED_COMMITS = 64
"""After so many commits with lines in single pages it is tried again whether there are some side by side."""
HELD_S = 0.5
HELD_LOOK_S = 0.005
"""A thread of this process reads for milliseconds: whoever reads an old state for longer is somebody else."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file cannot grow."""
TURNS = 2
"""Transactions that must pass before what one has freed can be used."""
MAP_FULL = "the journal's map is full"
MAX_AGE_NS = 1 << 62
"""An age without end."""


class Writable(Protocol):
    """What can be put into a transaction."""

    size_bytes: int

    def write(self, transaction: Transaction) -> None:
        """Puts it there; called again with another transaction where the first one came to nothing."""


class NoRoom(Exception):
    """Neither the map nor the disk has room, for the reason that it says: nothing was stored."""


class Committer:
    """Stores groups and retires what is due, by the journal's bounds."""

    def __init__(self, store: Store, settings: Journal, counters: Counters) -> None:
        self._store = store
        self._max_bytes = settings.max_bytes
        self._max_age_ns = int(min(settings.max_age * 1e9, MAX_AGE_NS))
        self._counters = counters
        self._paged_left = 0
        self._turns_due = 0

    def commit(self, group: Sequence[Writable]) -> None:
        """All of a group, or nothing. Raises NoRoom, and lmdb.Error where the disk or the file is not to be trusted."""
        needed_bytes = count_bytes(group)
        first: lmdb.Error | None = None
        if not self._paged_left:
            try:
                self._write(group, is_paged=False)
                return
            except lmdb.Error as error:
                self._judge(error, needed_bytes)
                first = error
            self._paged_left = PAGED_COMMITS
        self._paged_left -= 1
        for extra in range(EVICTIONS_MAX):
            try:
                self._write(group, is_paged=True)
                return
            except lmdb.PanicError as error:
                raise first or error from None  # it was the last page of a commit that could not be written
            except lmdb.Error as error:
                reason = self._judge(error, needed_bytes)
            if reason != MAP_FULL:
                raise NoRoom(reason)
            holders = self._find_holders()
            if holders:
                raise NoRoom(f"process {', '.join(map(str, holders))} reads an old state of the journal and keeps it")
            if not self._evict(needed_bytes + extra * (self._max_bytes // EVICTED_SHARE)):
                break
        raise NoRoom(MAP_FULL)

    def is_age_due(self) -> bool:
        """Whether anything is older than it may be."""
        before_ns = self._store.clock.now_ns() - self._max_age_ns
        with self._store.read() as reading:
            return any(
                row.oldest < row.next and reading.age_of(row, row.oldest) < before_ns
                for row in self._store.streams().values()
            )

    def has_freed(self) -> None:
        """Something was freed that `make_room` is to bring into use."""
        self._turns_due = TURNS

    def make_room(self) -> None:
        """Retires what is too old although nothing can be stored, and brings into use what was freed. Where there is no
        room even for that, nothing changes. Raises lmdb.Error."""
        try:
            if self.is_age_due():
                self._write([], is_paged=False)
                self.has_freed()
            while self._turns_due:
                self._store.turn_over()
                self._turns_due -= 1
        except lmdb.Error as error:
            self._judge(error, STEP_BYTES)

    def probe(self, size_bytes: int) -> None:
        """Raises NoRoom where so much could not be stored, and lmdb.Error."""
        try:
            self._store.probe(size_bytes)
        except lmdb.Error as error:
            raise NoRoom(self._judge(error, size_bytes)) from error

    def _write(self, group: Iterable[Writable], *, is_paged: bool) -> None:
        with self._store.write(is_paged=is_paged) as transaction:
            for job in group:
                job.write(transaction)
            retired = transaction.retire(self._max_bytes, self._max_age_ns)
        self._count(retired)

    def _evict(self, needed_bytes: int) -> bool:
        """Retires the oldest, in small transactions, until there is room for so much; False where nothing went."""
        most_bytes = max(self._max_bytes, self._store.stat().used_bytes)
        target_bytes = max(0, most_bytes - needed_bytes)
        is_any = False
        try:
            while True:
                with self._store.write() as transaction:
                    used_bytes = transaction.used_bytes()
                    retired = transaction.retire(max(target_bytes, used_bytes - STEP_BYTES), self._max_age_ns)
                self._count(retired)
                if not retired.batches:
                    break
                is_any = True
            if is_any:
                self._store.turn_over()
            return is_any
        except lmdb.Error as error:
            self._judge(error, STEP_BYTES)
            return is_any

    def _find_holders(self) -> list[int]:
        """The processes that read an old state of the journal, and go on doing so."""
        until_s = time.monotonic() + HELD_S
        while holders := self._store.find_holders():
            if time.monotonic() >= until_s:
                break
            time.sleep(HELD_LOOK_S)
        return sorted(set(holders))

    def _judge(self, error: lmdb.Error, needed_bytes: int) -> str:
        """What is full; raises the error again where nothing is."""
        reason = name_want_of_room(error, self._store.directory / DATA_NAME, needed_bytes)
        if not reason:
            raise error
        return reason

    def _count(self, retired: Retired) -> None:
        if retired.batches:
            self._counters.add("flowd_retired_batches_total", retired.batches)
            self._counters.add("flowd_retired_lines_total", retired.lines)


def count_bytes(group: Iterable[Writable]) -> int:
    """About what a group takes in the journal."""
    return sum(job.size_bytes + ENTRY_BYTES for job in group)


def name_want_of_room(error: lmdb.Error, data: Path, needed_bytes: int) -> str:
    """What is full where a transaction failed for that: the map, the disk, a quota; "" where it failed otherwise.

    LMDB says "Input/output error" for a write that the system has cut short, which is what a disk does that becomes
    full in the middle of it: so it is tried whether the file can grow."""
    if isinstance(error, lmdb.MapFullError):
        return MAP_FULL
    reason = str(error)
    for number in NO_ROOM:
        if os.strerror(number) in reason:
            return os.strerror(number)
    if os.strerror(errno.EIO) in reason:
        return _find_limit(data, needed_bytes)
    return ""


def _find_limit(data: Path, size_bytes: int) -> str:
    """Why a file cannot grow by so much; "" where it can."""
    piece = os.urandom(min(size_bytes, STEP_BYTES))  # what cannot be compressed
    try:
        with data.open("r+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            try:
                while size_bytes > 0:
                    size_bytes -= file.write(piece)
            finally:
                file.truncate(end)
    except OSError as error:
        return os.strerror(error.errno) if error.errno in NO_ROOM else ""
    return ""
