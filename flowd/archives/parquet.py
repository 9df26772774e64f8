"""Parquet files, read a row group and a record batch at a time: as rows, or as the lines that stand for them.

Bounded: a file's column chunks are streamed, never held whole, and nothing of it is mapped into memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flowd.archives.compressed import BadArchive
from flowd.errors import FlowdError
from flowd.tables.needed import require_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

ROWS_MOST = 1 << 16
VALUES_MOST = 1 << 20
"""A batch has at most so many rows, and so many values in all its columns."""
BATCH_BYTES = 32 << 20
"""And about so many bytes, as its row group has them encoded."""
STREAM_BYTES = 1 << 20
"""How much of a column chunk is read at a time."""


@contextmanager
def damage_of(name: str) -> Iterator[None]:
    """Says what pyarrow raises as BadArchive, with the file's name."""
    import pyarrow as pa

    try:
        yield
    except FlowdError as error:
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"{name}: {error.message}", hint=error.hint) from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadArchive(
            f"{name}: a damaged Parquet file: {why}", hint="the rows before the damage were taken"
        ) from error


class ParquetRows:
    """The rows of a Parquet file that is open as `fd`, whose own place in it stays where it is."""

    def __init__(self, fd: int, name: str) -> None:
        require_pyarrow(f"reading {name}")
        self.name = name
        self.size_bytes: int = os.fstat(fd).st_size
        self._fd = fd
        with damage_of(name):
            self._file = self._open()
            self.schema: pa.Schema = self._file.schema_arrow
            self._index = self._file.metadata
        self._encoded: parquet.ParquetFile | None = None
        self.groups: int = self._index.num_row_groups
        self.rows: int = self._index.num_rows

    def batches(
        self, group: int, columns: Sequence[str], *, with_threads: bool = True, may_encode: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one row group, with at least the columns of these names, in batches of bounded size.

        However the columns are chosen, the rows come in the same order. With `may_encode` strings may come as the
        dictionaries that they are stored in, which is read and written as JSON several times as fast.
        """
        rows = self._file_for(columns, may_encode).iter_batches(
            batch_size=self._rows_at_once(group),
            row_groups=[group],
            columns=list(columns),
            use_threads=with_threads,
        )
        while True:
            with damage_of(self.name):
                batch = next(rows, None)
            if batch is None:
                return
            yield batch

    def read_bytes(self, done_rows: int) -> int:
        """How much of the file so many rows are, about."""
        return self.size_bytes * done_rows // self.rows if self.rows else self.size_bytes

    def _open(self, **how: Any) -> parquet.ParquetFile:
        import pyarrow as pa
        from pyarrow import parquet

        file = pa.OSFile(f"/proc/self/fd/{self._fd}")
        return parquet.ParquetFile(file, buffer_size=STREAM_BYTES, pre_buffer=False, **how)

    def _file_for(self, columns: Sequence[str], may_encode: bool) -> parquet.ParquetFile:
        if not may_encode:
            return self._file
        if self._encoded is None:
            encoded = [name for name in columns if self._is_repetitive(name)]
            with damage_of(self.name):
                self._encoded = self._open(metadata=self._index, read_dictionary=encoded) if encoded else self._file
        return self._encoded

    def _is_repetitive(self, name: str) -> bool:
        """Whether a column is one of strings that are mostly stored as numbers in a dictionary.

        As such a value takes 2 or 3 bytes, as itself 4 and its length.
        """
        values = size_bytes = 0
        for group in range(self.groups):
            for place in range(self._index.num_columns):
                chunk = self._index.row_group(group).column(place)
                if chunk.path_in_schema == name:
                    if chunk.physical_type != "BYTE_ARRAY" or not chunk.has_dictionary_page:
                        return False
                    values += chunk.num_values
                    size_bytes += chunk.total_uncompressed_size
        return 0 < size_bytes < 4 * values

    def _rows_at_once(self, group: int) -> int:
        index = self._index.row_group(group)
        rows: int = min(ROWS_MOST, VALUES_MOST // max(1, index.num_columns))
        if index.num_rows and index.total_byte_size > 0:
            rows = min(rows, BATCH_BYTES * index.num_rows // index.total_byte_size)
        return max(1, rows)


class ParquetLines:
    """A Parquet file's rows as lines, one behind the other. `note_read` is told how far the file has been read."""

    def __init__(self, rows: ParquetRows, line_column: str | None, note_read: Callable[[int], None]) -> None:
        from flowd.tables.rows import RowLines

        self._rows = rows
        with damage_of(rows.name):
            self._as_lines = RowLines(rows.schema, line_column=line_column)
        self._note_read = note_read
        self._runs = self._make_runs()
        self._left = memoryview(b"")

    def readinto(self, room: memoryview) -> int:
        """Fills the room as far as there are lines, and at the end gives 0. Raises BadArchive."""
        filled = 0
        while filled < len(room):
            if not self._left:
                if filled:
                    break
                run = next(self._runs, None)
                if run is None:
                    break
                self._left = run
            size = min(len(room) - filled, len(self._left))
            room[filled : filled + size] = self._left[:size]
            self._left = self._left[size:]
            filled += size
        return filled

    def _make_runs(self) -> Iterator[memoryview]:
        from flowd.tables.json_texts import text_of

        done = 0
        for group in range(self._rows.groups):
            for batch in self._rows.batches(group, self._as_lines.columns):
                with damage_of(self._rows.name):
                    run = memoryview(text_of(self._as_lines.texts(batch))).cast("B")
                done += batch.num_rows
                self._note_read(self._rows.read_bytes(done))
                if run:
                    yield run
        self._note_read(self._rows.size_bytes)
