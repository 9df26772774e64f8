"""flowd.aio: the same clients under asyncio."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from relay_bed import DEADLINE_S, DROPPED, KEPT, running

import flowd
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
            with pytest.raises(TimeoutError):
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


def test_cancelled_waits_lose_no_batch(tmp_path: Path) -> None:
    async def talk(ingest: str, consume: str) -> list[bytes]:
        found: list[bytes] = []
        wanted = [b'{"n":%d}\n' % n for n in range(20)]

        async def read_one(consumer: aio.Consumer) -> None:
            async for batch in consumer:
                found.append(batch.lines)
                return

        async with aio.Producer(ingest) as producer, aio.Consumer(consume, "reader") as consumer:
            deadline_s = time.monotonic() + DEADLINE_S
            sending = asyncio.ensure_future(_send_apart(producer, wanted))
            while len(found) < len(wanted) and time.monotonic() < deadline_s:
                try:
                    await asyncio.wait_for(read_one(consumer), 0.01)
                except TimeoutError:
                    continue
            await sending
        assert found == wanted
        return found

    with running(tmp_path) as (_, config):
        asyncio.run(talk(config.endpoint("ingest"), config.endpoint("consume")))


def test_commit_does_not_cover_what_a_cancelled_wait_took(tmp_path: Path) -> None:
    async def talk(ingest: str, consume: str) -> None:
        async with aio.Producer(ingest) as producer, aio.Consumer(consume, "reader") as consumer:
            await _send_apart(producer, [b'{"n":1}\n'])
            assert (await anext(aiter(consumer))).lines == b'{"n":1}\n'
            waiting = asyncio.ensure_future(anext(aiter(consumer)))
            await asyncio.sleep(0)
            waiting.cancel()
            await _send_apart(producer, [b'{"n":2}\n'])
            await consumer.commit(DEADLINE_S)
        with flowd.Consumer(consume, "reader", timeout_s=DEADLINE_S) as later:
            assert next(later).lines == b'{"n":2}\n'

    with running(tmp_path) as (_, config):
        asyncio.run(talk(config.endpoint("ingest"), config.endpoint("consume")))


@pytest.mark.parametrize("reader", [aio.Subscriber, aio.Consumer])
def test_cancelled_connect_does_not_hold_up_close(
    tmp_path: Path, reader: type[aio.Subscriber] | type[aio.Consumer]
) -> None:
    async def talk() -> None:
        async with reader(f"ipc://{tmp_path}/absent.sock") as waiting:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting.connect(), 0.05)

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


def test_late_commit_and_connect_say_how_long_they_waited(tmp_path: Path) -> None:
    async def talk(ingest: str, consume: str) -> None:
        async with aio.Producer(ingest) as producer, aio.Consumer(consume, "reader") as consumer:
            await _send_apart(producer, [KEPT])
            await anext(aiter(consumer))
            with pytest.raises(NotAcknowledged, match="was not stored within 0 s"):
                await consumer.commit(0)
            await consumer.commit(DEADLINE_S)
        async with aio.Consumer(f"ipc://{tmp_path}/absent.sock") as consumer:
            with pytest.raises(Unreachable, match=r"within 0\.4 s"):
                await consumer.connect(0.4)

    with running(tmp_path) as (_, config):
        asyncio.run(talk(config.endpoint("ingest"), config.endpoint("consume")))


async def _send_apart(producer: aio.Producer, batches: list[bytes]) -> None:
    for lines in batches:
        await producer.send(lines)
        await producer.flush(DEADLINE_S)
