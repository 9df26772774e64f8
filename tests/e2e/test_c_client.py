"""The consumer in C of examples/c: compiled, and run against a real daemon. Nothing of flowd is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, wait_until

from flowd.client import Producer, request

SOURCE = Path(__file__).resolve().parent.parent.parent / "examples" / "c" / "consumer.c"


@pytest.fixture(scope="module")
def consumer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("c") / "consumer"
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
    subprocess.run(["cc", *warnings, "-o", str(program), str(SOURCE), "-lzmq", "-lmsgpackc"], check=True)
    return program


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program, *arguments], capture_output=True, timeout=DEADLINE_S, check=False)


def find_cursor(daemon: DaemonProcess) -> dict[str, Any]:
    """What the daemon knows of the one consumer."""
    (found,) = request(daemon.endpoint("admin"), "consumers")["consumers"]
    return dict(found)


def test_consumer_in_c_reads_commits_and_goes_on(consumer: Path, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
            for n in range(1, 6):
                producer.send(KEPT * n + DROPPED)
                producer.flush()
        endpoint = daemon.endpoint("consume")
        first = run(consumer, endpoint, "siem", "flows", "2")
        assert (first.returncode, first.stderr) == (0, b"")
        assert first.stdout.startswith(KEPT * 3)
        done = next(n for n in range(2, 6) if first.stdout == KEPT * (n * (n + 1) // 2))
        # Its last commit may still be on its way when it has ended.
        wait_until(lambda: find_cursor(daemon)["next"] == done + 1, "the last commit")
        rest = run(consumer, endpoint, "siem", "flows", str(5 - done)) if done < 5 else None
        assert rest is None or (rest.returncode, rest.stdout[-5 * len(KEPT) :]) == (0, KEPT * 5)
        wait_until(lambda: find_cursor(daemon)["next"] == 6, "the other one's last commit")
        assert find_cursor(daemon)["lag_lines"] == 0


def test_consumer_in_c_is_told_what_is_gone(consumer: Path, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
            producer.send(KEPT)
            producer.flush()
            assert run(consumer, daemon.endpoint("consume"), "siem", "flows", "1").stdout == KEPT
            for _ in range(3):
                producer.send(KEPT * 7)
                producer.flush()
        request(daemon.endpoint("admin"), "journal", do="trim", bytes=0)
        with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
            producer.send(KEPT * 2)
            producer.flush()
        found = run(consumer, daemon.endpoint("consume"), "siem", "flows", "1")
        assert (found.returncode, found.stdout, found.stderr) == (0, KEPT * 2, b"lost 21 lines\n")


def test_consumer_in_c_ends_where_it_is_refused(consumer: Path, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        refused = run(consumer, daemon.endpoint("consume"), "siem", "no stream", "1")
        assert (refused.returncode, refused.stderr) == (1, b"the daemon ended the conversation\n")
