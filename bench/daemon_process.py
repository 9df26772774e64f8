"""A real daemon in a process of its own, for the demonstration and the relay's benchmark.

It is `flowd run` as anyone starts it, in directories that go away with it. Nothing here measures or prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from flowd.client import request
from flowd.errors import FlowdError, Unreachable

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0
END_S = 60.0
ANSWER_S = 10.0
RETRY_S = 0.2
GLANCE_S = 0.005
"""How often it is looked whether there is a socket yet."""


def child_environment() -> dict[str, str]:
    """The environment in which `python -m flowd` runs this checkout, installed or not, free of settings of the user.

    Python may write its bytecode: an installed flowd has it, and without it start-up is compilation.
    """
    kept = (name for name in os.environ if not name.startswith("FLOWD_") and name != "PYTHONDONTWRITEBYTECODE")
    environment = {name: os.environ[name] for name in kept}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    return environment


def read_memory(process_id: int) -> dict[str, int]:
    """`VmHWM` (peak resident) and `RssAnon` (what is the process's own now) in bytes, as Linux counts them."""
    wanted = ("VmHWM", "RssAnon")
    fields = (line.split(":") for line in Path(f"/proc/{process_id}/status").read_text().splitlines())
    return {name: int(value.split()[0]) * 1024 for name, value in fields if name in wanted}


class DaemonProcess:
    """`flowd run` with these filters, these settings of its journal and more configuration in TOML; started on
    entering, which returns when it answers.

    Leaving kills it where `drain` has not ended it, and removes its directories. `config` may be set between two runs.
    """

    def __init__(self, filters: Path | None, journal: Mapping[str, int | str] | None = None, config: str = "") -> None:
        self._filters = filters
        self.config = config
        self._journal = dict(journal or {})
        self._directory = tempfile.TemporaryDirectory(prefix="flowd-")
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def runtime_dir(self) -> Path:
        """Where its sockets are."""
        return Path(self._directory.name) / "run"

    @property
    def process_id(self) -> int:
        """The running process."""
        assert self._process is not None
        return self._process.pid

    def endpoint(self, lane: str) -> str:
        """The address of a lane's socket."""
        return f"ipc://{self.runtime_dir / lane}.sock"

    def status(self) -> dict[str, Any]:
        """What it answers to `flowd status`."""
        return request(self.endpoint("admin"), "status", ANSWER_S)

    def journal(self) -> dict[str, Any]:
        """What it answers about its journal, which is short however many rules there are."""
        return request(self.endpoint("admin"), "journal", ANSWER_S, do="stat")

    def drain(self) -> list[str]:
        """SIGTERM, and the end waited for; returns its warnings. Raises FlowdError where it did not end with 0."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise FlowdError(f"the daemon did not end within {END_S:g} s of SIGTERM", hint=self._read_said()) from None
        said = self._read_said()
        if code:
            raise FlowdError(f"the daemon ended with exit code {code}", hint=said)
        return [line for line in said.splitlines() if "WARNING" in line or "ERROR" in line]

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        (self.runtime_dir / "admin.sock").unlink(missing_ok=True)  # nobody is behind it any more

    def __enter__(self) -> DaemonProcess:
        self._said = (Path(self._directory.name) / "said").open("w+b")
        self.start()
        return self

    def start(self) -> None:
        """Starts it, where it is not running, and returns when it answers."""
        directory = Path(self._directory.name)
        arguments = ["--runtime-dir", str(self.runtime_dir), "--state-dir", str(directory / "state")]
        if self._filters is not None:
            arguments += ["-f", str(self._filters)]
        if self._journal or self.config:
            config = directory / "flowd.toml"
            journal = "[journal]\n" + "".join(f"{key} = {value!r}\n" for key, value in self._journal.items())
            config.write_text(journal + self.config)
            arguments += ["-c", str(config)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flowd", "run", *arguments],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stderr=self._said,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline_s = time.monotonic() + START_S
        answered = "it did not answer"
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise FlowdError("the daemon ended while starting", hint=self._read_said())
            if not (self.runtime_dir / "admin.sock").exists():
                time.sleep(GLANCE_S)
                continue
            try:
                health = request(self.endpoint("admin"), "health", RETRY_S)
                if health["state"] == "ok":
                    return
                answered = f"it answered {health}"
                time.sleep(GLANCE_S)
            except Unreachable:
                continue
        raise FlowdError(f"the daemon was not well within {START_S:g} s: {answered}", hint=self._read_said())

    def _read_said(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace").strip()

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._said is not None:
            self._said.close()
        self._directory.cleanup()
