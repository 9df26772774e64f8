"""The work of `flowd filter`: batches from inputs through the filters, in order, to standard output or a Parquet file.

Knows nothing of options and tables.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import Batch, Input, known_size, read_batches
from flowd.archives.pipes import widen_pipe
from flowd.cli.filtering.whole_files import do_run, raise_errors
from flowd.cli.outcome import say_os_error
from flowd.cli.output import STDOUT, write_bytes, write_json, write_text
from flowd.cli.progress import Progress
from flowd.cli.talk import say_failure
from flowd.errors import EXIT_IO, FlowdError
from flowd.memory import keep_freed_memory

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from flowd.archives.parquet_writing import ParquetSink
    from flowd.filterset import Applied, FilterSet


MUCH_BYTES = 64 << 20
"""Less than this is filtered before a second thread has paid for itself."""
THREADS_MAX = 4
"""More are used when asked for only: a filter is not to take all of a node."""


class MalformedLine(FlowdError):
    """A line that is no record, where that was to be an error."""

    exit_code = EXIT_IO


class Wishes:
    """How `flowd filter` was asked to go about it. With 0 `threads` their number is chosen by the work."""

    __slots__ = ("as_json", "count", "invert", "line_column", "malformed", "quiet", "threads", "to")

    def __init__(
        self,
        *,
        invert: bool = False,
        count: bool = False,
        threads: int = 0,
        malformed: Literal["keep", "drop", "fail"] = "keep",
        as_json: bool = False,
        quiet: bool = False,
        to: str | None = None,
        line_column: str | None = None,
    ) -> None:
        self.invert = invert
        self.count = count
        self.threads = threads
        self.malformed = malformed
        self.as_json = as_json
        self.quiet = quiet
        self.to = to
        self.line_column = line_column


class Totals:
    """Everything that one run of `flowd filter` has filtered."""

    __slots__ = ("bytes", "errors", "kept_bytes", "kept_lines", "lines", "malformed")

    def __init__(self) -> None:
        self.lines = self.bytes = self.kept_lines = self.kept_bytes = self.malformed = self.errors = 0


class Filtering:
    """One run over all inputs. An input that cannot be read is said and passed over, as grep does it."""

    def __init__(self, filters: FilterSet, wishes: Wishes, files: Sequence[str]) -> None:
        self.totals = Totals()
        self.has_failed = False
        self._filters = filters
        self._wishes = wishes
        self._files = files
        self._size_bytes = known_size(files)
        self._threads = wishes.threads or choose_threads(self._size_bytes)
        self._executor: ThreadPoolExecutor | None = None
        self._sink: ParquetSink | None = None
        self._is_line_open = False
        self._read_bytes = 0

    def run(self) -> None:
        """Filters every input. Raises MalformedLine, OutputFailed, CannotWrite and BrokenPipeError."""
        keep_freed_memory()
        if self._wishes.to is None:
            widen_pipe(STDOUT)
            self._run_all()
            return
        from flowd.tables.needed import require_pyarrow

        require_pyarrow(f"writing {self._wishes.to}")
        from flowd.cli.filtering.rows import open_sink

        with open_sink(self._wishes.to, self._files) as self._sink:
            self._run_all()

    def _run_all(self) -> None:
        progress = Progress(self._size_bytes, is_shown=not self._wishes.quiet)
        try:
            for name in self._files:
                kept_before = self.totals.kept_lines
                self._run_one(name, progress)
                if self._wishes.count:
                    self._write_count(name, self.totals.kept_lines - kept_before)
        finally:
            progress.clear()
            if self._executor is not None:
                self._executor.shutdown(cancel_futures=True)

    def _run_one(self, name: str, progress: Progress) -> None:
        try:
            with Input(name) as source:
                if source.is_parquet():
                    self._filter_rows(source, progress)
                    return
                start = source.find_plain_start()
                if start is not None and self._wishes.malformed != "fail" and self._sink is None:
                    self._filter_file(source, start, progress)
                elif self._may_write_in_place(source):
                    self._write_in_place(source, progress)
                else:
                    self._filter_batches(source, progress)
        except BrokenPipeError:
            raise
        except BadArchive as error:
            self.has_failed = True
            say_failure(error)
        except OSError as error:
            self.has_failed = True
            say_os_error(error)

    def _filter_file(self, source: Input, start: int, progress: Progress) -> None:
        """A plain file, by as many threads as are wanted: nothing of it passes through here."""
        run = self._filters.run_over(
            source.fd,
            -1 if self._wishes.count else STDOUT,
            start,
            malformed="drop" if self._wishes.malformed == "drop" else "keep",
            invert=self._wishes.invert,
            is_line_open=self._is_line_open,
        )
        do_run(run, self._threads, lambda: progress.show(self._read_bytes + run.end))
        totals = self.totals
        totals.lines += run.lines
        totals.bytes += run.bytes
        totals.kept_lines += run.kept_lines
        totals.kept_bytes += run.kept_bytes
        totals.malformed += run.malformed
        totals.errors += run.errors
        self._is_line_open = run.is_line_open
        self._read_bytes += run.end
        source.skip_to(run.end)
        raise_errors(run, source.name)

    def _filter_rows(self, source: Input, progress: Progress) -> None:
        """A Parquet file, by row groups."""
        rows = source.rows()
        from flowd.cli.filtering.rows import RowFiltering

        executor = self._open_executor() if self._threads > 1 else None
        filtering = RowFiltering(self._filters, self._wishes, rows, self._sink, executor, self._threads)
        filtering.is_line_open = self._is_line_open
        try:
            filtering.run(self.totals, lambda read_bytes: progress.show(self._read_bytes + read_bytes))
        finally:
            self._is_line_open = filtering.is_line_open
        self._read_bytes += rows.size_bytes

    def _may_write_in_place(self, source: Input) -> bool:
        """Lines can go from the input's buffer straight to the output where nothing else has to see them.

        An archive is never opened as fast as one thread filters.
        """
        wishes = self._wishes
        if wishes.count or wishes.malformed == "fail" or self._is_line_open or self._sink is not None:
            return False
        return self._threads == 1 or source.is_archive()

    def _read_batches(self, source: Input, under_way: int = 1) -> Iterator[Batch]:
        """An archive is opened by a thread of its own, where there may be more than one and a core for it."""
        if self._wishes.threads != 1 and source.is_archive() and len(os.sched_getaffinity(0)) > 1:
            from flowd.cli.ahead import read_ahead

            return read_ahead(source, under_way)
        return read_batches(source, under_way)

    def _write_in_place(self, source: Input, progress: Progress) -> None:
        totals = self.totals
        for batch in self._read_batches(source):
            written = self._filters.write(
                STDOUT,
                batch.lines,
                malformed="drop" if self._wishes.malformed == "drop" else "keep",
                invert=self._wishes.invert,
            )
            write_bytes(written.rest)
            totals.lines += written.lines
            totals.bytes += len(batch.lines)
            totals.kept_lines += written.kept_lines
            totals.kept_bytes += written.kept_bytes
            totals.malformed += written.malformed
            totals.errors += written.errors
            self._is_line_open = written.is_line_open
            batch.release()
            progress.show(self._read_bytes + source.read_bytes)
        self._read_bytes += source.read_bytes

    def _filter_batches(self, source: Input, progress: Progress) -> None:
        lines_before, is_first = self.totals.lines, True
        for batch, applied in self._apply_all(source):
            if self._wishes.malformed == "fail" and applied.malformed:
                self._stop_at_malformed(source.name, batch, self.totals.lines - lines_before)
            self._account(batch, applied)
            self._write(applied.kept, is_first)
            is_first = is_first and not applied.kept
            progress.show(self._read_bytes + source.read_bytes)
        self._read_bytes += source.read_bytes

    def _apply_all(self, source: Input) -> Iterator[tuple[Batch, Applied]]:
        """Each batch with what came of it, in order. A batch is valid until the next is asked for."""
        apply = self._apply
        if self._threads == 1:
            for batch in self._read_batches(source):
                yield batch, apply(batch)
                batch.release()
            return
        batches = self._read_batches(source, self._threads + 2)
        yield from _apply_in_threads(batches, self._open_executor(), self._threads, apply)

    def _open_executor(self) -> ThreadPoolExecutor:
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor

            self._executor = ThreadPoolExecutor(self._threads, "flowd-filter")
        return self._executor

    def _apply(self, batch: Batch) -> Applied:
        return self._filters.apply(
            batch.lines,
            malformed="drop" if self._wishes.malformed == "drop" else "keep",
            invert=self._wishes.invert,
        )

    def _account(self, batch: Batch, applied: Applied) -> None:
        totals = self.totals
        totals.lines += applied.lines
        totals.bytes += len(batch.lines)
        totals.kept_lines += applied.kept_lines
        totals.kept_bytes += len(applied.kept)
        totals.malformed += applied.malformed
        totals.errors += applied.errors

    def _write(self, kept: bytes, is_first: bool) -> None:
        """Writes kept lines. No newline is added but between two inputs: else two lines would become one."""
        if self._wishes.count or not kept:
            return
        if self._sink is not None:
            self._sink.write_lines(kept)
            return
        if is_first and self._is_line_open:
            write_bytes(b"\n")
        write_bytes(kept)
        self._is_line_open = not kept.endswith(b"\n")

    def _write_count(self, name: str, kept_lines: int) -> None:
        if self._wishes.as_json:
            write_json({"file": name, "kept_lines": kept_lines})
        elif len(self._files) > 1:
            write_text(f"{name}:{kept_lines}\n")
        else:
            write_text(f"{kept_lines}\n")

    def _stop_at_malformed(self, name: str, batch: Batch, lines_before: int) -> None:
        """Writes what is kept before the batch's first malformed line, and raises its place."""
        letters = self._filters.verdicts(batch.lines)
        at = letters.index(b"M")
        dropped = ord("D")
        lines = bytes(batch.lines).split(b"\n", at)[:at]
        kept = [
            line + b"\n"
            for line, letter in zip(lines, letters, strict=False)
            if (letter != dropped) != self._wishes.invert
        ]
        self._write(b"".join(kept), is_first=lines_before == 0)
        raise MalformedLine(
            f"{name}:{lines_before + at + 1}: a malformed line", hint="--malformed keep or drop goes on past it"
        )


def choose_threads(size_bytes: int | None) -> int:
    """One for a pipe and for little, as many as the process may use (and a few at most) for much."""
    if size_bytes is None or size_bytes < MUCH_BYTES:
        return 1
    return min(THREADS_MAX, len(os.sched_getaffinity(0)))


def _apply_in_threads(
    batches: Iterator[Batch], executor: ThreadPoolExecutor, threads: int, apply: Callable[[Batch], Applied]
) -> Iterator[tuple[Batch, Applied]]:
    """As many batches at once as there are threads, and one that is read meanwhile; given out in order."""
    under_way: deque[tuple[Batch, Future[Applied]]] = deque()

    def finish(left: int) -> Iterator[tuple[Batch, Applied]]:
        while len(under_way) > left:
            batch, future = under_way.popleft()
            yield batch, future.result()
            batch.release()

    try:
        for batch in batches:
            under_way.append((batch, executor.submit(apply, batch)))
            # What a pipe has brought is given out before waiting for more.
            yield from finish(0 if batch.is_last_for_now else threads)
    except (OSError, FlowdError):
        yield from finish(0)
        raise
    yield from finish(0)
