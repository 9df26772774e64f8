"""`python -m flowd.relay.journal.verify DIRECTORY`: reads all of a journal; exit code 0 where that works.

A process of its own, because LMDB may end the one that reads a damaged file. Changes nothing.
"""

from __future__ import annotations

import struct
import sys

import lmdb

from flowd.relay.journal.layout import DATABASES, unpack_cursor, unpack_head, unpack_mark, unpack_stream

CHECKS = {"streams": unpack_stream, "heads": unpack_head, "producers": unpack_mark, "cursors": unpack_cursor}


def verify(directory: str) -> int:
    """Reads every key and value, and checks those that have a form. Returns how many; raises what that raises."""
    read = 0
    with (
        lmdb.open(directory, readonly=True, lock=False, create=False, max_dbs=len(DATABASES) + 1) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        for name in DATABASES:
            database = environment.open_db(name.encode(), transaction, create=False)
            check = CHECKS.get(name)
            with transaction.cursor(database) as cursor:
                for _, value in cursor:
                    if check is not None:
                        check(value)
                    read += 1
    return read


if __name__ == "__main__":
    try:
        verify(sys.argv[1])
    except (lmdb.Error, ValueError, struct.error) as error:
        print(f"{sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(1)
