"""`flowd filter` on Parquet: rows are decided by the columns that the filters read, what is kept alone is read whole.

A row group is decided first; if anything in it is kept, and more of it is wanted than what decided, it is read again.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import STDIN, Input
from flowd.archives.parquet import ParquetRows, damage_of
from flowd.archives.parquet_writing import LINES_SCHEMA, ParquetSink, join_schemas
from flowd.cli.filtering.lines import MalformedLine
from flowd.cli.output import write_bytes
from flowd.tables.json_texts import text_of
from flowd.tables.rows import RowLines, keep_mask, lines_read, select_rows

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from flowd.cli.filtering.lines import Totals, Wishes
    from flowd.filterset import FilterSet

In = TypeVar("In")
Out = TypeVar("Out")


class Decided(NamedTuple):
    """A batch, which of its rows are kept, its verdicts, and the bytes of its lines: of all, and of those kept."""

    rows: pa.RecordBatch
    mask: pa.BooleanArray
    letters: bytes
    bytes: int
    kept_bytes: int


class RowFiltering:
    """One Parquet file's rows through the filters."""

    def __init__(
        self,
        filters: FilterSet,
        wishes: Wishes,
        rows: ParquetRows,
        sink: ParquetSink | None,
        executor: ThreadPoolExecutor | None,
        threads: int,
    ) -> None:
        self._filters = filters
        self._wishes = wishes
        self._rows = rows
        self._sink = sink
        self._executor = executor
        self._threads = threads
        self._malformed: Literal["keep", "drop"] = "drop" if wishes.malformed == "drop" else "keep"
        with damage_of(rows.name):
            self._deciding = lines_read(filters, rows.schema, wishes.line_column)
            self._written = RowLines(rows.schema, line_column=wishes.line_column)
        if wishes.count:
            self._wanted: list[str] = []
        else:
            self._wanted = self._written.columns if sink is None else list(dict.fromkeys(rows.schema.names))
        self.is_line_open = False
        """Whether the last line that was written lacks its newline: one is put in before more is."""
        self._is_read_once = set(self._wanted) <= set(self._deciding.columns)

    def run(self, totals: Totals, show: Callable[[int], None]) -> None:
        """Decides and writes every row, in order; adds up in `totals`, and tells `show` how much of the file is done.

        Raises BadArchive, MalformedLine, OutputFailed, CannotWrite and BrokenPipeError.
        """
        done = 0
        for group in range(self._rows.groups):
            masks: list[pa.BooleanArray] = []
            try:
                read = self._read(
                    group, self._deciding.columns, may_encode=self._wishes.count or not self._is_read_once
                )
                for decided in self._in_threads(self._decide, read):
                    at = decided.letters.find(b"M") if self._wishes.malformed == "fail" else -1
                    masks.append(self._cut(decided.mask, at))
                    if self._is_read_once and not self._wishes.count:
                        self._write(self._keep((decided.rows, masks[-1])))
                    if at >= 0:
                        raise self._malformed_row(done + at)
                    done += decided.rows.num_rows
                    _add_up(totals, decided)
                    show(self._rows.read_bytes(done))
            except (BadArchive, MalformedLine):
                self._write_again(group, masks)
                raise
            self._write_again(group, masks)

    def _decide(self, rows: pa.RecordBatch) -> Decided:
        with damage_of(self._rows.name):
            lines = self._deciding.texts(rows)
            letters = self._deciding.judge(self._filters, lines)
            mask = keep_mask(letters, malformed=self._malformed, invert=self._wishes.invert)
            lengths = pc.binary_length(lines)
            kept_bytes = pc.sum(lengths.filter(mask)).as_py() or 0
            return Decided(rows, mask, letters, pc.sum(lengths).as_py() or 0, kept_bytes)

    def _write_again(self, group: int, masks: list[pa.BooleanArray]) -> None:
        """Reads a decided group again, with all that is wanted of it, where anything is kept and not yet written."""
        if self._wishes.count or self._is_read_once or not any(mask.true_count for mask in masks):
            return
        parts = _pair(self._read(group, self._wanted), pa.concat_arrays(masks))
        for kept in self._in_threads(self._keep, parts):
            self._write(kept)

    def _keep(self, part: tuple[pa.RecordBatch, pa.BooleanArray]) -> pa.RecordBatch | pa.Buffer:
        """The kept rows of a batch, as they are to be written."""
        rows, mask = part
        with damage_of(self._rows.name):
            kept = select_rows(rows, mask)
            return kept if self._sink is not None else text_of(self._written.texts(kept))

    def _write(self, kept: pa.RecordBatch | pa.Buffer) -> None:
        if self._sink is not None:
            self._sink.write_rows(kept)
        elif kept.size:
            if self.is_line_open:
                write_bytes(b"\n")
                self.is_line_open = False
            write_bytes(memoryview(kept).cast("B"))

    def _read(self, group: int, columns: Sequence[str], *, may_encode: bool = False) -> Iterator[pa.RecordBatch]:
        return self._rows.batches(group, columns, with_threads=self._threads > 1, may_encode=may_encode)

    def _in_threads(self, work: Callable[[In], Out], parts: Iterable[In]) -> Iterator[Out]:
        """What comes of each part, in order; as many at once as there are threads."""
        if self._executor is None:
            yield from map(work, parts)
            return
        under_way: deque[Future[Out]] = deque()
        try:
            for part in parts:
                under_way.append(self._executor.submit(work, part))
                if len(under_way) > self._threads:
                    yield under_way.popleft().result()
        except BadArchive:
            yield from (future.result() for future in under_way)
            raise
        yield from (future.result() for future in under_way)

    def _cut(self, mask: pa.BooleanArray, at: int) -> pa.BooleanArray:
        """A mask that keeps nothing from a place on."""
        if at < 0:
            return mask
        return pa.concat_arrays([mask.slice(0, at), pa.repeat(pa.scalar(False), len(mask) - at)])

    def _malformed_row(self, row: int) -> MalformedLine:
        return MalformedLine(
            f"{self._rows.name}: row {row + 1}: a malformed line", hint="--malformed keep or drop goes on past it"
        )


def open_sink(path: str, files: Sequence[str]) -> ParquetSink:
    """The Parquet file that what is kept of these files goes into: of the columns that they have, or of lines.

    Files that cannot be read are left out: it is said when it is their turn. Raises CannotWrite.
    """
    schemas: list[tuple[str, pa.Schema]] = []
    for name in files:
        try:
            if name != STDIN and not stat.S_ISREG(os.stat(name).st_mode):
                schemas.append((name, LINES_SCHEMA))  # a pipe: opened here, its lines would be lost
                continue
            with Input(name) as source:
                schemas.append((source.name, source.rows().schema if source.is_parquet() else LINES_SCHEMA))
        except (BadArchive, OSError):
            continue
    return ParquetSink(path, join_schemas(schemas))


def _pair(batches: Iterable[pa.RecordBatch], mask: pa.BooleanArray) -> Iterator[tuple[pa.RecordBatch, pa.BooleanArray]]:
    """Each batch with its part of the mask, as far as that goes."""
    at = 0
    for batch in batches:
        part = mask.slice(at, batch.num_rows)
        at += batch.num_rows
        yield batch.slice(0, len(part)), part
        if at >= len(mask):
            return


def _add_up(totals: Totals, decided: Decided) -> None:
    totals.lines += len(decided.letters)
    totals.bytes += decided.bytes
    totals.kept_lines += decided.mask.true_count
    totals.kept_bytes += decided.kept_bytes
    totals.malformed += decided.letters.count(b"M")
    totals.errors += decided.letters.count(b"E")
