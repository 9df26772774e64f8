"""The stall soak: one consumer stopped, and then all of them, while producers go on.

A stopped consumer (SIGSTOP) may lag alone: what another one waits for its lines moves by less than a tenth, and the
daemon's own memory stays within its bound, however long everybody stands still.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cast import HERE, Actor, Daemon, wait_until

from flowd.client import Producer

CONSUMERS = 8
RATE_BYTES_S = 20_000_000
CHUNK_BYTES = 64 << 10
SAMPLE_S = 0.25
CALM_S = 60.0
WARM_UP_S = 2.0

FOLLOW = """
import os, sys, time
from flowd.client import Consumer
fd = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
with Consumer(sys.argv[1], sys.argv[2], start="newest") as consumer:
    for batch in consumer:
        os.write(fd, b"%d %d\\n" % (batch.time_ns, time.time_ns() - batch.time_ns))
"""


class Load(threading.Thread):
    """Sends at a fixed rate, until it is ended."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(name="soak-load", daemon=True)
        self._endpoint = endpoint
        self._ended = threading.Event()
        self.failure: BaseException | None = None

    def end(self) -> None:
        """Ends it."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """The loop."""
        line = b'{"source_namespace":"prod","n":' + b"1" * 160 + b"}\n"
        chunk = line * (CHUNK_BYTES // len(line))
        try:
            with Producer(self._endpoint) as producer:
                due_s = time.monotonic()
                while not self._ended.wait(max(0.0, due_s - time.monotonic())):
                    producer.send(chunk)
                    due_s += len(chunk) / RATE_BYTES_S
        except BaseException as error:
            self.failure = error


def soak(folder: Path, calm_s: float, stall_s: float, say: Any) -> dict[str, Any]:
    """Measures the others' delays for `calm_s` without and with one consumer stopped; then stops all for `stall_s`."""
    daemon = Daemon(folder, '[journal]\nmax_bytes = "1GiB"\n')
    logs = [folder / f"c{number}.delays" for number in range(CONSUMERS)]
    consumers = [
        Actor(
            log.stem,
            [sys.executable, "-c", FOLLOW, daemon.endpoint("consume"), log.stem, str(log)],
            folder / f"{log.stem}.said",
        )
        for log in logs
    ]
    load = Load(daemon.endpoint("ingest"))
    try:
        daemon.start()
        for one in consumers:
            one.start()
        load.start()
        wait_until(lambda: all(log.exists() and log.stat().st_size for log in logs), "all consumers to follow", CALM_S)
        memory = [_read_anonymous(daemon.process_id)]
        _sample(daemon, memory, WARM_UP_S)
        say(f"{calm_s:g} s without a stop, {calm_s:g} s with one consumer stopped")
        # In turns: whatever moves on the machine moves both.
        calm_ns: list[int] = []
        stopped_ns: list[int] = []
        for _ in range(4):
            calm_ns += _measure(daemon, memory, logs[1:], calm_s / 4)
            consumers[0].signal(signal.SIGSTOP)
            stopped_ns += _measure(daemon, memory, logs[1:], calm_s / 4)
            consumers[0].signal(signal.SIGCONT)
        say(f"{stall_s:g} s with every consumer stopped")
        for one in consumers:
            one.signal(signal.SIGSTOP)
        _sample(daemon, memory, stall_s)
        lines_before = daemon.status()["streams"]["flows"]["lines"]
        for one in consumers:
            one.signal(signal.SIGCONT)
        marks = [log.stat().st_size for log in logs]
        wait_until(
            lambda: all(log.stat().st_size > mark for log, mark in zip(logs, marks, strict=True)),
            "all consumers to go on",
            CALM_S,
        )
        load.end()
        if load.failure is not None:
            raise load.failure
        return {
            "calm_s": calm_s,
            "stall_s": stall_s,
            "lines": lines_before,
            "p99_ms": round(_percentile(calm_ns, 0.99) / 1e6, 3),
            "p99_with_one_stopped_ms": round(_percentile(stopped_ns, 0.99) / 1e6, 3),
            "p50_ms": round(_percentile(calm_ns, 0.5) / 1e6, 3),
            "p50_with_one_stopped_ms": round(_percentile(stopped_ns, 0.5) / 1e6, 3),
            "most_anonymous_bytes": max(memory),
        }
    finally:
        for actor in (*consumers, daemon):
            actor.drop()


def _measure(daemon: Daemon, memory: list[int], logs: list[Path], seconds: float) -> list[int]:
    """The delays of everybody's batches that were decided in the next seconds."""
    sizes = [log.stat().st_size for log in logs]
    begin_ns = time.time_ns()
    _sample(daemon, memory, seconds)
    end_ns = time.time_ns()
    found = []
    for log, size in zip(logs, sizes, strict=True):
        with log.open("rb") as file:
            file.seek(size)
            rows = [line.split() for line in file.read().splitlines()[:-1]]
        found += [int(row[1]) for row in rows if len(row) == 2 and begin_ns <= int(row[0]) <= end_ns]
    return found


def _sample(daemon: Daemon, memory: list[int], seconds: float) -> None:
    pause = threading.Event()
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        pause.wait(min(SAMPLE_S, left_s))
        memory.append(_read_anonymous(daemon.process_id))


def _read_anonymous(process_id: int) -> int:
    """RssAnon: what is the process's own; the journal's mapped pages do not count."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{HERE}: no RssAnon on {os.uname().sysname}")


def _percentile(values: list[int], share: float) -> int:
    return sorted(values)[int((len(values) - 1) * share)] if values else 0
