"""flowd.aio: the same clients under asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from relay_bed import DEADLINE_S, DROPPED, KEPT, running

from flowd import aio
from flowd.errors import NotAcknowledged, Unreachable


def test_lines_go_through(tmp_path: Path) -> None:
    async def talk(ingest: str, live: str, admin: str) -> list[bytes]:
        async with aio.Subscriber(live, timeout_s=1.5) as subscriber, aio.Producer(ingest) as producer:
            await subscriber.connect(DEADLINE_S)
            for _ in range(3):
                await producer.send(KEPT + DROPPED)
                await producer.flush(DEADLINE_S)
            found = [batch.lines async for batch in subscriber]
            assert subscriber.missed_lines == 0
            assert (await aio.request(admin, "health"))["state"] == "ok"
            return found

    with running(tmp_path) as (_, config):
        lanes = (config.endpoint(lane) for lane in ("ingest", "live", "admin"))
        assert asyncio.run(talk(*lanes)) == [KEPT] * 3


def test_iteration_can_be_cancelled(tmp_path: Path) -> None:
    async def talk(live: str) -> None:
        async with aio.Subscriber(live) as subscriber:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(aiter(subscriber)), 0.1)

    with running(tmp_path) as (_, config):
        asyncio.run(talk(config.endpoint("live")))


def test_absent_daemon_is_told(tmp_path: Path) -> None:
    async def talk() -> None:
        endpoint = f"ipc://{tmp_path}/absent.sock"
        async with aio.Subscriber(endpoint, timeout_s=0.1) as subscriber:
            with pytest.raises(Unreachable):
                await anext(aiter(subscriber))
        producer = aio.Producer(endpoint)
        await producer.send(KEPT)
        with pytest.raises(NotAcknowledged):
            await producer.flush(0.05)
        await producer.close()

    asyncio.run(talk())
