"""Things that one thread has another do, between two steps of its loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from flowd.errors import FlowdError
from flowd.wire.sockets import Wake

TASK_WAIT_S = 1.0
"""How often who waits for a task looks whether the thread still lives."""

R = TypeVar("R")


class Tasks:
    """`run` is for other threads, `do_all` for the one whose poller has `wake`; `is_alive` says whether it lives."""

    def __init__(self, wake: Wake, is_alive: Callable[[], bool]) -> None:
        self._wake = wake
        self._is_alive = is_alive
        self._waiting: deque[tuple[Callable[[], Any], Future[Any]]] = deque()

    def run(self, task: Callable[[], R]) -> R:
        """Has a task done and returns what it returned. Raises what the task raises, and FlowdError where the thread
        has ended."""
        done: Future[R] = Future()
        self._waiting.append((task, done))
        self._wake.ring()
        while True:
            try:
                return done.result(TASK_WAIT_S)
            except TimeoutError:
                if not self._is_alive() and not done.done():
                    raise FlowdError("the daemon has ended", hint="start it again") from None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def do_all(self) -> None:
        """Does what waits."""
        while self._waiting:
            task, done = self._waiting.popleft()
            try:
                done.set_result(task())
            except Exception as error:  # for who asked, not for this thread
                done.set_exception(error)
