"""One of three JetStream servers killed under load, again and again: what the sink made of it. Also run by itself:
`python tests/nats_kills.py --kills 20`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats_bed import cluster
from nats_reader import Read, Reader
from relay_bed import DEADLINE_S, DaemonProcess

from flowd.client import Producer, request
from flowd.wire.jetstream import Head

PADDING = "x" * 400
LOAD_LINES = 500
"""Lines of one send: some 200 KiB."""


ELECTED_S = 90.0
"""How long two servers may take to elect a leader and go on, on a machine that is busy with other tests."""


def wait_until(is_true: Callable[[], Any], what: str) -> None:
    """Returns when it is true."""
    deadline_s = time.monotonic() + ELECTED_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"{what}: not within {ELECTED_S:g} s"
        time.sleep(0.05)


class Outcome(NamedTuple):
    """What was sent, what the stream has of it, and what a consumer made of it that was killed now and then. `inverted`
    batches came to stand behind later ones."""

    kills: int
    sent: int
    stored: int
    lost: int
    duplicates: int
    inverted: int
    repeated_messages: int
    read: Read


def kill_servers(directory: Path, kills: int, seed: int) -> Outcome:
    """Kills a server `kills` times, every other time the leader of the stream, while lines are sent without a pause."""
    order = random.Random(seed)
    with cluster(directory / "nats") as servers:
        urls = [server.url for server in servers]
        settings = {"type": "nats", "servers": urls, "replicas": 3, "max_bytes": "3GiB", "ack_timeout_s": 2}
        reader = Reader(",".join(urls).replace(",nats://", ","), directory)
        with DaemonProcess(directory, **{"sinks.cluster": settings, "filters.path": None}) as daemon, reader:
            load = Load(daemon.endpoint("ingest"))
            load.start()
            for number in range(kills):
                delivered = _delivered(daemon)
                wait_until(lambda before=delivered: _delivered(daemon) > before + 8, "deliveries")  # type: ignore[misc]
                leader = asyncio.run(_leader([server.url for server in servers]))
                among = [s for s in servers if s.name == leader] if number % 2 == 0 else servers
                victim = order.choice(among or servers)
                victim.kill()
                delivered = _delivered(daemon)
                wait_until(lambda before=delivered: _delivered(daemon) > before + 8, "deliveries by two servers")  # type: ignore[misc]
                if number % 2:
                    reader.again()
                victim.start()
                wait_until(lambda: asyncio.run(_is_whole(urls)), "three replicas")
            load.end()
            sent = load.sent
            wait_until(lambda: _is_drained(daemon), "everything delivered")
            repeated = daemon.status()["counters"].get('flowd_sink_repeated_messages_total{sink="cluster"}', 0)
            wait_until(lambda: reader.seen() >= sent, "everything read")
        return _judge(asyncio.run(_read(urls)), sent, kills, repeated, reader.judge(sent))


class Load(threading.Thread):
    """Sends numbered lines until `end`."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._endpoint = endpoint
        self._ended = threading.Event()

    def run(self) -> None:
        with Producer(self._endpoint, timeout_s=DEADLINE_S) as producer:
            while not self._ended.is_set():
                numbers = range(self.sent, self.sent + LOAD_LINES)
                producer.send("".join(f'{{"n":{n},"p":"{PADDING}"}}\n' for n in numbers).encode())
                self.sent += LOAD_LINES
                self._ended.wait(0.03)
            producer.flush(DEADLINE_S)

    def end(self) -> None:
        self._ended.set()
        self.join()


def _delivered(daemon: DaemonProcess) -> int:
    count: int = daemon.status()["counters"].get('flowd_sink_batches_total{sink="cluster"}', 0)
    return count


def _is_drained(daemon: DaemonProcess) -> bool:
    consumers = request(daemon.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]
    return any(found["consumer"] == "sink.cluster" and found["lag_batches"] == 0 for found in consumers)


async def _leader(urls: list[str]) -> str | None:
    client = await nats.connect(urls)
    try:
        info = await client.jetstream().stream_info("FLOWD")
        return info.cluster.leader if info.cluster is not None else None
    except (TimeoutError, nats.errors.Error):
        return None
    finally:
        await client.close()


async def _is_whole(urls: list[str]) -> bool:
    client = await nats.connect(urls)
    try:
        info = await client.jetstream().stream_info("FLOWD")
        replicas = info.cluster.replicas if info.cluster is not None else None
        return bool(replicas) and all(peer.current and not peer.offline for peer in replicas or ())
    except (TimeoutError, nats.errors.Error):
        return False
    finally:
        await client.close()


async def _read(urls: list[str]) -> list[tuple[Head, list[int]]]:
    client = await nats.connect(urls)
    try:
        jetstream = client.jetstream()
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
        pull = await jetstream.pull_subscribe("flowd.>", stream="FLOWD", config=config)
        waiting = (await pull.consumer_info()).num_pending or 0
        found = []
        while waiting:
            for message in await pull.fetch(min(waiting, 16), timeout=10):
                waiting -= 1
                await message.ack()
                numbers = [json.loads(line)["n"] for line in message.data.splitlines()]
                found.append((Head.parse(message.headers), numbers))
        return found
    finally:
        await client.close()


def _judge(found: list[tuple[Head, list[int]]], sent: int, kills: int, repeated: int, read: Read) -> Outcome:
    counted = Counter(n for _, numbers in found for n in numbers)
    seqs = [head.seq for head, _ in found]
    return Outcome(
        kills,
        sent,
        sum(counted.values()),
        sum(1 for n in range(sent) if n not in counted),
        sum(count - 1 for count in counted.values()),
        sum(1 for before, after in itertools.pairwise(seqs) if after < before),
        repeated,
        read,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        outcome = kill_servers(Path(directory), arguments.kills, arguments.seed)
    told: dict[str, Any] = {**outcome._asdict(), "read": outcome.read._asdict()}
    told["seconds"] = round(time.monotonic() - began_s, 1)
    print(json.dumps(told))
    return 0 if outcome.lost == outcome.duplicates == outcome.read.lost == outcome.read.again == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
