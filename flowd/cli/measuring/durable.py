"""The durable lanes' figures: lines acknowledged when they are stored, and read back by a consumer, beside a disk's own
speed.

The base is the disk's least: the same kept bytes written to a file and synced as often as the journal committed. Rounds
take turns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from flowd.cli.measuring.core import DOCUMENTED_FILTERS, make_batches
from flowd.cli.measuring.figures import Figure, run_rounds
from flowd.cli.measuring.relay import BATCH_BYTES, CORPUS_BYTES, FORM, ROUND_S, START_S, running_daemon
from flowd.client import Consumer, Producer, request
from flowd.filterset import compile
from flowd.relay.config import lane_endpoint


def measure_durable(seconds: float, seed: int) -> list[Figure]:
    """Measures acknowledged ingest and reading against plain writes."""
    batches = make_batches(FORM, seed, CORPUS_BYTES, BATCH_BYTES)
    filters = compile(DOCUMENTED_FILTERS)
    kept = [filters.filter(batch) for batch in batches]
    size, lines = sum(map(len, batches)), sum(batch.count(b"\n") for batch in batches)
    kept_bytes, kept_lines = sum(map(len, kept)), sum(batch.count(b"\n") for batch in kept)
    written = Figure("disk, written and synced", kept_lines, kept_bytes)
    stored = Figure("durable ingest", lines, size, base=written.name)
    read = Figure("durable consumer", kept_lines, kept_bytes, base=written.name)
    with tempfile.TemporaryDirectory(prefix="flowd-bench-") as folder, _lanes(Path(folder), batches) as lanes:
        plain = Path(folder) / "plain"
        run_rounds([(stored, lanes.ingest), (read, lanes.consume), (written, lambda: _write(plain, kept))], seconds)
    return [written, stored, read]


class _Lanes(NamedTuple):
    ingest: Callable[[], float]
    consume: Callable[[], float]


@contextmanager
def _lanes(folder: Path, batches: list[bytes]) -> Iterator[_Lanes]:
    """A round of sending until all is acknowledged, and one of reading what the round before has stored."""
    with running_daemon(folder, "commit") as runtime:
        admin = lane_endpoint(runtime, "admin")
        with (
            Producer(lane_endpoint(runtime, "ingest"), timeout_s=START_S) as producer,
            Consumer(lane_endpoint(runtime, "consume"), "bench", start="newest", timeout_s=ROUND_S) as consumer,
        ):
            consumer.connect(START_S)

            def ingest() -> float:
                began_s = perf_counter()
                for batch in batches:
                    producer.send(batch)
                producer.flush(ROUND_S)
                return perf_counter() - began_s

            def consume() -> float:
                last = request(admin, "status", START_S)["streams"]["flows"]["next"] - 1
                began_s = perf_counter()
                while (place := consumer.position) is None or place[1] < last:
                    consumer.poll(ROUND_S)
                consumer.commit(ROUND_S)
                return perf_counter() - began_s

            yield _Lanes(ingest, consume)


def _write(path: Path, kept: list[bytes]) -> float:
    """The same bytes into a file, synced every megabyte: about a group of the journal's."""
    began_s = perf_counter()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for number, batch in enumerate(kept):
            os.write(fd, batch)
            if number % 4 == 3:
                os.fdatasync(fd)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    return perf_counter() - began_s
