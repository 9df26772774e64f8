"""Clients that read nothing for a while, and whose daemon ends meanwhile: they live on, and know what they missed."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from relay_bed import KEPT, DaemonProcess

import flowd
from flowd.client import Producer
from flowd.wire.sockets import open_socket

LINES = b"x" * ((1 << 20) - 1) + b"\n"
ENOUGH = 200
"""MiB: more than both sides' queues hold."""
PATIENCE_S = 60.0
"""On a busy machine all these bytes take a while."""
LONGEST_INTERVAL_S = 2.5
"""ZeroMQ's heartbeats, where somebody sets them, come every two seconds."""
STALLS = """
import sys
import flowd
with flowd.Subscriber(sys.argv[1], timeout_s=60) as subscriber:
    subscriber.connect()
    print("connected", flush=True)
    sys.stdin.readline()
    for batch in subscriber:
        if len(batch.lines) < 1000:
            print("heard", bytes(batch.lines).decode().strip(), flush=True)
            break
"""


def read_line(process: subprocess.Popen[str]) -> str:
    """What the process says next."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE_S)[0], "nothing was said"
    return process.stdout.readline().strip()


def test_stalled_subscriber_outlives_its_daemon(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        stalled = subprocess.Popen(
            [sys.executable, "-c", STALLS, daemon.endpoint("live")],
            env={**os.environ, "PYTHONPATH": str(Path(flowd.__file__).parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert read_line(stalled) == "connected"
            with Producer(daemon.endpoint("ingest"), timeout_s=PATIENCE_S) as producer:
                for _ in range(ENOUGH):
                    producer.send(LINES)
                producer.flush()
            daemon.kill()
            with pytest.raises(subprocess.TimeoutExpired):  # it does nothing, and does not end
                stalled.wait(LONGEST_INTERVAL_S)
            daemon.start()
            assert stalled.stdin is not None
            stalled.stdin.write("go on\n")
            stalled.stdin.flush()
            with Producer(daemon.endpoint("ingest"), timeout_s=PATIENCE_S) as producer:
                while not select.select([stalled.stdout], [], [], 0.05)[0]:
                    producer.send(KEPT)
                    producer.flush()
            assert read_line(stalled) == f"heard {KEPT.decode().strip()}"
            assert stalled.wait(PATIENCE_S) == 0
        finally:
            stalled.kill()
            stalled.communicate()


@pytest.mark.parametrize("kind", [zmq.SUB, zmq.DEALER, zmq.ROUTER, zmq.XPUB, zmq.PULL])
def test_no_socket_has_zeromqs_heartbeat(kind: int) -> None:
    """It ends the process when it meets a connection that broke while the socket's queue was full."""
    with zmq.Context() as context, open_socket(context, kind) as socket:
        assert socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
