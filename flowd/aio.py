"""The clients for asyncio: the same names with `async with`, `async for` and `await`. Public API.

Thin on purpose: each runs the plain client in a thread of its own, so that blocking by credit, resending and
reconnecting are one implementation. A wait may be cancelled: what comes then is the next `async for`'s, and no commit
covers it before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from flowd import client
from flowd.client import Batch
from flowd.errors import FlowdError, NotAcknowledged, Unreachable
from flowd.wire import Buffer

__all__ = ["Batch", "Consumer", "Producer", "Subscriber", "request"]

POLL_S = 0.25
"""How soon a wait that was cancelled gives its thread back: a `close` comes after it in the same thread."""

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=client.Subscriber | client.Consumer)


class _Thread:
    """One thread for one client: its calls run one after the other, off the event loop."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.wrap_future(self._executor.submit(partial(function, *args, **kwargs)))

    def begin(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """A call whose result outlives whoever waits for it."""
        return self._executor.submit(partial(function, *args, **kwargs))

    def end(self) -> None:
        self._executor.shutdown(wait=False)


class Producer:
    """`flowd.Producer` for asyncio; takes the same arguments."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._producer = client.Producer(endpoint, **options)
        self._thread = _Thread("flowd-aio-producer")

    async def send(self, lines: Buffer, stream: str = "flows") -> None:
        """As `flowd.Producer.send`: waits while there is no credit."""
        await self._thread.call(self._producer.send, lines, stream)

    async def flush(self, timeout_s: float | None = None) -> None:
        """As `flowd.Producer.flush`."""
        await self._thread.call(self._producer.flush, timeout_s)

    async def close(self) -> None:
        """Ends the conversation without waiting for acknowledgements."""
        await asyncio.to_thread(self._producer.close)
        self._thread.end()

    async def __aenter__(self) -> Producer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
        finally:
            await self.close()


class _Reader(Generic[C]):
    """What the two that read have in common."""

    def __init__(self, reader: C, name: str) -> None:
        self._reader = reader
        self._thread = _Thread(name)
        self._polling: Future[Batch | None] | None = None
        self._yielded: Batch | None = None

    @property
    def missed_lines(self) -> int:
        """All lines of the stream that were lost to this reader so far."""
        return self._reader.missed_lines

    async def connect(self, timeout_s: float | None = None) -> None:
        """As the plain client's `connect`."""
        timeout_s = self._reader.timeout_s if timeout_s is None else timeout_s
        if not await self._try(self._reader.connect, Unreachable, timeout_s):
            raise self._reader.unreachable(timeout_s)

    async def close(self) -> None:
        """Disconnects. What a Consumer did not commit comes again."""
        await self._thread.call(self._reader.close)
        self._thread.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        waited_s = 0.0
        self._note_batch()
        while True:
            batch = await self._poll()
            if batch is not None:
                waited_s = 0.0
                self._note_batch()
                self._yielded = batch
                yield batch
                continue
            if self._is_done():
                return
            waited_s += POLL_S
            timeout_s = self._reader.timeout_s
            if timeout_s is not None and waited_s >= timeout_s:
                if self._is_unheard(timeout_s):
                    raise self._reader.unreachable(timeout_s)
                return

    async def _poll(self) -> Batch | None:
        """The next batch, if one comes soon. What comes after this was cancelled is the next call's: none is lost."""
        if self._polling is None:
            self._polling = self._thread.begin(self._reader.poll, POLL_S)
        await asyncio.wait([asyncio.wrap_future(self._polling)])
        polling, self._polling = self._polling, None
        return polling.result()

    async def _try(self, call: Callable[[float], None], late: type[FlowdError], timeout_s: float | None) -> bool:
        """Makes a call that raises `late` when its time is out, in short turns; False where `timeout_s` passed."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = POLL_S if deadline_s is None else deadline_s - time.monotonic()
            try:
                await self._thread.call(call, min(POLL_S, max(0.0, left_s)))
                return True
            except late:
                if left_s <= POLL_S and deadline_s is not None:
                    return False

    def _note_batch(self) -> None:
        """A wait begins."""

    def _is_done(self) -> bool:
        """Whether no batch will come any more."""
        raise NotImplementedError

    def _is_unheard(self, timeout_s: float) -> bool:
        """Whether the wait that has lasted so long means that no daemon is there."""
        raise NotImplementedError


class Subscriber(_Reader[client.Subscriber]):
    """`flowd.Subscriber` for asyncio; takes the same arguments."""

    def __init__(self, endpoint: str, view: str = "flows", **options: Any) -> None:
        super().__init__(client.Subscriber(endpoint, view, **options), "flowd-aio-subscriber")
        self._heard = 0

    def _note_batch(self) -> None:
        self._heard = self._reader.heard

    def _is_done(self) -> bool:
        return False

    def _is_unheard(self, timeout_s: float) -> bool:
        return self._reader.is_silent(self._heard, timeout_s)


class Consumer(_Reader[client.Consumer]):
    """`flowd.Consumer` for asyncio; takes the same arguments."""

    def __init__(self, endpoint: str, name: str = "", stream: str = "flows", **options: Any) -> None:
        super().__init__(client.Consumer(endpoint, name, stream, **options), "flowd-aio-consumer")

    async def commit(self, timeout_s: float | None = None, *, batch: Batch | None = None) -> None:
        """As `flowd.Consumer.commit`."""
        timeout_s = self._reader.timeout_s if timeout_s is None else timeout_s
        place = batch or self._yielded
        if place is None and self._polling is not None:
            return  # what a cancelled wait has taken was never yielded
        if not await self._try(partial(self._reader.commit, batch=place), NotAcknowledged, timeout_s):
            raise self._reader.not_stored(timeout_s)

    def _is_done(self) -> bool:
        return self._reader.is_done

    def _is_unheard(self, timeout_s: float) -> bool:  # noqa: ARG002
        return not self._reader.is_attached


async def request(endpoint: str, op: str, timeout_s: float = 10.0, **args: Any) -> dict[str, Any]:
    """As `flowd.client.request`."""
    return await asyncio.to_thread(partial(client.request, endpoint, op, timeout_s, **args))
