"""A daemon that follows log files: what is written comes once, filtered, over kills, rotations and full disks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pytest
from faults_bed import FaultyDaemon, counters, small_disk
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, running, wait_until
from tail_bed import LogFile, numbered

from flowd.client import Consumer, Subscriber, request
from flowd.errors import EXIT_DONE
from flowd.wire.limits import LINE_MAX_BYTES

BACKLOG_BYTES = 64 << 20


def following(folder: Path, **globs: str) -> dict[str, object]:
    """The settings that follow these files of the folder."""
    return {"sources__tail": {stream: [str(folder / glob)] for stream, glob in globs.items()}}


def read_lines(daemon: DaemonProcess, stream: str = "flows") -> bytes:
    """All that is stored of a stream."""
    endpoint = daemon.endpoint("consume")
    with Consumer(endpoint, stream=stream, start="oldest", until="newest", timeout_s=DEADLINE_S) as consumer:
        return b"".join(batch.lines for batch in consumer)


def stored_batches(daemon: DaemonProcess) -> int:
    """How many batches of flows there are by now."""
    streams = daemon.status()["streams"]
    return streams["flows"]["next"] - 1 if "flows" in streams else 0


def wait_for_end(daemon: DaemonProcess, *logs: LogFile) -> None:
    """Waits until all that was written is stored. What the daemon knows of a file is as old as its last look."""

    def is_read() -> bool:
        tail = daemon.status()["tail"]
        offsets = {one["path"]: one["offset"] for one in tail["files"]}
        return not tail["lag_bytes"] and all(offsets.get(str(log.path)) == log.path.stat().st_size for log in logs)

    wait_until(is_read, "the files to be read")


def test_followed_lines_are_filtered_published_and_stored(tmp_path: Path) -> None:
    flows, dns = LogFile(tmp_path / "flows.log"), LogFile(tmp_path / "dns-a.log")
    with (
        DaemonProcess(tmp_path, **following(tmp_path, flows="flows.log", dns="dns-*.log")) as daemon,
        Subscriber(daemon.endpoint("live"), timeout_s=DEADLINE_S) as subscriber,
    ):
        subscriber.connect()
        flows.write(KEPT + DROPPED + KEPT[:-1])
        dns.write(KEPT)
        assert next(subscriber).lines == KEPT
        flows.write(b"\n" + DROPPED)
        assert next(subscriber).lines == KEPT
        wait_for_end(daemon, flows, dns)
        assert (read_lines(daemon), read_lines(daemon, "dns")) == (KEPT * 2, KEPT)
        status = daemon.status()
        assert [(name, one["lines"], one["kept_lines"]) for name, one in sorted(status["streams"].items())] == [
            ("dns", 1, 1),
            ("flows", 4, 2),
        ]
        assert [(one["stream"], one["path"], one["offset"]) for one in status["tail"]["files"]] == [
            ("dns", str(dns.path), len(KEPT)),
            ("flows", str(flows.path), 2 * len(KEPT) + 2 * len(DROPPED)),
        ]
        assert status["state"] == "ok"


def test_rotations_while_the_daemon_was_killed_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    daemon = DaemonProcess(tmp_path, **following(tmp_path, flows="flows.log"))
    written = 0

    def write(lines: int) -> None:
        nonlocal written
        log.write(numbered(written + 1, written + lines))
        written += lines

    for rotate in (log.rotate, log.copytruncate):
        with daemon:
            before = stored_batches(daemon)
            write(1000)
            # What is decided and not stored leaves no trace of its file, of which the next daemon then knows nothing.
            wait_until(lambda before=before: stored_batches(daemon) > before, "the first lines")  # type: ignore[misc]
            write(5000)
            daemon.kill()
            write(300)
            rotate()
            write(300)
            rotate()
            write(300)
    with daemon:
        # Until its first look the daemon knows the file as it was before: of the same size, it may be.
        wait_until(lambda: read_lines(daemon).endswith(numbered(written, written)), "the last line")
        wait_for_end(daemon, log)
        assert read_lines(daemon) == numbered(1, written)
        for rotate, kind in ((log.rotate, "renamed"), (log.copytruncate, "truncated")):
            rotations = f'flowd_tail_rotations_total{{kind="{kind}"}}'
            before = counters(daemon, rotations)[rotations]
            rotate()
            write(10)
            wait_until(lambda: read_lines(daemon) == numbered(1, written), "the lines")
            # The lines come before the look that is counted, it may be.
            wait_until(lambda: counters(daemon, rotations)[rotations] == before + 1, "the rotation's count")  # noqa: B023
        assert daemon.terminate()[0] == EXIT_DONE


def test_a_line_that_is_too_long_is_skipped_and_told(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    longest = b"x" * LINE_MAX_BYTES + b"\n"
    with DaemonProcess(tmp_path, **following(tmp_path, flows="flows.log")) as daemon:
        log.write(KEPT + b"x" + longest + longest + b"\n\0\r\n\xff\n")
        wait_for_end(daemon, log)
        assert read_lines(daemon) == KEPT + longest + b"\n\0\r\n\xff\n"
        skipped = 'flowd_tail_skipped_lines_total{reason="too_long"}'
        assert counters(daemon, skipped) == {skipped: 1}
        _, said = daemon.terminate()
        assert f"{log.path}" in said
        assert f"{len(KEPT)}" in said


def test_a_daemon_that_is_told_to_end_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    """In the middle of a burst: what it has not taken is no loss, since it is in the file."""
    log = LogFile(tmp_path / "flows.log")
    line = b"%08d " + b"x" * 990 + b"\n"
    count = BACKLOG_BYTES // 1000
    log.write(b"".join(line % n for n in range(count)))
    daemon = DaemonProcess(tmp_path, **following(tmp_path, flows="flows.log"))
    for begun in range(1, 4):
        with daemon:
            wait_until(lambda begun=begun: stored_batches(daemon) > begun, "some lines")
            assert daemon.terminate()[0] == EXIT_DONE
    with daemon:
        wait_for_end(daemon, log)
        assert [int(found[:8]) for found in read_lines(daemon).splitlines()] == list(range(count))


def test_while_the_journal_has_no_room_lines_wait_in_their_files(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    with (
        small_disk(tmp_path / "disk", 24 << 20) as disk,
        FaultyDaemon(
            tmp_path,
            prefix=disk.prefix,
            runtime__state_dir=disk.path,
            **following(tmp_path, flows="flows.log"),
        ) as daemon,
    ):
        filler = disk.fill(left_bytes=4 << 20)
        lines = numbered(1, 400_000)
        log.write(lines)
        wait_until(lambda: daemon.status()["state"] == "degraded", "the disk to be full")
        assert daemon.status()["tail"]["lag_bytes"] > 0
        filler.unlink()
        wait_for_end(daemon, log)
        assert read_lines(daemon) == lines
        assert daemon.status()["streams"]["flows"]["lines"] == lines.count(b"\n")  # each was decided once
        assert counters(daemon, "flowd_journal_full_total") == {"flowd_journal_full_total": 1}


def test_a_source_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, **following(tmp_path, flows="flows.log")) as (daemon, config):
        assert request(config.endpoint("admin"), "health")["state"] == "ok"
        assert daemon._tail is not None
        monkeypatch.setattr(daemon._tail._tail, "turn", None)
        LogFile(tmp_path / "flows.log").write(KEPT)
        wait_until(lambda: request(config.endpoint("admin"), "health")["state"] == "degraded", "the failure")
        assert request(config.endpoint("admin"), "health")["reasons"] == [
            "tail: no file is followed any more, see the log; restart the daemon"
        ]
