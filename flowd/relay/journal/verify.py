"""`python -m flowd.relay.journal.verify DIRECTORY`: reads all of a journal; its exit code says what was found.

A process of its own, because LMDB may end the one that reads a damaged file. Changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import lmdb
from zlib_ng.zlib_ng import crc32

from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_IO, EXIT_NO
from flowd.relay.journal.layout import (
    DATABASES,
    FORMAT_KEY,
    FORMATS,
    StreamRow,
    split_batch_key,
    unpack_stream,
)

WHOLE = (EXIT_DONE, EXIT_CONFIG)
"""Exit codes for files that are not damaged: one of another format, too, is for whoever opens it to refuse."""
DAMAGED = EXIT_IO
"""The exit code for a damaged one. Any other says that nothing was found out."""


class NotWhole(Exception):
    """Everything can be read, but not everything is there."""


def verify(directory: str) -> bool:
    """Reads every key and value, and checks what is not checked when it is used; False where another format has others.
    Raises what comes of damage: NotWhole, and anything else."""
    path = os.fsencode(directory)
    with (
        lmdb.open(path, readonly=True, lock=False, create=False, max_dbs=len(DATABASES) + 1) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        if bytes(transaction.get(FORMAT_KEY, FORMATS[0])) not in FORMATS:
            return False
        rows = [unpack_stream(value) for _, value in _entries(environment, transaction, "streams")]
        heads: Counter[int] = Counter()
        ends: dict[int, tuple[int, int]] = {}
        for key, _ in _entries(environment, transaction, "heads"):
            number, sequence = split_batch_key(key)
            heads[number] += 1
            first, _ = ends.get(number, (sequence, sequence))
            ends[number] = first, sequence
        for row in rows:
            _check_row(row, heads[row.number], ends.get(row.number, (row.next, row.next - 1)))
        for name in ("lines", "producers", "cursors", "places"):
            for _, value in _entries(environment, transaction, name):
                crc32(value)
    return True


def _entries(environment: Any, transaction: Any, name: str) -> Iterator[tuple[bytes, Any]]:
    """A database's keys and values; none where it was not made yet. Pages of another time would not be in order."""
    try:
        database = environment.open_db(name.encode(), transaction, create=False)
    except lmdb.NotFoundError:
        return
    before = b""
    with transaction.cursor(database) as cursor:
        for found, value in cursor:
            key = bytes(found)
            if key <= before:
                raise NotWhole(f"{name} are not in order")
            before = key
            yield key, value


def _check_row(row: StreamRow, heads: int, ends: tuple[int, int]) -> None:
    """A stream's heads are all there, from the oldest to the newest."""
    if ends != (row.oldest_head, row.next - 1) or heads != row.next - row.oldest_head:
        raise NotWhole(f"of batches {row.oldest_head} to {row.next - 1}, {heads} from {ends[0]} to {ends[1]} are there")
    if not 1 <= row.oldest_head <= row.oldest <= row.next:
        raise NotWhole(f"the oldest of batches up to {row.next - 1} is {row.oldest}")


if __name__ == "__main__":
    try:
        sys.exit(EXIT_DONE if verify(sys.argv[1]) else EXIT_CONFIG)
    except Exception as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(EXIT_NO if isinstance(error, lmdb.MemoryError) else DAMAGED)
