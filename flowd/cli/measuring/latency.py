"""How long lines are on their way: from when each was due, at a fixed rate, to its arrival at a live subscriber.

The loop is open: what is late is sent late and counts from when it was due, so that a pause of anyone shows in all the
lines that it held up (no coordinated omission). Times are of the monotonic clock, which processes of a machine share.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowd.cli.measuring.core import DOCUMENTED_FILTERS, FORMS, make_batches
from flowd.cli.measuring.relay import ROUND_S, START_S, BenchFailed, running_daemon
from flowd.cli.table import render_table, show_count
from flowd.client import Producer, Subscriber
from flowd.filterset import compile
from flowd.relay.config import lane_endpoint
from flowd.wire.limits import BATCH_BYTES, BATCH_DELAY_S

RATES = (10_000, 100_000, 500_000)
TICK_S = 0.001
"""Lines are handed over once a tick: those that were due in it."""
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
FORM = "text24"
CORPUS_BYTES = 4 << 20
WARM_UP_TICKS = 100


@dataclass(frozen=True, slots=True)
class Latency:
    """Delays of so many lines at a rate, in milliseconds, by percentile.

    `batch_ms` is how long a batch takes to fill at this rate, or may wait for lines: it is in the delays.
    """

    rate: int
    lines: int
    batch_ms: float
    delays_ms: dict[str, float]

    def describe(self) -> dict[str, Any]:
        """As plain data."""
        delays = {name: round(delay_ms, 3) for name, delay_ms in self.delays_ms.items()}
        return {
            "lines_per_second": self.rate,
            "lines": self.lines,
            "batch_ms": round(self.batch_ms, 3),
            "delays_ms": delays,
        }


def measure_latency(seconds: float, seed: int) -> list[Latency]:
    """Measures each rate for so many seconds, with a daemon, a producer and a subscriber over ipc."""
    filters = compile(DOCUMENTED_FILTERS)
    kept = b"".join(map(filters.filter, make_batches(FORM, seed, CORPUS_BYTES, BATCH_BYTES)))
    lines = kept.splitlines(keepends=True)  # all are kept, so that each can be told by its number
    with (
        tempfile.TemporaryDirectory(prefix="flowd-bench-") as folder,
        running_daemon(Path(folder), "off") as runtime,
        Producer(lane_endpoint(runtime, "ingest"), timeout_s=START_S) as producer,
        Subscriber(lane_endpoint(runtime, "live")) as subscriber,
    ):
        subscriber.connect(START_S)
        _run(producer, subscriber, lines, RATES[0], WARM_UP_TICKS)
        return [_run(producer, subscriber, lines, rate, max(1, round(seconds / TICK_S))) for rate in RATES]


def render_latencies(latencies: Sequence[Latency]) -> str:
    """The delays as a table, in milliseconds."""
    headers = ("LINES/S", "BATCH", *(name.upper() for name in SHARES), "LINES")
    rows = [
        (
            show_count(latency.rate),
            f"{latency.batch_ms:.1f} ms",
            *(f"{latency.delays_ms[name]:.1f} ms" for name in SHARES),
            show_count(latency.lines),
        )
        for latency in latencies
    ]
    return render_table(headers, rows, headers)


def send_at_rate(producer: Producer, lines: Sequence[bytes], rate: int, ticks: int) -> float:
    """Hands lines over as they fall due, again and again; returns when the first tick was due, once all are
    acknowledged."""
    each = lines_a_tick(rate)
    chunks = [b"".join(lines[at : at + each]) for at in range(0, len(lines) - each + 1, each)]
    first_s = time.monotonic() + TICK_S
    for tick in range(ticks):
        early_s = first_s + tick * TICK_S - time.monotonic()
        if early_s > 0:
            time.sleep(early_s)
        producer.send(chunks[tick % len(chunks)])
    producer.flush()
    return first_s


def note_arrivals(subscriber: Subscriber, lines: int) -> list[tuple[float, int]]:
    """Receives so many lines; returns when how many of them came. Raises BenchFailed where any is missing."""
    arrived: list[tuple[float, int]] = []
    while lines > 0:
        batch = subscriber.poll(ROUND_S)
        now_s = time.monotonic()
        if batch is None or batch.missed:
            raise BenchFailed("the live lane lost a batch", hint="this machine cannot keep the rate; is it busy?")
        count = batch.lines.count(b"\n")
        arrived.append((now_s, count))
        lines -= count
    return arrived


def find_delays(first_s: float, rate: int, arrived: Iterable[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Seconds from when lines were due to their arrival, with how many lines had them.

    The first tick was due at `first_s`; `arrived` says when how many came, in order.
    """
    each = lines_a_tick(rate)
    line = 0
    for now_s, count in arrived:
        end = line + count
        while line < end:
            tick = line // each
            until = min(end, (tick + 1) * each)
            yield now_s - (first_s + tick * TICK_S), until - line
            line = until


def find_shares(delays: Iterable[tuple[float, int]]) -> dict[str, float]:
    """The percentiles of delays with their numbers of lines, in the delays' unit."""
    ordered = sorted(delays)
    total = sum(count for _, count in ordered)
    found: dict[str, float] = {}
    passed = 0
    wanted = list(SHARES.items())
    for delay, count in ordered:
        passed += count
        while wanted and passed >= wanted[0][1] * total:
            found[wanted.pop(0)[0]] = delay
    return found


def lines_a_tick(rate: int) -> int:
    """How many lines are due at once."""
    return round(rate * TICK_S)


def find_batch_ms(rate: int, line_bytes: float) -> float:
    """How long a batch of flowd.Producer takes to fill at this rate, or waits at most."""
    return min(BATCH_DELAY_S, BATCH_BYTES / line_bytes / rate) * 1000


def _run(producer: Producer, subscriber: Subscriber, lines: Sequence[bytes], rate: int, ticks: int) -> Latency:
    number = lines_a_tick(rate) * ticks
    arrived: list[tuple[float, int]] = []
    failures: list[BaseException] = []

    def receive() -> None:
        try:
            arrived.extend(note_arrivals(subscriber, number))
        except BaseException as error:  # told to the caller, who waits for this thread
            failures.append(error)

    receiver = threading.Thread(target=receive)
    receiver.start()
    try:
        first_s = send_at_rate(producer, lines, rate, ticks)
    finally:
        receiver.join()
    if failures:
        raise failures[0]
    shares = find_shares(find_delays(first_s, rate, arrived))
    return Latency(
        rate, number, find_batch_ms(rate, FORMS[FORM]), {name: delay_s * 1000 for name, delay_s in shares.items()}
    )
