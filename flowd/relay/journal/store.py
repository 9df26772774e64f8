"""The journal's environment: opened, its streams known, its transactions begun, synced and closed.

Raises what LMDB raises: `committing` and `writer` turn that into what the daemon says. The thread that writes owns a
Store; `stream`, `streams` and `read` are for any thread, since a stream's row is replaced whole, after the commit that
changed it.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec

from flowd.relay.journal.clock import AgeClock
from flowd.relay.journal.layout import (
    BEFORE_KEY,
    CONTINUED_KEY,
    DATA_NAME,
    DATABASES,
    EPOCH_KEY,
    FORMAT,
    FORMAT_KEY,
    FORMATS,
    LOCK_NAME,
    OTHER_HINT,
    Continued,
    Corrupt,
    OtherFormat,
    StreamRow,
    part_bytes,
    unpack_stream,
)
from flowd.relay.journal.reading import Reading
from flowd.relay.journal.transaction import GENERATION_KEY, HEAD_COST_BYTES, Shape, State, Transaction
from flowd.wire import EpochEnd
from flowd.wire.limits import ID_BYTES

MAP_SLACK_BYTES = 64 << 20
"""The map is so much larger than what may be stored: deleting needs pages, too, and free ones lie in pieces."""
MAP_LEAST_BYTES = 1 << 20
"""What the map is larger than a file that was written for a larger journal: retiring begins with so much."""
DEPARTED_SHARE = 32
"""The heads of departed batches may take such a part of the journal: a small one must not fill with them."""
DEPARTED_LEAST_BYTES = 64 << 10
CONTINUED_MAX = 64
"""Epochs that are remembered of a journal that went on after them: each is a loss of power."""
SPARE_READS = 4
"""Read transactions kept for the next one: one a reading thread."""
LOCK_BYTES = 8192
"""LMDB's table of readers."""
PROBE_PREFIX = b"flowd.probe."


class Stat(NamedTuple):
    """How full the journal is: bytes that entries take, the file's size, and numbers of entries."""

    used_bytes: int
    file_bytes: int
    batches: int
    producers: int
    cursors: int


class Store:
    """An open journal in `directory`, made where there is none. `epoch` names it for ever.

    `is_synced` says that each commit is to survive a loss of power. `before` is kept by a journal that is made, for
    later lives of the daemon: what its maker knows of the one before it. `continued` are the epochs that this journal
    has had before. Raises lmdb.Error, OSError, and OtherFormat.
    """

    def __init__(self, directory: Path, *, max_bytes: int, is_synced: bool, before: bytes = b"") -> None:
        directory.mkdir(mode=0o750, exist_ok=True)
        self.directory = directory
        _reserve_lock(directory)
        self._way = threading.Lock()
        self.environment = lmdb.open(
            os.fsencode(directory),
            map_size=max(max_bytes + MAP_SLACK_BYTES, _file_bytes(directory) + MAP_LEAST_BYTES),
            max_dbs=len(DATABASES),
            mode=0o600,
            sync=is_synced,
            max_spare_txns=SPARE_READS,
        )
        try:
            self._check_format()
            self.environment.reader_check()  # a killed daemon's reads would keep pages from being used again
            self.databases = {name: self.environment.open_db(name.encode()) for name in DATABASES}
            departed_bytes = max(DEPARTED_LEAST_BYTES, max_bytes // DEPARTED_SHARE)
            self.shape = Shape(self.databases, self.environment.stat()["psize"], departed_bytes // HEAD_COST_BYTES)
            self._begin(before)
            if is_synced:
                self._sync_all()
        except BaseException:
            self.environment.close()
            raise

    def _check_format(self) -> None:
        """Before anything is written."""
        with self.environment.begin() as transaction:
            written = transaction.get(FORMAT_KEY)
        if written is not None and written not in FORMATS:
            raise OtherFormat(
                f"{self.directory}: the journal has format {written.decode('ascii', 'replace')[:20]}, this flowd"
                f" reads {' and '.join(known.decode() for known in FORMATS)}",
                hint=OTHER_HINT,
            )

    def _begin(self, before: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            if transaction.get(FORMAT_KEY) is None:
                transaction.put(FORMAT_KEY, str(FORMAT).encode())
                transaction.put(EPOCH_KEY, secrets.token_bytes(ID_BYTES))
                if before:
                    transaction.put(BEFORE_KEY, before)
            epoch = transaction.get(EPOCH_KEY)
            if epoch is None or len(epoch) != ID_BYTES:
                raise lmdb.CorruptedError("the journal has no epoch")
            self.epoch: bytes = epoch
            self.before: bytes = transaction.get(BEFORE_KEY, b"")
            self.continued = msgspec.json.decode(transaction.get(CONTINUED_KEY, b"[]"), type=list[Continued])
            generation = int(transaction.get(GENERATION_KEY, b"0"))
            written = int(transaction.get(FORMAT_KEY, FORMATS[0]))
            _delete_probe(transaction)
            with transaction.cursor(self.databases["streams"]) as cursor:
                rows = {name.decode(): unpack_stream(value) for name, value in cursor}
            self._state = State(rows, self.shape.used_bytes(transaction), {}, generation, format=written)
            self.clock = AgeClock(self._find_newest(transaction))

    def _find_newest(self, transaction: lmdb.Transaction) -> tuple[int, int] | None:
        """When the newest batch was stored, by the journal's clock and by the system's."""
        reading = Reading(transaction, self.shape)
        found = []
        for row in self._state.rows.values():
            try:
                head = reading.head(row, row.next - 1)
            except Corrupt:
                continue
            if head is not None:
                found.append((head.age_ns, head.time_ns))
        return max(found, default=None)

    def _sync_all(self) -> None:
        """Brings to the disk what an earlier life may have left, and the names of what was made."""
        self.sync()
        for directory in (self.directory, self.directory.parent):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno != errno.EINVAL:  # some file systems keep no directories
                    raise
            finally:
                os.close(fd)

    def renew(self) -> None:
        """Begins a new epoch in which all that is stored stays: the last batches may have been lost, and their
        sequences must not name others. To be called before anything is appended."""
        rows = self._state.rows.items()
        ended = Continued(self.epoch.hex(), {name: (row.next, row.lines) for name, row in rows})
        continued = [*self.continued, ended][-CONTINUED_MAX:]
        epoch = secrets.token_bytes(ID_BYTES)
        with self.environment.begin(write=True) as transaction:
            transaction.put(EPOCH_KEY, epoch)
            transaction.put(CONTINUED_KEY, msgspec.json.encode(continued))
        self.epoch, self.continued = epoch, continued

    def epoch_before(self, stream: str) -> EpochEnd | None:
        """The epoch that this one goes on from, and where the stream was then; None where it goes on from none."""
        if not self.continued:
            return None
        ended = self.continued[-1]
        return bytes.fromhex(ended.epoch), *ended.streams.get(stream, (1, 0))

    @property
    def generation(self) -> int:
        """The newest generation of filters that has decided anything here."""
        return self._state.generation

    def stream(self, name: str) -> StreamRow | None:
        """Where a stream stands; None where it never had a batch."""
        return self._state.rows.get(name)

    def streams(self) -> Mapping[str, StreamRow]:
        """Where all streams stand, as of the last commit."""
        return self._state.rows

    @contextmanager
    def write(self, *, is_paged: bool = False) -> Iterator[Transaction]:
        """A transaction: committed at the block's end, aborted where the block raises. One at a time. For `is_paged`
        see Transaction."""
        with self.environment.begin(write=True) as raw, self._way:  # the way is free again before the commit
            transaction = Transaction(raw, self.shape, self._state, self.clock, is_paged=is_paged)
            yield transaction
            transaction.finish()
        self._state = transaction.state

    def give_way(self) -> None:
        """Waits while a transaction is being filled, which is brief; not for its commit. For a thread that would take
        the GIL meanwhile: each of the many short calls that fill a transaction gives it up, and would wait for it.
        """
        if self._way.locked():
            with self._way:
                pass

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """What is stored now. Not to be held while anything is waited for: it keeps the pages of that moment."""
        with self.environment.begin(buffers=True) as raw:
            yield Reading(raw, self.shape)

    def sync(self) -> None:
        """Brings everything committed so far to the disk."""
        self.environment.sync(True)

    def probe(self, size_bytes: int) -> None:
        """Stores so many bytes and deletes them again: raises as a commit of so much would."""
        step = part_bytes(self.shape.page_bytes, 1)
        with self.environment.begin(write=True) as transaction:
            for number in range(-(-size_bytes // step)):
                transaction.put(PROBE_PREFIX + b"%d" % number, bytes(step))
        with self.environment.begin(write=True) as transaction:
            _delete_probe(transaction)

    def turn_over(self) -> None:
        """A transaction that stores nothing: what one frees, only the one after the next can use."""
        with self.environment.begin(write=True) as transaction:
            transaction.put(FORMAT_KEY, str(self._state.format).encode())

    def find_holders(self) -> list[int]:
        """The processes that read an old state of the journal, so that what is deleted since makes no room."""
        self.environment.reader_check()
        last = self.environment.info()["last_txnid"]
        lines = self.environment.readers().splitlines()[1:]
        readers = [words for words in map(str.split, lines) if len(words) == 3 and words[2].isdigit()]
        return [int(process) for process, _, number in readers if int(number) + 1 < last]

    def stat(self) -> Stat:
        """How full the journal is."""
        with self.environment.begin() as raw:
            heads = raw.stat(self.databases["heads"])["entries"]
            producers = raw.stat(self.databases["producers"])["entries"]
            cursors = raw.stat(self.databases["cursors"])["entries"]
            used_bytes = self.shape.used_bytes(raw)
        departed = sum(row.oldest - row.oldest_head for row in self._state.rows.values())
        return Stat(used_bytes, _file_bytes(self.directory), heads - departed, producers, cursors)

    def close(self) -> None:
        """Gives the file back. No read may be under way."""
        self.environment.close()


def _file_bytes(directory: Path) -> int:
    try:
        return (directory / DATA_NAME).stat().st_size
    except FileNotFoundError:
        return 0


def _delete_probe(transaction: lmdb.Transaction) -> None:
    """Deletes what was stored to see whether there is room, in this life or in one that was killed meanwhile."""
    with transaction.cursor() as cursor:
        if cursor.set_range(PROBE_PREFIX):
            while bytes(cursor.key()).startswith(PROBE_PREFIX):
                cursor.delete()


def _reserve_lock(directory: Path) -> None:
    """Makes the file of LMDB's readers with all its blocks: it is written through a map, where a full disk would end
    the process."""
    fd = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size_bytes = os.fstat(fd).st_size
        if size_bytes < LOCK_BYTES:
            os.pwrite(fd, bytes(LOCK_BYTES - size_bytes), size_bytes)
    finally:
        os.close(fd)
