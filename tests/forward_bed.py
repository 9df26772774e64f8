"""What the tests of the Forward sink stand on: receivers in processes, daemons with a sink, certificates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from relay_bed import DEADLINE_S, DaemonProcess, wait_until

from flowd.client import Producer

RECEIVER = Path(__file__).with_name("forward_receiver.py")
OPENSSL = (
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
)


class Receiver:
    """A Forward server; `start` returns when it listens, `kill` is kill -9, and a later `start` has the same port."""

    def __init__(self, directory: Path, name: str = "receiver", **told: Any) -> None:
        self.told: dict[str, Any] = {"listen": 0, **told, "log": str(directory / f"{name}.jsonl")}
        self.log = Path(self.told["log"])
        self.log.touch()
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        listen = self.told["listen"]
        return f"unix://{listen}" if isinstance(listen, str) else f"127.0.0.1:{listen}"

    def start(self) -> Receiver:
        command = [sys.executable, str(RECEIVER), json.dumps(self.told)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        assert said, "the receiver did not start"
        if not isinstance(self.told["listen"], str):
            self.told["listen"] = int(said)
        return self

    def kill(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, "the receiver ended by itself: its own words stand above"
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def chunks(self) -> list[dict[str, Any]]:
        """What it has acknowledged, or written at least."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def records(self) -> list[Any]:
        return [record for chunk in self.chunks() for _, record in chunk["records"]]

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.kill()


def forwarding(directory: Path, *servers: Any, **overrides: Any) -> DaemonProcess:
    """A daemon with a sink `out` for these servers; what begins with `sink__` is for its section."""
    section = {key.removeprefix("sink__"): value for key, value in overrides.items() if key.startswith("sink__")}
    others = {key: value for key, value in overrides.items() if not key.startswith("sink__")}
    addresses = [one.address if isinstance(one, Receiver) else one for one in servers]
    return DaemonProcess(directory, sinks={"out": {"type": "forward", "servers": addresses, **section}}, **others)


def feed(daemon: DaemonProcess, *batches: bytes, stream: str = "flows") -> None:
    """Sends batches, each acknowledged, so that none is joined to another."""
    with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines, stream)
            producer.flush()


def numbered(first: int, last: int) -> list[bytes]:
    """A batch of one line for each number."""
    return [b'{"n":%d}\n' % number for number in range(first, last)]


def numbers(*receivers: Receiver) -> list[int]:
    """The numbers that these have got, in order, repeated ones as often as they came."""
    return sorted(record["n"] for receiver in receivers for record in receiver.records())


def sink_status(daemon: DaemonProcess) -> dict[str, Any]:
    found: dict[str, Any] = daemon.status()["sinks"]["out"]
    return found


def counted(daemon: DaemonProcess, name: str, **labels: str) -> int:
    """A counter of the sink."""
    written = "".join(f',{key}="{value}"' for key, value in labels.items())
    found: int = daemon.status()["counters"].get(f'flowd_{name}_total{{sink="out"{written}}}', 0)
    return found


def wait_for_delivery(daemon: DaemonProcess, lines: int) -> None:
    """Until the sink has committed so many lines since the daemon's start."""
    wait_until(lambda: counted(daemon, "sink_lines") >= lines, f"{lines} lines delivered")


def make_ca(directory: Path) -> tuple[Path, Path]:
    """A CA's certificate and its key."""
    certificate, key = directory / "ca.pem", directory / "ca.key"
    run_openssl(*OPENSSL, "-subj", "/CN=ca", "-keyout", str(key), "-out", str(certificate))
    return certificate, key


def make_certificate(directory: Path, name: str, names: str, ca: tuple[Path, Path]) -> tuple[Path, Path]:
    """A certificate for these names, `DNS:…,IP:…`, signed by this CA, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    run_openssl(
        *OPENSSL, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE",
        "-CA", str(ca[0]), "-CAkey", str(ca[1]), "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    key.chmod(0o600)
    return certificate, key


def run_openssl(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def write_secret(path: Path, text: str) -> Path:
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path
