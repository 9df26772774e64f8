"""Plain files, filtered by the core from descriptor to descriptor, by one thread or several at once.

Each thread reads, filters and writes stretches of its own (flowd/core/file_run.pxi); here is who waits for them, who is
told how far they are, and what becomes of errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EPIPE
from threading import Thread
from typing import TYPE_CHECKING

from flowd.cli.output import OutputFailed

if TYPE_CHECKING:
    from flowd._core import FileRun

STRETCHES_AT_ONCE = 1 << 30
"""As many as there are: nothing has to be done in between."""
LOOK_S = 0.2
"""How often the waiting thread shows progress while the others work."""
PATIENCE_S = 0.2
"""How long an interrupted run waits for its threads: one may stand at a pipe that nobody reads."""


def do_run(run: FileRun, threads: int, show: Callable[[], None]) -> None:
    """Runs it to its end. `show` is called again and again meanwhile.

    Raises what a thread raised, and KeyboardInterrupt; what the file and the output said is in the run. Even one thread
    is none of this one's: a signal that comes just before a write to a full pipe would be seen after it only.
    """
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while run.work(STRETCHES_AT_ONCE):
                pass
        except BaseException as error:
            failures.append(error)

    # Daemons: one that stands at a pipe that nobody reads must not keep an interrupted process.
    workers = [Thread(target=work, name=f"flowd-filter-{n}", daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive():
                worker.join(LOOK_S)
                show()
    except BaseException:
        run.stop()
        for worker in workers:
            worker.join(PATIENCE_S)
        raise
    if failures:
        raise failures[0]


def raise_errors(run: FileRun, name: str) -> None:
    """Raises what stopped the run: BrokenPipeError, OutputFailed, or the file's own OSError."""
    if run.write_error == EPIPE:
        raise BrokenPipeError(EPIPE, os.strerror(EPIPE))
    if run.write_error:
        raise OutputFailed(f"standard output: {os.strerror(run.write_error)}")
    if run.read_error:
        raise OSError(run.read_error, os.strerror(run.read_error), name)
