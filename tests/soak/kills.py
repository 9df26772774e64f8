"""The kill -9 soak: daemon, producers and consumers are killed at random moments under load, round after round.

A consumer that lives through it all must get every line once and in order; a killed one its uncommitted batches again
and nothing else twice; a log file that is rotated meanwhile is read once. At the end the journal is read from its
beginning.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from actors import read_state
from cast import Actor, Daemon, consumer, producer, wait_until
from lines import FILTERS, Ledger, make_lines

from flowd.client import Consumer
from flowd.errors import FlowdError

PRODUCERS = ("p0", "p1")
CONSUMERS = ("siem", "archive")
TAILED = "t0"
PAUSE_S = 0.02
"""A producer's longest pause between two chunks: some MB/s in all, which fills no disk in an hour."""
KILL_WITHIN_S = 0.25
PROGRESS_S = 60.0
END_S = 120.0
ROTATED_BYTES = 400_000
TAIL_LINES = 120
TAIL_PAUSE_S = 0.02
ANOTHER_SHARE = 0.5
"""In so many rounds a producer or a consumer is killed, too: before the daemon, after it, or while it starts."""


class LogWriter(threading.Thread):
    """Writes a log file as Felix does, in bursts, sometimes half a line first, and rotates it by renaming."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(name="soak-log", daemon=True)
        self.path = path
        self.written = 0
        self.rotations = 0
        self._chooser = random.Random(seed)
        self._ended = threading.Event()

    def end(self) -> None:
        """Ends it after the burst under way."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """The loop."""
        while not self._ended.is_set():
            lines = make_lines(TAILED, self.written, self.written + self._chooser.randint(1, TAIL_LINES))
            with self.path.open("ab", buffering=0) as file:
                cut = self._chooser.randint(0, len(lines)) if self._chooser.random() < 0.3 else len(lines)
                file.write(lines[:cut])
                if cut < len(lines):
                    self._ended.wait(TAIL_PAUSE_S)
                    file.write(lines[cut:])
                size_bytes = file.tell()
            self.written += lines.count(b"\n")
            if size_bytes > ROTATED_BYTES:
                self._rotate()
            self._ended.wait(TAIL_PAUSE_S * self._chooser.random())

    def _rotate(self) -> None:
        for number in range(4, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.rename(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.rotations += 1


class Witness(threading.Thread):
    """The consumer that lives through everything, and enters what it gets into a ledger."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(name="soak-witness", daemon=True)
        self.ledger = Ledger()
        self.batches = 0
        self.missed = 0
        self.failure: BaseException | None = None
        self._endpoint = endpoint
        self._ended = threading.Event()
        self._is_idle = threading.Event()

    def run(self) -> None:
        """The loop."""
        try:
            with Consumer(self._endpoint, "witness") as reader:
                while not self._ended.is_set():
                    batch = reader.poll(0.1)
                    if batch is None:
                        if reader.is_caught_up:
                            self._is_idle.set()
                        continue
                    self._is_idle.clear()
                    self.ledger.enter(batch.lines)
                    self.batches += 1
                    self.missed += batch.missed
                    if self.batches % 10 == 0:
                        reader.commit()
        except BaseException as error:
            self.failure = error

    def catch_up(self) -> None:
        """Returns when it has everything that is stored."""
        self._is_idle.clear()
        wait_until(lambda: self._is_idle.is_set() or self.failure, "the witness to catch up", END_S)
        if self.failure is not None:
            raise self.failure

    def end(self) -> None:
        """Ends it."""
        self._ended.set()
        self.join()


def soak(folder: Path, rounds: int, seed: int, say: Any) -> dict[str, Any]:
    """Plays so many rounds and returns what came of it. Raises FlowdError where somebody ended by itself or hung."""
    chooser = random.Random(seed)
    (folder / "filters").write_text(FILTERS)
    log = folder / "flows.log"
    log.touch()
    daemon = Daemon(
        folder,
        f'[filters]\npath = "{folder / "filters"}"\n\n'
        f'[sources.tail]\nflows = ["{log}"]\n\n[journal]\nmax_bytes = "8GiB"\n',
    )
    producers = [producer(daemon, folder, source, PAUSE_S) for source in PRODUCERS]
    consumers = [consumer(daemon, folder, name) for name in CONSUMERS]
    writer, witness = LogWriter(log, seed), Witness(daemon.endpoint("consume"))
    actors: list[Actor] = [daemon, *producers, *consumers]
    began_s = time.monotonic()
    try:
        for actor in actors:
            actor.start()
        writer.start()
        witness.start()
        for number in range(1, rounds + 1):
            _play_round(chooser, daemon, producers, consumers, witness)
            if number % 50 == 0:
                say(f"{number} of {rounds} rounds, {witness.ledger.lines:,} lines seen")
        took_s = time.monotonic() - began_s
        writer.end()
        for one in producers:
            if one.end(END_S):
                raise FlowdError(f"{one.name} failed", hint=one.read_said())
        status = _await_tail(daemon, writer)
        witness.catch_up()
        for one in consumers:
            _await_consumer(folder, one.name, status)
            one.end(END_S)
        witness.end()
        return _judge(folder, daemon, actors, writer, witness, rounds, took_s)
    finally:
        for actor in actors:
            actor.drop()


def _play_round(
    chooser: random.Random, daemon: Daemon, producers: list[Actor], consumers: list[Actor], witness: Witness
) -> None:
    """Kills the daemon, and sometimes another one with it, when lines have come through since the last time."""
    seen = witness.ledger.lines

    def has_moved() -> bool:
        if witness.failure is not None:
            raise witness.failure
        return witness.ledger.lines > seen

    wait_until(has_moved, "lines to come through", PROGRESS_S)
    victims: list[Actor] = [daemon]
    if chooser.random() < ANOTHER_SHARE:
        victims.append(chooser.choice([*producers, *consumers]))
        chooser.shuffle(victims)
    for victim in victims:
        threading.Event().wait(chooser.random() * KILL_WITHIN_S)
        victim.kill()
    chooser.shuffle(victims)
    for victim in victims:
        victim.start()


def _await_tail(daemon: Daemon, writer: LogWriter) -> dict[str, Any]:
    """Returns the status when the log is read to its end. It may just have been rotated away."""
    size_bytes = writer.path.stat().st_size if writer.path.exists() else None

    def is_read() -> dict[str, Any] | None:
        status = daemon.status()
        tail = status["tail"]
        offsets = {file["path"]: file["offset"] for file in tail["files"]}
        is_done = not tail["lag_bytes"] and offsets.get(str(writer.path)) == size_bytes
        return status if is_done else None

    found: dict[str, Any] = wait_until(is_read, "the log to be read", END_S)
    return found


def _await_consumer(folder: Path, name: str, status: dict[str, Any]) -> None:
    """Returns when a consumer has got the newest batch that has lines."""
    last = status["streams"]["flows"]["next"] - 1

    def is_there() -> bool:
        got = [int(line.split()[1]) for line in (folder / f"{name}.log").read_text().splitlines() if line[:3] == "got"]
        return bool(got) and max(got) >= last - 1

    wait_until(is_there, f"{name} to catch up", END_S)


def _judge(
    folder: Path, daemon: Daemon, actors: list[Actor], writer: LogWriter, witness: Witness, rounds: int, took_s: float
) -> dict[str, Any]:
    again = _read_journal(daemon)
    doubtful_lines = 0
    for source in PRODUCERS:
        _, end, _ = read_state(folder / f"{source}.state")
        path = folder / f"{source}.doubtful"
        doubtful = [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []
        doubtful_lines += sum(after - first for first, after in doubtful)
        for ledger in (witness.ledger, again):
            ledger.settle(source, end, doubtful)  # type: ignore[arg-type]
    for ledger in (witness.ledger, again):
        ledger.settle(TAILED, writer.written, ())
    consumers = {name: _judge_consumer((folder / f"{name}.log").read_text()) for name in CONSUMERS}
    status = daemon.status()
    kills = Counter({actor.name: actor.kills for actor in actors})
    return {
        "rounds": rounds,
        "took_s": round(took_s, 1),
        "kills": dict(kills),
        "lines_seen": witness.ledger.lines,
        "batches_seen": witness.batches,
        "log_rotations": writer.rotations,
        "doubtful_lines": doubtful_lines,
        "lost_lines": witness.ledger.lost + again.lost,
        "doubled_lines": witness.ledger.doubled + again.doubled,
        "missed_lines": witness.missed,
        "wrong": witness.ledger.wrong + again.wrong + [word for words in consumers.values() for word in words],
        "journal_lines": again.lines,
        "duplicate_batches_recognised": status["counters"].get("flowd_duplicate_batches_total", 0),
        "slowest_start_s": round(max(daemon.starts_s), 2),
    }


def _read_journal(daemon: Daemon) -> Ledger:
    ledger = Ledger()
    with Consumer(daemon.endpoint("consume"), start="oldest", until="newest") as reader:
        for batch in reader:
            ledger.enter(batch.lines)
    return ledger


def _judge_consumer(log: str) -> list[str]:
    """What is wrong in a killed consumer's log: a batch left out, or one that came again though it was committed."""
    wrong = []
    committed = last = 0
    for line in log.splitlines():
        words = line.split()
        if words[0] == "begin":
            last = -1
        elif words[0] == "committed":
            committed = int(words[1])
        elif words[0] == "got":
            sequence = int(words[1])
            if int(words[2]):
                wrong.append(f"{words[2]} lines missed before batch {sequence}")
            if last == -1 and sequence <= committed:
                wrong.append(f"batch {sequence} came again though {committed} was committed")
            last = sequence
    return wrong
