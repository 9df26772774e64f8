"""Filters that consumers and subscribers send, compiled by a thread of their own: others are served meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flowd.errors import FilterError, FlowdError
from flowd.filters.load import open_foreign_text
from flowd.filterset import FilterSet
from flowd.relay.deciding.views import View, Views, name_registered
from flowd.wire.sockets import Wake

ORIGIN = "<filter>"
"""What problems call the text."""
WAITING_MAX = 64
"""Texts that may wait to be compiled; more are refused."""

Done = Callable[[View | FlowdError], None]


class Compiler:
    """`compile` hands over a text, `settle` calls back with what became of it, in the thread that owns this.

    An equal view that is there already is not compiled again.
    """

    def __init__(self, views: Views, read_generation: Callable[[], int], wake: Wake) -> None:
        self._views = views
        self._read_generation = read_generation
        self._wake = wake
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="flowd-compile")
        self._done: deque[tuple[Done, View | FlowdError]] = deque()
        self._waiting = 0

    def compile(self, stream: str, text: str, dialect: str | None, done: Done) -> None:
        """Makes a view of a stream. `done` is called at once where there is one, later otherwise."""
        known = self._views.find(name_registered(stream, text, dialect))
        if known is not None:
            self._finish(done, known)
        elif self._waiting >= WAITING_MAX:
            done(FlowdError("too many filters wait to be compiled", hint="try again later"))
        else:
            self._waiting += 1
            self._executor.submit(self._compile, stream, text, dialect, done)

    def settle(self) -> bool:
        """Calls back for what is done; False where nothing is."""
        is_busy = False
        while self._done:
            done, result = self._done.popleft()
            self._waiting -= 1
            is_busy = True
            if isinstance(result, View):
                self._finish(done, result)
            else:
                done(result)
        return is_busy

    def close(self) -> None:
        """Ends the thread; what waits is left."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _finish(self, done: Done, view: View) -> None:
        try:
            done(self._views.register(view))
        except FlowdError as error:
            done(error)

    def _compile(self, stream: str, text: str, dialect: str | None, done: Done) -> None:
        result: View | FlowdError
        try:
            filter_set = FilterSet(open_foreign_text(text, dialect, ORIGIN).resolve(stream))
            result = View(name_registered(stream, text, dialect), stream, filter_set, self._read_generation())
        except FlowdError as error:
            result = error
        except (ValueError, MemoryError, RecursionError) as error:
            result = FlowdError(f"the filter cannot be compiled: {error}")
        self._done.append((done, result))
        self._wake.ring()


def describe_refusal(error: FlowdError) -> str:
    """The problems of a filter, one a line, for whoever sent it."""
    if isinstance(error, FilterError):
        lines = [f"{problem}" + (f" (hint: {problem.hint})" if problem.hint else "") for problem in error.problems]
        return "\n".join(lines)
    return f"{error.message} (hint: {error.hint})" if error.hint else error.message
