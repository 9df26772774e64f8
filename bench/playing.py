"""A role of a benchmark in a process of its own, told by a pipe what to do. Nothing here measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from flowd.errors import FlowdError

ANSWER_S = 300.0


class Role:
    """A process that does as it is told over a pipe. It says once that it is ready, then answers each question."""

    def __init__(self, process: BaseProcess, control: Connection) -> None:
        self._process = process
        self._control = control
        self.hear()

    def ask(self, question: Any) -> Any:
        """Tells it what to do, and returns what came of it."""
        self.tell(question)
        return self.hear()

    def tell(self, question: Any) -> None:
        """Tells it what to do."""
        self._control.send(question)

    def hear(self) -> Any:
        """Its next answer. Raises FlowdError where it ended, or says nothing for minutes."""
        if self._control not in wait((self._control, self._process.sentinel), ANSWER_S):
            raise FlowdError("a process of the benchmark ended, or said nothing", hint="its own words stand above")
        return self._control.recv()


@contextmanager
def playing(role: Callable[..., None], *arguments: object) -> Iterator[Role]:
    """Starts `role(*arguments, pipe)`; yields when it is ready, and ends it with the block."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=role, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()  # so that its end is heard
    try:
        yield Role(process, ours)
    finally:
        process.terminate()
        process.join()
