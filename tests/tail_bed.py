"""What the tail source's tests stand on: logs that are written and rotated as programs do it, and a lanes thread that
is played: it takes chunks, stores lines and places together, and can be killed at any point.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq
from relay_bed import WORKERS

import flowd
from flowd.relay.carrier import Carrier
from flowd.relay.config import Filters, Journal
from flowd.relay.deciding.reload import Reloader
from flowd.relay.deciding.workers import Workers
from flowd.relay.health import Health
from flowd.relay.journal.opening import open_journal
from flowd.relay.journal.outbox import Outbox
from flowd.relay.journal.store import Store
from flowd.relay.journal.writer import Writer
from flowd.relay.live.lane import LiveLane
from flowd.relay.metrics import Counters
from flowd.relay.tail.file import LINGER_S
from flowd.relay.tail.handover import Chunk, Handover
from flowd.relay.tail.lane import TailLane
from flowd.relay.tail.source import TailSource
from flowd.relay.tail.tail import Tail
from flowd.wire.sockets import Wake

STEP_S = 1.0
"""What a look moves the clock by."""


class Silent:
    """A bell that nobody hears: the bed asks."""

    def ring(self) -> None:
        pass


class Bed:
    """A tail that is driven by hand, with a clock of its own, and what was stored of it: `lines` and `places`, always
    together. `start` again after `kill` goes on from there."""

    def __init__(self, globs: Mapping[str, Sequence[str]]) -> None:
        self.globs = globs
        self.places: dict[bytes, bytes] = {}
        self.chunks: list[Chunk] = []
        self.now_s = 1000.0
        self.counters = Counters()
        self.start()

    def start(self) -> None:
        """A new process, with what was stored."""
        self.counters = Counters()
        self.handover = Handover(Silent())
        self.tail = Tail(self.globs, dict(self.places), self.handover, self.counters)

    def kill(self) -> None:
        """kill -9: what was read and not stored is gone."""
        self.tail.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def look(self) -> None:
        """Looks at the files, and reads one chunk of each stream where there is one."""
        self.now_s += STEP_S
        self.tail.look(self.now_s)
        self.tail.read(self.now_s)

    def store(self) -> Chunk | None:
        """Stores the oldest chunk, its lines and its places, in one go; None where there is none."""
        chunk = self.handover.take(lambda _: True)
        if chunk is None:
            return None
        for key, value in chunk.places:
            if value is None:
                self.places.pop(key, None)
            else:
                self.places[key] = value
        for file, offset in chunk.advances:
            file.durable = offset
        if chunk.lines:
            self.chunks.append(chunk)
        return chunk

    def settle(self) -> None:
        """Looks, reads and stores until there is nothing more at this time."""
        for _ in range(2):  # a file that changed while it was read needs another look
            self.now_s += STEP_S
            self.tail.look(self.now_s)
            self.drain()

    def drain(self) -> None:
        """Reads and stores without another look."""
        is_busy = True
        while is_busy:
            is_busy = self.tail.read(self.now_s)
            while self.store() is not None:
                is_busy = True

    def pass_linger(self) -> None:
        """Time goes by in which nobody writes: what was rotated away is given up."""
        self.settle()
        self.now_s += LINGER_S
        self.settle()

    def lines(self, stream: str = "flows") -> list[bytes]:
        """Every line stored so far."""
        return b"".join(chunk.lines for chunk in self.chunks if chunk.stream == stream).split(b"\n")[:-1]

    def take_lines(self, stream: str = "flows") -> list[bytes]:
        """The lines stored since this was asked the last time, after everything is read that there is."""
        self.settle()
        found = self.lines(stream)
        self.chunks.clear()
        return found

    def count(self, name: str, **labels: str) -> int:
        return self.counters.get(f"flowd_tail_{name}_total", **labels)

    def describe(self) -> dict[str, Any]:
        return self.tail.describe(self.now_s)


class LogFile:
    """A log as a program writes it, and as others rotate it: with `style`s of names that are in use."""

    def __init__(self, path: Path, style: str = "number") -> None:
        self.path = path
        self.style = style
        self.rotations = 0
        self._writer = open(path, "ab", buffering=0)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def next_name(self) -> Path:
        """Where the file goes that is rotated next; a chain of numbers is moved up first."""
        self.rotations += 1
        if self.style == "number":
            for number in range(self.rotations + 1, 0, -1):
                for ending in ("", ".gz"):
                    old = self.path.with_name(f"{self.path.name}.{number}{ending}")
                    if old.exists():
                        old.rename(self.path.with_name(f"{self.path.name}.{number + 1}{ending}"))
            return self.path.with_name(f"{self.path.name}.1")
        if self.style == "lumberjack":
            stamp = f"2024-01-01T00-{self.rotations // 60:02}-{self.rotations % 60:02}.000"
            return self.path.with_name(f"{self.path.stem}-{stamp}{self.path.suffix}")
        return self.path.with_name(f"{self.path.name}-{20240101 + self.rotations}")

    def rotate(self) -> Path:
        """Rename and create."""
        rotated = self.next_name()
        self.path.rename(rotated)
        self.reopen()
        return rotated

    def reopen(self) -> None:
        self._writer.close()
        self._writer = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def copy(self) -> Path:
        """The first half of copytruncate."""
        rotated = self.next_name()
        shutil.copyfile(self.path, rotated)
        return rotated

    def truncate(self) -> None:
        """The second half."""
        os.truncate(self.path, 0)

    def copytruncate(self) -> Path:
        rotated = self.copy()
        self.truncate()
        return rotated

    def recreate(self) -> None:
        """Deleted and made again; the new file may get the same inode."""
        self._writer.close()
        self.path.unlink()
        self._writer = open(self.path, "ab", buffering=0)  # noqa: SIM115

    def close(self) -> None:
        self._writer.close()


def compress(path: Path) -> Path:
    """What gzip does: a new file with the same time of change, and the old one is deleted."""
    packed = path.with_name(path.name + ".gz")
    with open(path, "rb") as plain, gzip.open(packed, "wb") as output:
        shutil.copyfileobj(plain, output)
    found = path.stat()
    os.utime(packed, ns=(found.st_atime_ns, found.st_mtime_ns))
    path.unlink()
    return packed


def numbered(first: int, last: int, prefix: str = "line") -> bytes:
    """Lines with these numbers, the last one included."""
    return b"".join(b"%s %06d\n" % (prefix.encode(), n) for n in range(first, last + 1))


def lines_of(data: bytes) -> list[bytes]:
    return data.split(b"\n")[:-1]


class Rig:
    """A source, its lane and a journal, joined as the daemon joins them, with a loop that does nothing else."""

    def __init__(
        self, state_dir: Path, globs: Mapping[str, Sequence[str]], filters: Path | None = None, **journal: Any
    ) -> None:
        settings = Journal(**{"sync": "off", **journal})
        self.store = open_journal(state_dir, settings).store
        self.wake = Wake()
        self.health = Health()
        self.counters = Counters()
        self.source_counters = Counters()
        self.writer = Writer(self.store, settings, state_dir, Counters(), self.health, self.wake.ring)
        self.streams = Reloader(Filters(str(filters) if filters else None), Counters(), self.health).streams
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        live = LiveLane(self.context.socket(zmq.XPUB), self.store, self.streams.views, self.counters)
        workers = Workers(WORKERS, self.wake) if WORKERS else None
        self.carrier = Carrier(live, self.writer, Outbox(self.wake), workers)
        with self.store.read() as reading:
            places = reading.places()
        self.source = TailSource(globs, places, self.wake, self.source_counters)
        self.lane = TailLane(self.source.handover, self.streams, self.carrier, self.writer, self.wake, self.counters)
        self.is_ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self) -> Rig:
        self.writer.start()
        self.source.start()
        self.thread.start()
        return self

    def run(self) -> None:
        """What the daemon's thread does, of which this is a part."""
        poller = zmq.Poller()
        poller.register(self.wake.fd, zmq.POLLIN)
        self.carrier.start()
        while not (self.is_ending and self.lane.is_idle):
            now_s = time.monotonic()
            is_busy = self.carrier.settle()
            if not self.is_ending:
                is_busy |= self.lane.take_turn(now_s)
            if not is_busy:
                poller.poll(int(min(1.0, self.lane.wait_s(now_s)) * 1000) + 1)
                self.wake.clear()

    def end(self) -> None:
        """As a drain does it: the source first; what is under way is stored."""
        self.source.end()
        self.is_ending = True
        self.wake.ring()
        self.thread.join()
        self.carrier.end()
        self.writer.end()
        self.context.destroy(linger=0)
        self.store.close()
        self.wake.close()

    def lines(self, stream: str = "flows") -> list[bytes]:
        return stored_lines(self.store, stream)

    def lag_bytes(self) -> int:
        return int(self.source.describe()["lag_bytes"])


def stored_lines(store: Store, stream: str = "flows") -> list[bytes]:
    """Every line that a stream has in the journal."""
    row = store.stream(stream)
    parts = []
    if row is not None:
        with store.read() as reading:
            for sequence in range(row.oldest, row.next):
                head = reading.head(row, sequence)
                assert head is not None
                parts.append(bytes(reading.lines(row, sequence, head)))
    return b"".join(parts).split(b"\n")[:-1]


def spawn_rig(state_dir: Path, globs: Mapping[str, Sequence[str]]) -> subprocess.Popen[bytes]:
    """A rig in a process of its own, to be killed."""
    code = "import json, sys; from pathlib import Path; from tail_bed import Rig; "
    code += "Rig(Path(sys.argv[1]), json.loads(sys.argv[2])).start().thread.join()"
    root = Path(flowd.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", code, str(state_dir), json.dumps(globs)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])},
    )
