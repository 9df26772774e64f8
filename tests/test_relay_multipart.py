"""A message that never ends: ZeroMQ collects it up to the process's own limit; who is behind it harms nobody else's
lines."""

from __future__ import annotations

import resource
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay_bed import DEADLINE_S, KEPT, DaemonProcess, Peer

from flowd.client import Consumer
from flowd.wire import Ack

ROOM_BYTES = 256 << 20
MORE, LONG_AND_MORE = b"\1", b"\3"
LARGE = LONG_AND_MORE + struct.pack(">Q", 1 << 20) + bytes(1 << 20)
SMALL = (MORE + b"\1x") * 100_000

GREETING = b"\xff" + bytes(8) + b"\x7f\3\1" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\5READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + struct.pack(">I", 0)
COMMAND = b"\4" + bytes([len(READY)])


def flood(path: Path, frames: bytes) -> None:
    """Speaks ZMTP by hand, since libzmq's own sender keeps a message until it is whole; ends when nobody listens."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        try:
            raw.sendall(GREETING)
            raw.recv(len(GREETING), socket.MSG_WAITALL)
            raw.sendall(COMMAND + READY)
            raw.recv(len(COMMAND + READY), socket.MSG_WAITALL)
            while True:
                raw.sendall(frames)
        except OSError:
            pass


@contextmanager
def flooded(daemon: DaemonProcess, frames: bytes) -> Iterator[threading.Thread]:
    """A stranger sends such frames to a daemon that may have only so much more memory."""
    assert daemon.process is not None
    limit, _ = resource.prlimit(daemon.process.pid, resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        limit = memory(daemon, "VmData") + ROOM_BYTES
        resource.prlimit(daemon.process.pid, resource.RLIMIT_DATA, (limit, limit))
    stranger = threading.Thread(target=flood, args=(daemon.run_dir / "ingest.sock", frames), daemon=True)
    stranger.start()
    yield stranger
    stranger.join(DEADLINE_S)
    assert not stranger.is_alive()


def memory(daemon: DaemonProcess, what: str) -> int:
    """Bytes, as Linux counts them."""
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def test_at_a_limit_of_data_only_the_connection_of_an_endless_message_ends(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        before_bytes = memory(daemon, "RssAnon")
        sequence = 0
        for _ in range(2):  # what the first one took is free again for the second
            with flooded(daemon, LARGE) as stranger:
                while stranger.is_alive():
                    sequence += 1
                    assert isinstance(peer.send(sequence, KEPT), Ack), "others are served meanwhile"
            assert ROOM_BYTES // 2 < memory(daemon, "RssAnon") - before_bytes < 2 * ROOM_BYTES
        assert isinstance(peer.send(sequence + 1, KEPT), Ack)
        assert daemon.status()["state"] == "ok"


def test_an_endless_message_of_small_frames_ends_the_daemon_and_costs_no_acknowledged_line(tmp_path: Path) -> None:
    """libzmq ends a process that has no memory for its queues."""
    with DaemonProcess(tmp_path) as daemon:
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            for sequence in range(1, 4):
                assert isinstance(peer.send(sequence, KEPT), Ack)
            with flooded(daemon, SMALL):
                assert daemon.process is not None
                assert daemon.process.wait(DEADLINE_S) != 0
        assert daemon.process.stderr is not None
        daemon.process.stderr.close()
        daemon.start()
        with Consumer(daemon.endpoint("consume"), "siem", start="oldest", timeout_s=DEADLINE_S) as consumer:
            assert [next(consumer).seq for _ in range(3)] == [1, 2, 3]
