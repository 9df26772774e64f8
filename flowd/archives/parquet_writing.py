"""Kept rows and kept lines into a Parquet file: rows with the columns that they came with, lines in one column.

The file has its name only when it is whole: see flowd.archives.new_file.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from flowd.archives.new_file import NewFile, open_new
from flowd.errors import EXIT_IO, FlowdError
from flowd.tables.rows import LINE_COLUMN_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP_ROWS = 1 << 17
GROUP_BYTES = 64 << 20
"""A row group is written when it has so many rows, or so many bytes in memory."""
COMPRESSION = "zstd"
LINE_COLUMN = "line"
LINES_SCHEMA = pa.schema([pa.field(LINE_COLUMN, pa.binary(), nullable=False)], {LINE_COLUMN_KEY: LINE_COLUMN})
"""What lines become: bytes, as a line need not be UTF-8."""


class CannotWrite(FlowdError):
    """A Parquet file that cannot be written, or that cannot hold what it is to hold."""

    exit_code = EXIT_IO


def join_schemas(schemas: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """One schema that holds the rows of all these files, by their names: all columns, each of its one type.

    Raises CannotWrite where a column has two types, or where some files hold lines and some columns.
    """
    name, joint = schemas[0] if schemas else ("", LINES_SCHEMA)
    for other_name, other in schemas[1:]:
        if joint.equals(other):
            continue
        if is_lines(joint) != is_lines(other):
            lines, columns = (name, other_name) if is_lines(joint) else (other_name, name)
            raise CannotWrite(
                f"one Parquet file cannot hold both the lines of {lines} and the columns of {columns}",
                hint="write them into files of their own",
            )
        try:
            joint = pa.unify_schemas([joint, other])
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            why = (str(error).splitlines() or [""])[0]
            raise CannotWrite(
                f"one Parquet file cannot hold the rows of both {name} and {other_name}: {why}",
                hint="write them into files of their own",
            ) from None
    return _allow_nulls(joint, [schema for _, schema in schemas])


def is_lines(schema: pa.Schema) -> bool:
    """Whether this is the schema of lines that flowd has written."""
    return bool(schema.names == LINES_SCHEMA.names and LINE_COLUMN_KEY in (schema.metadata or {}))


def _allow_nulls(joint: pa.Schema, schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The joint schema, in which a column may be null that some of the files do not have."""
    if all(schema.names == joint.names for schema in schemas):
        return joint
    fields = [field.with_nullable(field.nullable or any(field.name not in s.names for s in schemas)) for field in joint]
    return pa.schema(fields, joint.metadata)


class ParquetSink:
    """A Parquet file to be written: begun with a `with` block and finished at its end, or removed where it fails."""

    def __init__(self, path: str, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._new: NewFile | None = None
        self._file: Any = None
        self._writer: Any = None

    def write_rows(self, rows: pa.RecordBatch) -> None:
        """Appends rows; columns that they do not have are null. Raises CannotWrite."""
        if not rows.num_rows:
            return
        self._waiting.append(self._fit(rows))
        self._rows += rows.num_rows
        self._bytes += rows.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write_group()

    def write_lines(self, lines: bytes) -> None:
        """Appends lines, a row each, without their newlines. Raises CannotWrite."""
        if lines:
            run = pa.array([lines.removesuffix(b"\n")], pa.large_binary())
            split = pc.split_pattern(run, b"\n").values.cast(pa.binary())
            self.write_rows(pa.record_batch([split], schema=LINES_SCHEMA))

    def __enter__(self) -> ParquetSink:
        try:
            with self._failures():
                self._new = open_new(self._path)
                self._file = pa.PythonFile(self._new.file, "wb")
                self._writer = parquet.ParquetWriter(self._file, self._schema, compression=COMPRESSION)
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._abandon()

    def _finish(self) -> None:
        """Writes what is left, and gives the file its name."""
        self._write_group()
        with self._failures():
            self._writer.close()
            assert self._new is not None
            self._new.finish()

    def _abandon(self) -> None:
        """Removes what was written, where it has no name yet."""
        with suppress(OSError, pa.ArrowException):
            if self._writer is not None:
                self._writer.close()
        if self._new is not None:
            self._new.abandon()

    def _write_group(self) -> None:
        if not self._waiting:
            return
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting, self._rows, self._bytes = [], 0, 0
        with self._failures():
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def _fit(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows under the file's schema."""
        if rows.schema.equals(self._schema, check_metadata=True):
            return rows
        if rows.schema.names == self._schema.names:
            columns = rows.columns
        else:
            known = dict(zip(rows.schema.names, rows.columns, strict=True))
            nothing = pa.nulls(rows.num_rows)
            columns = [known.get(name, nothing) for name in self._schema.names]
        fitted = [
            column
            if column.type.equals(field.type)
            else pa.nulls(rows.num_rows, field.type)
            if pa.types.is_null(column.type)
            else column.cast(field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(fitted, schema=self._schema)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            why = getattr(error, "strerror", None) or (str(error).splitlines() or [""])[0]
            raise CannotWrite(f"{self._path}: {why}") from error
