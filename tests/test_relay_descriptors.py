"""File descriptors of the daemon: its limit, the word before they run out, and connections that say nothing."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay_bed import KEPT, DaemonProcess, Peer, wait_until

from flowd.wire import Ack

RAISE = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, min(hard, 4096)))
from flowd.relay.descriptors import raise_limit
raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
MIB = 1 << 20


@contextmanager
def half_open(daemon: DaemonProcess, count: int) -> Iterator[None]:
    """So many connections that never begin to speak."""
    silent = []
    try:
        for _ in range(count):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.connect(daemon.endpoint("ingest").removeprefix("ipc://"))
            silent.append(one)
        yield
    finally:
        for one in silent:
            one.close()


def open_descriptors(daemon: DaemonProcess) -> int:
    assert daemon.process is not None
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def memory_bytes(daemon: DaemonProcess) -> int:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


def test_the_limit_is_raised_as_far_as_allowed() -> None:
    done = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    assert int(done.stdout) == min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)


def test_scarce_descriptors_are_said_and_counted_while_others_are_served(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, Peer(daemon.endpoint("ingest")) as peer:
        assert daemon.process is not None
        peer.hello()
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (200, 200))
        with half_open(daemon, 165 - open_descriptors(daemon)):
            counted = "flowd_scarce_descriptors_total"
            wait_until(lambda: daemon.status()["counters"].get(counted) == 1, "the count")
            assert isinstance(peer.send(1, KEPT), Ack)
        wait_until(lambda: open_descriptors(daemon) < 100, "the connections' end")
        assert isinstance(peer.send(2, KEPT), Ack)
        code, said = daemon.terminate()
    assert (code, "of 200 file descriptors are in use: without any left" in said) == (0, True)


def test_500_half_open_connections_are_bounded_and_closed_in_time(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        before, before_bytes = open_descriptors(daemon), memory_bytes(daemon)
        with half_open(daemon, 500), Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            assert isinstance(peer.send(1, KEPT), Ack)
            assert memory_bytes(daemon) - before_bytes < 32 * MIB
            wait_until(lambda: open_descriptors(daemon) < before + 10, "the end of the connections that say nothing")
            assert isinstance(peer.send(2, KEPT), Ack)
