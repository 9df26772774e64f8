"""What the tests of faults stand on: daemons whose disk fails, or is small, and whose clock is set as they are told."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relay_bed import RUN, DaemonProcess, wait_until

import flowd
from flowd.client import Batch, Consumer, Producer

SHIM = Path(__file__).with_name("fault_shim.c")
LIBRARY_NAME = "shim.so"
LINE_BYTES = 1_000


@functools.cache
def build_shim() -> tempfile.TemporaryDirectory[str]:
    """A folder, for as long as this process lives, with the disk that fails as a library to be preloaded."""
    folder = tempfile.TemporaryDirectory(prefix="flowd-shim-")
    library = os.path.join(folder.name, LIBRARY_NAME)
    compiler = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, str(SHIM), "-ldl"]
    subprocess.run(compiler, check=True)
    return folder


class FaultyDaemon(DaemonProcess):
    """A daemon behind that disk. `order` tells it what to do: see the shim; nothing is in order again."""

    def __init__(self, directory: Path, *, prefix: tuple[str, ...] = (), **overrides: Any) -> None:
        super().__init__(directory, **overrides)
        self.state_dir = Path(self.settings["runtime.state_dir"])
        self.data = self.state_dir / "journal" / "data.mdb"
        self._control = directory / "control"
        self._log = directory / "calls"
        self._clock = directory / "clock"
        self._prefix = prefix
        self.order("")

    def spawn(self) -> subprocess.Popen[str]:
        """Starts the process and does not wait."""
        given = {
            "PYTHONPATH": str(Path(flowd.__file__).parent.parent),
            "LD_PRELOAD": os.path.join(build_shim().name, LIBRARY_NAME),
            "FAULT_CONTROL": str(self._control),
            "FAULT_LOG": str(self._log),
            "FAULT_CLOCK": str(self._clock),
        }
        return subprocess.Popen(
            [*self._prefix, sys.executable, "-c", RUN, json.dumps(self.settings, default=str)],
            env={**os.environ, **given},
            stderr=subprocess.PIPE,
            text=True,
        )

    def order(self, what: str) -> None:
        """From now on this happens to the calls."""
        _replace(self._control, what)

    def set_clock(self, ahead_s: int) -> None:
        """So far its wall clock is ahead of the system's from now on."""
        _replace(self._clock, str(ahead_s))

    def calls(self) -> list[str]:
        """What has come of all calls so far, as `NAME OUTCOME ERRNO`."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def wait_for_call(self, what: str) -> None:
        """Waits until the last call has come to this."""
        wait_until(lambda: self.calls()[-1:] == [what], f"{what!r} among the calls")

    def end(self) -> tuple[int, str]:
        """Waits until it has ended by itself; returns the exit code and what it said."""
        assert self.process is not None
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


def _replace(path: Path, text: str) -> None:
    passing = path.with_suffix(".new")
    passing.write_text(text)
    passing.replace(path)


def numbered(begin: int, end: int) -> bytes:
    """Lines that nobody has sent before, of 1,000 bytes each."""
    return b"".join(b'{"n":%d,"' % n + b"x" * (LINE_BYTES - 10 - len(str(n))) + b'":0}\n' for n in range(begin, end))


def feed(daemon: DaemonProcess, *batches: bytes, stream: str = "flows") -> None:
    """Has a Producer send these, one batch each, and waits until all are acknowledged."""
    with Producer(daemon.endpoint("ingest"), timeout_s=20) as producer:
        for lines in batches:
            producer.send(lines, stream)
            producer.flush()


def open_apart(state: Path, *prefix: str) -> subprocess.CompletedProcess[str]:
    """Opens and closes the journal of a state directory in a process behind `prefix`; what was wrong is its last words,
    as `EXIT CODE MESSAGE | HINT`."""
    code = (
        "import sys; from flowd.errors import FlowdError; from flowd.relay.config import Journal\n"
        "from flowd.relay.journal.opening import open_journal\n"
        "try: open_journal(sys.argv[1], Journal()).store.close()\n"
        "except FlowdError as error: sys.exit(f'{error.exit_code} {error.message} | {error.hint}')"
    )
    return subprocess.run(
        [*prefix, sys.executable, "-c", code, str(state)],
        env={**os.environ, "PYTHONPATH": str(Path(flowd.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def read_all(daemon: DaemonProcess, name: str = "") -> list[Batch]:
    """Everything that is stored, as a Consumer gets it."""
    with Consumer(daemon.endpoint("consume"), name, start="oldest", until="newest", timeout_s=20) as consumer:
        return list(consumer)


def counters(daemon: DaemonProcess, *names: str) -> dict[str, int]:
    """These of its counters; 0 where nothing was counted."""
    found = daemon.status()["counters"]
    return {name: found.get(name, 0) for name in names}


class SmallDisk:
    """A file system of its own: `path` is where a process behind `prefix` finds it, `seen` where this one does."""

    def __init__(self, path: Path, seen: Path, prefix: tuple[str, ...]) -> None:
        self.path = path
        self.seen = seen
        self.prefix = prefix

    def fill(self, left_bytes: int) -> Path:
        """Leaves so much room; returns the file that takes the rest."""
        filler = self.seen / "filler"
        with filler.open("wb") as file:
            found = os.statvfs(self.seen)
            os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - left_bytes)
        return filler


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """A small tmpfs: mounted by this process where it may, in a namespace of its own otherwise."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode == 0:
        try:
            yield SmallDisk(path, path, ())
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)
        return
    script = '"$@" && echo mounted && read end'
    holder = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "mounted\n", "neither mount nor a user namespace is allowed here"
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials", f"--wd={path}")
        yield SmallDisk(path, Path(f"/proc/{holder.pid}/root") / path.relative_to("/"), enter)
    finally:
        holder.communicate("end\n")
