"""The processes that are killed: `python actors.py producer|consumer …`. Each keeps, in a file, what it is sure of.

What they write there is there after a kill -9, since the system keeps written pages. Nothing here judges anything.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path

from lines import make_lines

from flowd.client import Consumer, Producer

STATE_BYTES = 64
CHUNK_LINES = 400
COMMIT_EVERY = 5


def read_state(path: Path) -> tuple[int, int, bool]:
    """What a producer has handed over: everything before the first number; and the chunk up to the second one, of which
    it is not sure where the last is true."""
    try:
        kind, begin, end = path.read_bytes().split()
    except (FileNotFoundError, ValueError):
        return 0, 0, False
    return int(begin), int(end), kind == b"I"


def hear_end() -> threading.Event:
    """What is set at SIGTERM, also at one that came before: it was held back since the process was started."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return ended


def produce(endpoint: str, folder: str, source: str, pause_s: str) -> None:
    """Hands over chunk after chunk, until it is told to end; then everything is acknowledged."""
    state = Path(folder) / f"{source}.state"
    begin, end, is_doubtful = read_state(state)
    if is_doubtful:
        with (Path(folder) / f"{source}.doubtful").open("a") as doubtful:
            doubtful.write(f"{begin} {end}\n")
    n = end
    ended = hear_end()
    chooser = random.Random(os.getpid())
    fd = os.open(state, os.O_RDWR | os.O_CREAT, 0o600)
    with Producer(endpoint, spool_dir=Path(folder) / f"{source}.spool") as producer:
        while not ended.is_set():
            after = n + chooser.randint(1, CHUNK_LINES)
            _write(fd, b"I", n, after)
            producer.send(make_lines(source, n, after))
            _write(fd, b"D", n, after)
            n = after
            ended.wait(float(pause_s) * chooser.random())
        producer.flush()
    _write(fd, b"F", n, n)


def _write(fd: int, kind: bytes, begin: int, end: int) -> None:
    os.pwrite(fd, (b"%s %d %d" % (kind, begin, end)).ljust(STATE_BYTES), 0)


def consume(endpoint: str, folder: str, name: str) -> None:
    """Notes each batch's sequence, and each commit; a life begins with a line of its own."""
    fd = os.open(Path(folder) / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"begin\n")
    ended = hear_end()
    with Consumer(endpoint, name) as consumer:
        done = 0
        while not ended.is_set():
            batch = consumer.poll(0.1)
            if batch is None:
                continue
            os.write(fd, b"got %d %d\n" % (batch.seq, batch.missed))
            done += 1
            if done % COMMIT_EVERY == 0:
                consumer.commit()
                os.write(fd, b"committed %d\n" % batch.seq)


if __name__ == "__main__":
    {"producer": produce, "consumer": consume}[sys.argv[1]](*sys.argv[2:])
