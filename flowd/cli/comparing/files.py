"""The work of `flowd compare` on files: batches from inputs through both filter sets, in order.

Knows nothing of options and tables.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowd.archives.compressed import BadArchive
from flowd.archives.lines import Batch, Input, known_size, read_batches
from flowd.cli.filtering.lines import choose_threads
from flowd.cli.outcome import say_os_error
from flowd.cli.progress import Progress
from flowd.cli.stretches import Stretch, cut_stretches, read_stretch
from flowd.cli.talk import say_failure
from flowd.errors import FlowdError
from flowd.memory import keep_freed_memory

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from flowd.comparison import Comparison


class Comparing:
    """One run over all inputs. An input that cannot be read is said and passed over."""

    def __init__(
        self,
        comparison: Comparison,
        files: Sequence[str],
        *,
        threads: int = 0,
        quiet: bool = False,
        line_column: str | None = None,
    ) -> None:
        self.has_failed = False
        self._comparison = comparison
        self._files = files
        self._size_bytes = known_size(files)
        self._threads = threads or choose_threads(self._size_bytes)
        self._quiet = quiet
        self._line_column = line_column
        self._read_bytes = 0
        self._rooms: list[bytearray] = []

    def run(self) -> None:
        """Compares on every input."""
        keep_freed_memory()
        progress = Progress(self._size_bytes, is_shown=not self._quiet)
        executor = None
        if self._threads > 1:
            from concurrent.futures import ThreadPoolExecutor

            executor = ThreadPoolExecutor(self._threads, "flowd-compare")
        try:
            for name in self._files:
                self._run_one(name, executor, progress)
        finally:
            progress.clear()
            if executor is not None:
                executor.shutdown(cancel_futures=True)

    def _run_one(self, name: str, executor: ThreadPoolExecutor | None, progress: Progress) -> None:
        try:
            with Input(name, self._line_column) as source:
                start = source.find_plain_start() if executor is not None else None
                if executor is not None and start is not None:
                    self._compare_stretches(source, start, executor, progress)
                elif executor is None:
                    for batch in read_batches(source):
                        self._comparison.add(batch.lines)
                        batch.release()
                        progress.show(self._read_bytes + source.read_bytes)
                else:
                    self._compare_in_threads(source, executor, progress)
                self._read_bytes += source.read_bytes
        except BadArchive as error:
            self.has_failed = True
            say_failure(error)
        except OSError as error:
            self.has_failed = True
            say_os_error(error)

    def _compare_stretches(self, source: Input, start: int, executor: ThreadPoolExecutor, progress: Progress) -> None:
        """A plain file, as long as it is now: threads read it themselves, a stretch at a time; merged in order."""
        from concurrent.futures import wait

        under_way: deque[tuple[Stretch, Future[Comparison]]] = deque()

        def finish(left: int) -> None:
            while len(under_way) > left:
                stretch, future = under_way.popleft()
                self._comparison.merge(future.result())
                source.skip_to(stretch.at + stretch.size)
                progress.show(self._read_bytes + source.read_bytes)

        try:
            for stretch in cut_stretches(start, os.fstat(source.fd).st_size):
                under_way.append((stretch, executor.submit(self._compare_stretch, source.fd, stretch)))
                finish(2 * self._threads)
            finish(0)
        finally:  # nobody may read on when the file is closed
            for _, future in under_way:
                future.cancel()
            wait([future for _, future in under_way])

    def _compare_stretch(self, fd: int, stretch: Stretch) -> Comparison:
        try:
            room = self._rooms.pop()
        except IndexError:
            room = bytearray()
        part = self._comparison.fork()
        with read_stretch(fd, stretch, room) as lines:
            part.add(lines)
        self._rooms.append(room)
        return part

    def _compare_in_threads(self, source: Input, executor: ThreadPoolExecutor, progress: Progress) -> None:
        """As many batches at once as there are threads; merged in order, so that examples are the first ones."""
        under_way: deque[tuple[Batch, Future[Comparison]]] = deque()

        def finish(left: int) -> None:
            while len(under_way) > left:
                batch, future = under_way.popleft()
                self._comparison.merge(future.result())
                batch.release()
                progress.show(self._read_bytes + source.read_bytes)

        try:
            for batch in read_batches(source, self._threads + 2):
                under_way.append((batch, executor.submit(self._compare, batch)))
                finish(self._threads)
        except (OSError, FlowdError):
            finish(0)
            raise
        finish(0)

    def _compare(self, batch: Batch) -> Comparison:
        part = self._comparison.fork()
        part.add(batch.lines)
        return part
