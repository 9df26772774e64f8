"""The journal's environment: opened, its streams known, its transactions begun, synced and closed.

Raises what LMDB raises: `writer` turns that into what the daemon says. The thread that writes owns a Store; `stream`,
`streams` and `read` are for any thread, since a stream's row is replaced whole, after the commit that changed it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from flowd.errors import EXIT_CONFIG, FlowdError
from flowd.relay.journal.clock import AgeClock
from flowd.relay.journal.layout import DATABASES, FORMAT, Corrupt, StreamRow, chunk_bytes, unpack_stream
from flowd.relay.journal.reading import Reading
from flowd.relay.journal.transaction import GENERATION_KEY, Shape, State, Transaction
from flowd.wire.limits import ID_BYTES

MAP_SLACK_BYTES = 64 << 20
"""The map is so much larger than what may be stored: deleting needs pages, too, and free ones lie in pieces."""
DEPARTED_HEADS_MAX = 16384
"""Heads kept of batches whose lines are gone, for each stream: what a consumer missed is counted from them."""
DEPARTED_HEADS_LEAST = 512
DEPARTED_SHARE = 1 << 16
"""A journal of so many bytes keeps eight of them; a small one must not fill with heads."""
SPARE_READS = 4
"""Read transactions kept for the next one: one a reading thread."""
FORMAT_KEY, EPOCH_KEY = b"flowd.format", b"flowd.epoch"


class OtherFormat(FlowdError):
    """The journal was written by another version of flowd."""

    exit_code = EXIT_CONFIG


class Stat(NamedTuple):
    """How full the journal is: bytes that entries take, the file's size, and numbers of entries."""

    used_bytes: int
    file_bytes: int
    batches: int
    producers: int
    cursors: int


class Store:
    """An open journal in `directory`, made where there is none. `epoch` names it for ever.

    `is_synced` says that each commit is to survive a loss of power. Raises lmdb.Error, and OtherFormat.
    """

    def __init__(self, directory: Path, *, max_bytes: int, is_synced: bool) -> None:
        directory.mkdir(mode=0o750, exist_ok=True)
        self.directory = directory
        self.environment = lmdb.open(
            str(directory),
            map_size=max_bytes + MAP_SLACK_BYTES,
            max_dbs=len(DATABASES),
            mode=0o600,
            sync=is_synced,
            meminit=False,
            max_spare_txns=SPARE_READS,
        )
        try:
            self.environment.reader_check()  # a killed daemon's reads would keep pages from being used again
            self.databases = {name: self.environment.open_db(name.encode()) for name in DATABASES}
            page_bytes = self.environment.stat()["psize"]
            departed = min(DEPARTED_HEADS_MAX, max(DEPARTED_HEADS_LEAST, max_bytes // DEPARTED_SHARE * 8))
            self.shape = Shape(self.databases, page_bytes, chunk_bytes(page_bytes), departed)
            self._begin()
        except BaseException:
            self.environment.close()
            raise

    def _begin(self) -> None:
        with self.environment.begin(write=True) as transaction:
            written = transaction.get(FORMAT_KEY)
            if written is None:
                transaction.put(FORMAT_KEY, str(FORMAT).encode())
                transaction.put(EPOCH_KEY, secrets.token_bytes(ID_BYTES))
            elif written != str(FORMAT).encode():
                raise OtherFormat(
                    f"{self.directory}: the journal has format {written.decode('ascii', 'replace')[:20]}, this flowd"
                    f" reads {FORMAT}",
                    hint="use the flowd that wrote it, or move the journal away to begin anew",
                )
            epoch = transaction.get(EPOCH_KEY)
            if epoch is None or len(epoch) != ID_BYTES:
                raise lmdb.CorruptedError("the journal has no epoch")
            self.epoch: bytes = epoch
            generation = int(transaction.get(GENERATION_KEY, b"0"))
            with transaction.cursor(self.databases["streams"]) as cursor:
                rows = {name.decode(): unpack_stream(value) for name, value in cursor}
            self._state = State(rows, self.shape.used_bytes(transaction), {}, generation)
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
    def write(self) -> Iterator[Transaction]:
        """A transaction: committed at the block's end, aborted where the block raises. One at a time."""
        with self.environment.begin(write=True) as raw:
            transaction = Transaction(raw, self.shape, self._state, self.clock)
            yield transaction
            transaction.finish()
        self._state = transaction.state

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """What is stored now. Not to be held while anything is waited for: it keeps the pages of that moment."""
        with self.environment.begin(buffers=True) as raw:
            yield Reading(raw, self.shape)

    def sync(self) -> None:
        """Brings everything committed so far to the disk."""
        self.environment.sync(True)

    def probe(self, key: bytes, size_bytes: int) -> None:
        """Stores so many bytes and deletes them again: raises as a commit of a batch of this size would."""
        with self.environment.begin(write=True) as transaction:
            transaction.put(key, bytes(size_bytes))
        with self.environment.begin(write=True) as transaction:
            transaction.delete(key)

    def stat(self) -> Stat:
        """How full the journal is."""
        with self.environment.begin() as raw:
            heads = raw.stat(self.databases["heads"])["entries"]
            producers = raw.stat(self.databases["producers"])["entries"]
            cursors = raw.stat(self.databases["cursors"])["entries"]
            used_bytes = self.shape.used_bytes(raw)
        file_bytes = (self.environment.info()["last_pgno"] + 1) * self.shape.page_bytes
        departed = sum(row.oldest - row.oldest_head for row in self._state.rows.values())
        return Stat(used_bytes, file_bytes, heads - departed, producers, cursors)

    def close(self) -> None:
        """Gives the file back. No read may be under way."""
        self.environment.close()
