"""Three JetStream servers and the daemons that publish into one stream, killed under load, again and again: what the
sinks and a consumer made of it. Also run by itself: `python tests/nats_kills.py --daemons 3 --how kill,lame`.
"""

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
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import nats
from nats_bed import NatsServer, cluster
from nats_reader import Read, Reader
from relay_bed import DEADLINE_S, DaemonProcess

from flowd.client import Producer, request
from flowd.wire.jetstream import Head

R = TypeVar("R")
PADDING = "x" * 400
LOAD_LINES = 500
"""Lines of one send: some 200 KiB."""
PAUSE_S = 0.03
"""Between two sends of all daemons: 7 MB a second at most."""
HOWS = ("kill", "lame")
"""How a server ends: by `kill -9`, or as a lame duck, which hands over what it leads, sends its clients away one by
one, and goes."""


ELECTED_S = 90.0
"""How long two servers may take to elect a leader and go on, on a machine that is busy with other tests; and how long a
lame duck may take that has many clients."""


def wait_until(is_true: Callable[[], Any], what: str) -> None:
    """Returns when it is true."""
    deadline_s = time.monotonic() + ELECTED_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"{what}: not within {ELECTED_S:g} s"
        time.sleep(0.05)


class Outcome(NamedTuple):
    """What was sent, what the stream has of it, and what a consumer made of it that was killed now and then. `inverted`
    batches came to stand behind later ones of their daemon."""

    rounds: int
    sent: int
    stored: int
    lost: int
    duplicates: int
    inverted: int
    repeated_messages: int
    read: Read


class Publisher:
    """A daemon with a sink into the stream, and who sends it lines without a pause: the numbers `first`, `first + step`
    and so on."""

    def __init__(self, directory: Path, urls: Sequence[str], first: int, step: int) -> None:
        directory.mkdir()
        sink = {"type": "nats", "servers": urls, "node": f"node-{first}", "replicas": 3, "max_bytes": "3GiB"}
        self.daemon = DaemonProcess(directory, **{"sinks.cluster": {**sink, "ack_timeout_s": 2}, "filters.path": None})
        self.load = Load(self.daemon.endpoint("ingest"), first, step)
        self._repeated = 0

    def __enter__(self) -> Publisher:
        self.daemon.start()
        self.load.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.load.end()
        self.daemon.__exit__(None, None, None)

    def delivered(self) -> int:
        """Batches, since the daemon was started last."""
        count: int = self._counters().get('flowd_sink_batches_total{sink="cluster"}', 0)
        return count

    def repeated(self) -> int:
        """Messages that were sent again."""
        count: int = self._counters().get('flowd_sink_repeated_messages_total{sink="cluster"}', 0)
        return self._repeated + count

    def peer(self) -> str:
        """The server that the sink is connected to, as HOST:PORT."""
        found: str = self.daemon.status()["sinks"]["cluster"]["peer"]
        return found

    def again(self) -> None:
        """kill -9, and another start."""
        self._repeated = self.repeated()
        self.daemon.kill()
        self.daemon.start()

    def is_drained(self) -> bool:
        """Whether everything stored is delivered."""
        consumers = request(self.daemon.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]
        return any(found["consumer"] == "sink.cluster" and found["lag_batches"] == 0 for found in consumers)

    def _counters(self) -> dict[str, int]:
        counters: dict[str, int] = self.daemon.status()["counters"]
        return counters


class Load(threading.Thread):
    """Sends numbered lines until `end`."""

    def __init__(self, endpoint: str, first: int, step: int) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._first = first
        self._step = step
        self._sent = 0
        self._ended = threading.Event()

    def numbers(self) -> range:
        """Of all lines that were sent, when it has ended."""
        return range(self._first, self._first + self._sent * self._step, self._step)

    def run(self) -> None:
        with Producer(self._endpoint, timeout_s=DEADLINE_S) as producer:
            while not self._ended.is_set():
                begin = self._first + self._sent * self._step
                numbers = range(begin, begin + LOAD_LINES * self._step, self._step)
                producer.send("".join(f'{{"n":{n},"p":"{PADDING}"}}\n' for n in numbers).encode())
                self._sent += LOAD_LINES
                self._ended.wait(PAUSE_S * self._step)
            producer.flush(DEADLINE_S)

    def end(self) -> None:
        self._ended.set()
        if self.is_alive():
            self.join()


def attack(
    directory: Path,
    rounds: int,
    seed: int,
    *,
    daemons: int = 1,
    hows: Sequence[str] = ("kill",),
    is_short: bool = False,
) -> Outcome:
    """Ends a server `rounds` times, every other time the leader of the stream, the other times one that a sink is
    connected to, while lines are sent without a pause. With several daemons one of them is killed each time as well,
    and every other time a consumer. `is_short`: the last server is not started again."""
    order = random.Random(seed)
    with cluster(directory / "nats") as servers, ExitStack() as stack:
        urls = [server.url for server in servers]
        reader = stack.enter_context(Reader(",".join(urls).replace(",nats://", ","), directory))
        publishers = [
            stack.enter_context(Publisher(directory / f"d{number}", urls, number, daemons)) for number in range(daemons)
        ]
        for number in range(rounds):
            _wait_for_deliveries(publishers, "deliveries")
            victim = _choose(servers, publishers, order, is_leader=number % 2 == 0)
            how = hows[number % len(hows)]
            victim.kill() if how == "kill" else victim.lame_duck()
            if daemons > 1:
                order.choice(publishers).again()
            _wait_for_deliveries(publishers, f"deliveries by two servers, after {how}")
            if number % 2:
                reader.again()
            if is_short and number == rounds - 1:
                break
            wait_until(victim.has_ended, f"the end of {victim.name}, by {how}")
            victim.start()
            _wait_for_replicas(servers)
        for publisher in publishers:
            publisher.load.end()
        sent = {n for publisher in publishers for n in publisher.load.numbers()}
        wait_until(lambda: all(publisher.is_drained() for publisher in publishers), "everything delivered")
        repeated = sum(publisher.repeated() for publisher in publishers)
        wait_until(lambda: reader.seen() >= len(sent), "everything read")
        return _judge(asyncio.run(_read(urls)), sent, rounds, repeated, reader.judge(sent))


def _wait_for_deliveries(publishers: Sequence[Publisher], what: str) -> None:
    before = [publisher.delivered() for publisher in publishers]
    try:
        wait_until(
            lambda: all(each.delivered() > count + 8 for each, count in zip(publishers, before, strict=True)), what
        )
    except AssertionError as error:
        error.add_note("\n".join(str(each.daemon.status()["sinks"]["cluster"]) for each in publishers))
        raise


def _wait_for_replicas(servers: Sequence[NatsServer]) -> None:
    """Until each server's own copy has something that was stored after this call. What the stream's leader says of the
    others is not enough: one that has just been started is called current, and may find then that it is not."""
    reached = max(server.reached("FLOWD") for server in servers)
    wait_until(lambda: all(server.reached("FLOWD") > reached for server in servers), "three replicas")


def _choose(
    servers: Sequence[NatsServer], publishers: Sequence[Publisher], order: random.Random, *, is_leader: bool
) -> NatsServer:
    """The leader of the stream, or a server that a sink is connected to."""
    leader = asyncio.run(_leader([server.url for server in servers]))
    peer = order.choice(publishers).peer()
    among = [server for server in servers if (server.name == leader if is_leader else server.url.endswith(peer))]
    return order.choice(among or list(servers))


async def _leader(urls: list[str]) -> str | None:
    client = await nats.connect(urls)
    try:
        info = await client.jetstream().stream_info("FLOWD")
        return info.cluster.leader if info.cluster is not None else None
    except (TimeoutError, nats.errors.Error):
        return None
    finally:
        await client.close()


async def _read(urls: list[str]) -> list[tuple[Head, list[int]]]:
    """Each message of the stream by its sequence: what is asked for twice is still counted once."""
    client = await nats.connect(urls)
    try:
        jetstream = client.jetstream()
        state = (await _patiently(lambda: jetstream.stream_info("FLOWD"))).state
        found = []
        for seq in range(state.first_seq, state.last_seq + 1):
            message = await _patiently(partial(jetstream.get_msg, "FLOWD", seq))
            numbers = [json.loads(line)["n"] for line in (message.data or b"").splitlines()]
            found.append((Head.parse(message.headers), numbers))
        return found
    finally:
        await client.close()


async def _patiently(ask: Callable[[], Awaitable[R]]) -> R:
    """The answer to what may be asked again: two servers may be electing a leader, on a machine that is busy."""
    deadline_s = time.monotonic() + ELECTED_S
    while True:
        try:
            return await ask()
        except (TimeoutError, nats.errors.Error) as error:
            if time.monotonic() > deadline_s:
                error.add_note(f"for {ELECTED_S:g} s")
                raise
            await asyncio.sleep(0.1)


def _judge(found: list[tuple[Head, list[int]]], sent: set[int], rounds: int, repeated: int, read: Read) -> Outcome:
    counted = Counter(n for _, numbers in found for n in numbers)
    seqs: defaultdict[str, list[int]] = defaultdict(list)
    for head, _ in found:
        seqs[head.node].append(head.seq)
    return Outcome(
        rounds,
        len(sent),
        sum(counted.values()),
        len(sent - counted.keys()),
        sum(count - 1 for count in counted.values()),
        sum(after < before for each in seqs.values() for before, after in itertools.pairwise(each)),
        repeated,
        read,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--daemons", type=int, default=1)
    parser.add_argument("--how", default="kill", help="kill, lame, or both with a comma between them: in turns")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    hows = arguments.how.split(",")
    if not set(hows) <= set(HOWS):
        parser.error(f"--how is {arguments.how!r}; known are {', '.join(HOWS)}")
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        outcome = attack(Path(directory), arguments.rounds, arguments.seed, daemons=arguments.daemons, hows=hows)
    told: dict[str, Any] = {**outcome._asdict(), "read": outcome.read._asdict()}
    told["seconds"] = round(time.monotonic() - began_s, 1)
    print(json.dumps(told))
    return 0 if outcome.lost == outcome.duplicates == outcome.read.lost == outcome.read.again == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
