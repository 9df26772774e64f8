"""The two ends of the latency's measurement, each a process of its own: a producer that keeps its rate whatever
happens, and a subscriber that notes when lines arrive. Nothing here computes figures.

Times are of the system's monotonic clock, which both processes share.
"""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from pathlib import Path

from flowd.client import Producer, Subscriber
from flowd.errors import FlowdError

TICK_S = 0.001
"""Lines are handed over once a tick: those that were due in it."""
HEARTBEAT_S = 60.0
STREAM = "flows"


def produce_at_rate(endpoint: str, corpus: Path, control: Connection) -> None:
    """Hands lines to flowd.Producer as they fall due; is asked for (lines a second, ticks), answers with the time when
    the first tick was due, once all is acknowledged."""
    lines = corpus.read_bytes().splitlines(keepends=True)
    with Producer(endpoint, timeout_s=HEARTBEAT_S) as producer:
        control.send(None)
        while True:
            rate, ticks = control.recv()
            each = round(rate * TICK_S)
            chunks = [b"".join(lines[at : at + each]) for at in range(0, len(lines) - each + 1, each)]
            first_s = time.monotonic() + TICK_S
            for tick in range(ticks):
                early_s = first_s + tick * TICK_S - time.monotonic()
                if early_s > 0:
                    time.sleep(early_s)
                producer.send(chunks[tick % len(chunks)], STREAM)
            producer.flush()
            control.send(first_s)


def note_arrivals(endpoint: str, control: Connection) -> None:
    """Is asked for a number of lines; answers with (when, how many) of each batch of them that arrived."""
    with Subscriber(endpoint, STREAM) as subscriber:
        subscriber.connect(HEARTBEAT_S)
        control.send(None)
        while True:
            wanted = int(control.recv())
            control.send(None)
            arrived: list[tuple[float, int]] = []
            while wanted > 0:
                batch = subscriber.poll(HEARTBEAT_S)
                now_s = time.monotonic()
                if batch is None or batch.missed:
                    raise FlowdError("the live lane lost a batch: the machine cannot keep this rate")
                count = batch.lines.count(b"\n")
                arrived.append((now_s, count))
                wanted -= count
            control.send(arrived)
