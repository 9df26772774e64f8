"""The processes of a soak: daemon, producers and consumers, started as users start them, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowd.client import request
from flowd.errors import FlowdError, Unreachable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_S = 60.0
GLANCE_S = 0.005


def wait_until(is_true: Callable[[], Any], what: str, within_s: float) -> Any:
    """What `is_true` returns as soon as that is true; FlowdError where it does not become so."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        found = is_true()
        if found:
            return found
        time.sleep(GLANCE_S)
    raise FlowdError(f"{what}: not within {within_s:g} s")


def environment() -> dict[str, str]:
    """The environment in which `python -m flowd` runs this checkout, free of settings of the user."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWD_")}
    return {**clean, "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}


class Actor:
    """A process that may be killed and started again. One that `takes_sigterm` gets SIGTERM when it is ready to: else
    who was started a moment ago would die of it. `flowd run` hears it from its first moment on by itself."""

    def __init__(self, name: str, command: list[str], said: Path, *, takes_sigterm: bool = False) -> None:
        self.name = name
        self.kills = 0
        self._held = {signal.SIGTERM} if takes_sigterm else set()
        self._command = command
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process_id(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it; what it says goes to a file."""
        with self._said.open("ab") as said:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, self._held)  # a process has it of who starts it
            try:
                self._process = subprocess.Popen(
                    self._command, env=environment(), stdin=subprocess.DEVNULL, stdout=said, stderr=said
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def kill(self) -> None:
        """kill -9. Raises FlowdError where it had ended by itself, which nobody does."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise FlowdError(f"{self.name} ended by itself with {self._process.returncode}", hint=self.read_said())
        self._process.kill()
        self._process.wait()
        self.kills += 1

    def signal(self, number: int) -> None:
        """Sends a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, within_s: float) -> int:
        """SIGTERM, and its end waited for; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise FlowdError(f"{self.name} did not end within {within_s:g} s", hint=self.read_said()) from None

    def drop(self) -> None:
        """Ends it in whatever way, at the very end."""
        if self.is_running:
            assert self._process is not None
            self._process.kill()
            self._process.wait()

    def read_said(self) -> str:
        """The last of what it said."""
        return self._said.read_text(errors="replace")[-2000:].strip() if self._said.exists() else ""


class Daemon(Actor):
    """`flowd run` in a folder: its sockets in run/, its journal in state/."""

    def __init__(self, folder: Path, config: str) -> None:
        self.run_dir = folder / "run"
        path = folder / "flowd.toml"
        path.write_text(config)
        directories = ["--runtime-dir", str(self.run_dir), "--state-dir", str(folder / "state")]
        workers = os.environ.get("FLOWD_TEST_WORKERS", "0")
        command = [sys.executable, "-m", "flowd", "run", "-c", str(path), *directories, "--log-level", "warning"]
        command += ["--workers", workers]
        super().__init__("daemon", command, folder / "daemon.said")
        self.starts_s: list[float] = []

    def endpoint(self, lane: str) -> str:
        """The address of a lane's socket."""
        return f"ipc://{self.run_dir / lane}.sock"

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        began_s = time.monotonic()
        (self.run_dir / "admin.sock").unlink(missing_ok=True)
        super().start()
        wait_until(self._is_ready, "the daemon's start", START_S)
        self.starts_s.append(time.monotonic() - began_s)

    def status(self) -> dict[str, Any]:
        """What it answers to `flowd status`."""
        return request(self.endpoint("admin"), "status", START_S)

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise FlowdError("the daemon ended while starting", hint=self.read_said())
        if not (self.run_dir / "admin.sock").exists():
            return False
        try:
            return request(self.endpoint("admin"), "health", 0.2)["state"] == "ok"
        except Unreachable:
            return False


def producer(daemon: Daemon, folder: Path, source: str, pause_s: float) -> Actor:
    """A producer with a spool."""
    arguments = ["producer", daemon.endpoint("ingest"), str(folder), source, str(pause_s)]
    return Actor(
        source, [sys.executable, str(HERE / "actors.py"), *arguments], folder / f"{source}.said", takes_sigterm=True
    )


def consumer(daemon: Daemon, folder: Path, name: str) -> Actor:
    """A durable consumer that commits every few batches."""
    arguments = ["consumer", daemon.endpoint("consume"), str(folder), name]
    return Actor(
        name, [sys.executable, str(HERE / "actors.py"), *arguments], folder / f"{name}.said", takes_sigterm=True
    )
