"""What the relay's tests stand on: daemons in this process and in others, producers made of bare sockets, deadlines."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

import flowd
from flowd.client import Producer, request
from flowd.errors import Unreachable
from flowd.relay.config import Config, load_config
from flowd.relay.daemon import Daemon
from flowd.wire import Data, Header, Hello, Live, Message, checksum, encode, parse

DEADLINE_S = 20.0
WORKERS = int(os.environ.get("FLOWD_TEST_WORKERS", "0"))
"""Workers that decide in a daemon whose test does not say how many: so all tests can be run with some."""
DROP_DEV = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^dev$/
  </exclude>
</filter>
"""
KEPT = b'{"source_namespace":"prod"}\n'
DROPPED = b'{"source_namespace":"dev"}\n'
RUN = """
import json
import sys
from flowd.errors import FlowdError
from flowd.relay.config import load_config
from flowd.relay.running import run
try:
    sys.exit(run(load_config(None, json.loads(sys.argv[1]))))
except FlowdError as error:
    print(error, "|", error.hint, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def wait_until(is_true: Callable[[], Any], what: str) -> Any:
    """What `is_true` returns as soon as that is true."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        found = is_true()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{what}: not within {DEADLINE_S:g} s")


def settings(directory: Path, **overrides: Any) -> dict[str, Any]:
    """A daemon's settings in this directory, with the filter that drops the namespace dev."""
    filters = directory / "flow"
    filters.write_text(DROP_DEV)
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return {
        "runtime.dir": str(directory / "run"),
        "runtime.state_dir": str(directory / "state"),
        "runtime.drain_s": 5,
        "runtime.workers": WORKERS,
        "filters.path": str(filters),
        **given,
    }


@contextmanager
def running(directory: Path, **overrides: Any) -> Iterator[tuple[Daemon, Config]]:
    """A daemon in this process, drained at the end."""
    config = load_config(None, settings(directory, **overrides), {})
    daemon = Daemon(config)
    try:
        yield daemon, config
    finally:
        daemon.drain()
        assert daemon.join() == 0


class DaemonProcess:
    """A daemon in a process of its own; `start` returns when it answers."""

    def __init__(self, directory: Path, **overrides: Any) -> None:
        self.settings = settings(directory, **overrides)
        self.run_dir = Path(self.settings["runtime.dir"])
        self.process: subprocess.Popen[str] | None = None

    def endpoint(self, lane: str) -> str:
        return f"ipc://{self.run_dir / lane}.sock"

    def spawn(self) -> subprocess.Popen[str]:
        """Starts the process and does not wait."""
        root = str(Path(flowd.__file__).parent.parent)
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(self.settings, default=str)],
            env={**os.environ, "PYTHONPATH": root},
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self) -> DaemonProcess:
        self.process = self.spawn()
        wait_until(self._is_ready, "the daemon's start")
        return self

    def status(self) -> dict[str, Any]:
        return request(self.endpoint("admin"), "status", DEADLINE_S)

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def terminate(self) -> tuple[int, str]:
        """SIGTERM; returns the exit code and what it said."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, said

    def __enter__(self) -> DaemonProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        elif self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()

    def _is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.process.communicate()[1]}")
        try:
            return request(self.endpoint("admin"), "health", 0.2)["state"] in ("ok", "degraded")
        except Unreachable:
            return False


class Peer:
    """A bare DEALER at a lane, for what no client of flowd would send."""

    def __init__(self, endpoint: str) -> None:
        self.id = secrets.token_bytes(16)
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def say(self, header: Header, payload: bytes | None = None, flags: int = 0) -> None:
        self.socket.send_multipart(encode(header, payload, flags=flags))

    def hear(self, timeout_s: float = DEADLINE_S) -> Any:
        """The header of the next message."""
        assert self.socket.poll(timeout_s * 1000), "nothing was heard"
        return parse(self.socket.recv_multipart()).header

    def hear_ack(self, sequence: int) -> None:
        """Waits until everything up to this sequence is acknowledged, by however many ACKs."""
        while self.hear().s < sequence:
            pass

    def hello(self, first: int | None = None) -> Any:
        """HELLO, and its WELCOME."""
        self.say(Hello([1], self.id, 1, first))
        return self.hear()

    def send(self, sequence: int, lines: bytes, stream: str = "flows", crc: int | None = None, flags: int = 0) -> Any:
        """One batch, and its answer."""
        self.say(batch(sequence, lines, stream, crc), lines, flags)
        return self.hear()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


class Listener:
    """A bare SUB on one view."""

    def __init__(self, endpoint: str, topic: bytes = b"flows\0") -> None:
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.subscribe(topic)
        self.socket.connect(endpoint)
        self.hear()  # the heartbeat that greets a subscription: from here on nothing is lost

    def hear(self) -> Message[Any]:
        assert self.socket.poll(DEADLINE_S * 1000), "nothing was heard"
        return parse(self.socket.recv_multipart()[1:])

    def hear_live(self) -> Message[Live]:
        """The next batch, heartbeats passed over."""
        while True:
            found = self.hear()
            if isinstance(found.header, Live):
                return found

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def with_views(directory: Path, **texts: str) -> dict[str, Any]:
    """Settings with these views of flows, that are read when they are asked for."""
    for name, text in texts.items():
        (directory / name).write_text(text)
    views = {name: {"stream": "flows", "path": str(directory / name)} for name in texts}
    return {"views": views, "filters__watch": False}


def feed(config: Config, *batches: bytes) -> None:
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines)
            producer.flush()


def batch(sequence: int, lines: bytes, stream: str = "flows", crc: int | None = None) -> Data:
    """DATA's header for these lines."""
    return Data(sequence, stream, lines.count(b"\n"), checksum(lines) if crc is None else crc, 1)


def counters(config: Config) -> dict[str, int]:
    """The daemon's counters."""
    found: dict[str, int] = request(config.endpoint("admin"), "status", DEADLINE_S)["counters"]
    return found
