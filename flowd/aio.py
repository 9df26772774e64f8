"""The clients for asyncio: the same names with `async with`, `async for` and `await`. Public API.

Thin on purpose: each runs the plain client in a thread of its own, so that blocking by credit, resending and
reconnecting are one implementation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from flowd import client
from flowd.client import Batch
from flowd.wire import Buffer

__all__ = ["Batch", "Consumer", "Producer", "Subscriber", "request"]

POLL_S = 0.25
"""How soon a cancelled `async for` gives its thread back."""

P = ParamSpec("P")
R = TypeVar("R")


class _Thread:
    """One thread for one client: its calls run one after the other, off the event loop."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, partial(function, *args, **kwargs))

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


class Subscriber:
    """`flowd.Subscriber` for asyncio; takes the same arguments."""

    def __init__(self, endpoint: str, view: str = "flows", **options: Any) -> None:
        self._subscriber = client.Subscriber(endpoint, view, **options)
        self._thread = _Thread("flowd-aio-subscriber")

    @property
    def missed_lines(self) -> int:
        """All lines of the stream that were lost so far."""
        return self._subscriber.missed_lines

    async def connect(self, timeout_s: float | None = None) -> None:
        """As `flowd.Subscriber.connect`."""
        await self._thread.call(self._subscriber.connect, timeout_s)

    async def close(self) -> None:
        """Disconnects."""
        await self._thread.call(self._subscriber.close)
        self._thread.end()

    async def __aenter__(self) -> Subscriber:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        timeout_s = self._subscriber.timeout_s
        waited_s = 0.0
        heard = self._subscriber.heard
        while True:
            batch = await self._thread.call(self._subscriber.poll, POLL_S)
            if batch is not None:
                waited_s, heard = 0.0, self._subscriber.heard
                yield batch
                continue
            waited_s += POLL_S
            if timeout_s is not None and waited_s >= timeout_s:
                if self._subscriber.is_silent(heard, timeout_s):
                    raise self._subscriber.unreachable(timeout_s)
                return


class Consumer:
    """`flowd.Consumer` for asyncio; takes the same arguments."""

    def __init__(self, endpoint: str, name: str = "", stream: str = "flows", **options: Any) -> None:
        self._consumer = client.Consumer(endpoint, name, stream, **options)
        self._thread = _Thread("flowd-aio-consumer")

    @property
    def missed_lines(self) -> int:
        """All lines of the stream that were lost to this consumer so far."""
        return self._consumer.missed_lines

    async def connect(self, timeout_s: float | None = None) -> None:
        """As `flowd.Consumer.connect`."""
        await self._thread.call(self._consumer.connect, timeout_s)

    async def commit(self, timeout_s: float | None = None) -> None:
        """As `flowd.Consumer.commit`."""
        await self._thread.call(self._consumer.commit, timeout_s)

    async def close(self) -> None:
        """Ends the conversation; what was not committed comes again."""
        await self._thread.call(self._consumer.close)
        self._thread.end()

    async def __aenter__(self) -> Consumer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Batch]:
        timeout_s = self._consumer.timeout_s
        waited_s = 0.0
        while True:
            batch = await self._thread.call(self._consumer.poll, POLL_S)
            if batch is not None:
                waited_s = 0.0
                yield batch
                continue
            if self._consumer.is_done:
                return
            waited_s += POLL_S
            if timeout_s is not None and waited_s >= timeout_s:
                if not self._consumer.is_attached:
                    raise self._consumer.unreachable(timeout_s)
                return


async def request(endpoint: str, op: str, timeout_s: float = 10.0, **args: Any) -> dict[str, Any]:
    """As `flowd.client.request`."""
    return await asyncio.to_thread(partial(client.request, endpoint, op, timeout_s, **args))
