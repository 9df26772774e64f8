"""No room: a full disk, a limit, a disk that says so, a map held by a reader. Nothing acknowledged is lost, no
line is decided twice, and it goes on by itself when there is room."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lmdb
import pytest
import zmq
from faults_bed import FaultyDaemon, counters, feed, numbered, open_apart, read_all, small_disk
from relay_bed import DEADLINE_S, Peer, batch, wait_until

from flowd.client import Consumer, Producer, request
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO
from flowd.wire import Ack, Nak

BATCH_LINES = 200
FULL = "flowd_journal_full_total"
RETIRED = "flowd_retired_batches_total"
RAW_FRAMES = "flowd_raw_frames_total"
NO_CURSOR = 'flowd_refused_attachments_total{reason="no_space"}'
REFUSED = 'flowd_refused_batches_total{reason="no_space"}'


def make_batch(sequence: int) -> bytes:
    return numbered(sequence * BATCH_LINES, (sequence + 1) * BATCH_LINES)


def send_until_refused(peer: Peer, first: int = 0) -> int:
    """Sends batches, each when the one before is acknowledged; returns the sequence of the one that is refused."""
    for sequence in range(first + 1, first + 500):
        answer = peer.send(sequence, make_batch(sequence))
        if isinstance(answer, Nak):
            assert answer == Nak(sequence, "no_space", None, 1000)
            return sequence
        assert isinstance(answer, Ack)
    raise AssertionError("there is always room")


def expect_degraded(daemon: FaultyDaemon, reason: str) -> None:
    health = request(daemon.endpoint("admin"), "health", DEADLINE_S)
    assert health.pop("turned_ago_s") >= 0
    assert health == {"state": "degraded", "reasons": [f"journal: no room to store anything: {reason}"]}
    status = daemon.status()
    assert (status["state"], status["journal"]["is_full"]) == ("degraded", True)


def wait_for_room(daemon: FaultyDaemon) -> None:
    wait_until(lambda: daemon.status()["state"] == "ok", "the recovery")


def refuse_and_recover(daemon: FaultyDaemon, reason: str, make_room: Callable[[], Any]) -> None:
    """A producer of one word at a time and one that waits for its acknowledgements meet a journal without room; then
    room is made."""
    ingest = daemon.endpoint("ingest")
    with (
        Peer(ingest) as peer,
        Producer(ingest, timeout_s=DEADLINE_S) as producer,
        Consumer(daemon.endpoint("consume"), timeout_s=DEADLINE_S) as consumer,
    ):
        consumer.connect()
        peer.hello()
        refused = send_until_refused(peer)
        expect_degraded(daemon, reason)
        before = counters(daemon, FULL, REFUSED)
        assert before == {FULL: 1, REFUSED: 1}
        decided = daemon.status()["streams"]["flows"]["lines"]
        assert decided in (refused * BATCH_LINES, (refused - 1) * BATCH_LINES)
        for _ in range(3):  # sent again, it is refused again, and not decided again
            assert peer.send(refused, make_batch(refused)).code == "no_space"
        assert peer.send(refused + 1, make_batch(refused + 1)).want == refused
        assert peer.hello().last == refused - 1
        assert counters(daemon, FULL, REFUSED) == {FULL: 1, REFUSED: 4}

        def produce() -> None:
            producer.send(numbered(500_000, 505_000))
            producer.flush()

        sending = threading.Thread(target=produce)
        sending.start()
        wait_until(lambda: counters(daemon, REFUSED)[REFUSED] > 4, "the producer's refusal")
        assert daemon.status()["streams"]["flows"]["lines"] == decided
        got = b"".join(next(consumer).lines for _ in range(refused - 1))
        with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as durable:  # a cursor still has room
            assert next(durable).lines == make_batch(1)
            durable.commit()
        assert daemon.status()["journal"]["is_full"]
        make_room()
        wait_for_room(daemon)
        assert isinstance(peer.send(refused, make_batch(refused)), Ack)
        assert isinstance(peer.send(refused + 1, make_batch(refused + 1)), Ack)
        sending.join(DEADLINE_S)
        total = (refused + 1) * BATCH_LINES + 5_000
        flows = daemon.status()["streams"]["flows"]
        assert (flows["lines"], flows["kept_lines"]) == (total, total)
        while got.count(b"\n") < total:
            got += next(consumer).lines
        expected = [make_batch(n) for n in range(1, refused + 2)]
        assert sorted(got.splitlines()) == sorted((b"".join(expected) + numbered(500_000, 505_000)).splitlines())
        assert got.startswith(b"".join(expected[: refused - 1]))
        assert (consumer.missed_lines, consumer.poll(0)) == (0, None)
        assert counters(daemon, FULL) == {FULL: 1}


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 32 << 20) as disk,
        FaultyDaemon(tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path) as daemon,
    ):
        filler = disk.fill(left_bytes=5 << 20)
        refuse_and_recover(daemon, "No space left on device", filler.unlink)
        assert daemon.terminate()[0] == EXIT_DONE


def test_a_disk_that_was_full_at_the_start_is_started_on(tmp_path: Path) -> None:
    """What is stored can be read, and what comes is refused until there is room."""
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        daemon = FaultyDaemon(tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path, journal__sync="interval")
        with daemon:
            feed(daemon, make_batch(0))
            assert daemon.terminate()[0] == EXIT_DONE
        filler = disk.fill(left_bytes=0)
        with daemon:
            assert [one.lines for one in read_all(daemon)] == [make_batch(0)]
            with Peer(daemon.endpoint("ingest")) as peer:
                peer.hello()
                refused = send_until_refused(peer)
                filler.unlink()
                wait_for_room(daemon)
                assert isinstance(peer.send(refused, make_batch(refused)), Ack)
                assert len(read_all(daemon)) == 1 + refused
                disk.fill(left_bytes=0)
                send_until_refused(peer, first=refused)
            assert daemon.terminate()[0] == EXIT_DONE


def test_a_journal_cannot_be_made_on_a_full_disk(tmp_path: Path) -> None:
    """LMDB writes its table of readers through a map: where that has no room, the process would just end."""
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        disk.fill(left_bytes=0)
        done = open_apart(disk.path, *disk.prefix)
        (disk.seen / "filler").unlink()
        again = open_apart(disk.path, *disk.prefix)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (
        EXIT_NO,
        [
            f"{EXIT_IO} {disk.path}/journal: No space left on device"
            " | make room on the disk, or give another --state-dir"
        ],
    )
    assert (again.returncode, again.stderr) == (EXIT_DONE, "")


def test_a_limit_on_the_files_size_refuses_and_recovers(tmp_path: Path) -> None:
    """The system cuts the last write short: LMDB says that the disk is broken, which it is not."""
    with FaultyDaemon(tmp_path) as daemon:
        assert daemon.process is not None
        _, most = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, ((4 << 20) + 100, most))
        limit = daemon.process.pid, resource.RLIMIT_FSIZE, (most, most)
        refuse_and_recover(daemon, "File too large", lambda: resource.prlimit(*limit))


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_disk_that_says_it_has_no_room_refuses_and_recovers(tmp_path: Path, call: str) -> None:
    with FaultyDaemon(tmp_path) as daemon:
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            assert isinstance(peer.send(1, make_batch(1)), Ack)
            daemon.order(f"fail {call} {errno.ENOSPC}")
            assert send_until_refused(peer, first=1) == 2
            expect_degraded(daemon, "No space left on device")
            consumer = Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S)
            with consumer, ThreadPoolExecutor() as pool:
                attaching = pool.submit(consumer.connect)
                wait_until(lambda: counters(daemon, NO_CURSOR)[NO_CURSOR] > 1, "refusals of a consumer that has a name")
                daemon.order("")
                attaching.result(DEADLINE_S)
            wait_for_room(daemon)
            assert isinstance(peer.send(2, make_batch(2)), Ack)
        assert [one.lines for one in read_all(daemon)] == [make_batch(1), make_batch(2)]
        assert counters(daemon, FULL, REFUSED) == {FULL: 1, REFUSED: 1}
        assert daemon.status()["streams"]["flows"]["lines"] == 2 * BATCH_LINES


def test_a_disk_without_room_for_a_commits_last_page_ends_the_daemon(tmp_path: Path) -> None:
    """LMDB goes on with nothing after that; the next daemon does."""
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        daemon.order(f"fail meta {errno.ENOSPC}")
        peer.say(batch(1, make_batch(1)), make_batch(1))
        code, said = daemon.end()
        assert (code, "cannot be written: mdb_txn_commit: No space left on device; the daemon ends" in said) == (
            EXIT_IO,
            True,
        )
        daemon.order("")
        daemon.start()
        peer.hello()
        assert isinstance(peer.send(1, make_batch(1)), Ack)
        assert [one.lines for one in read_all(daemon)] == [make_batch(1)]


def test_a_map_held_by_a_reader_refuses_and_recovers(tmp_path: Path) -> None:
    """Somebody reads an old state of the file for long: deleting makes no room, and nothing is deleted in vain."""
    max_bytes = 2 << 20
    with FaultyDaemon(tmp_path, journal__max_bytes=max_bytes, journal__sync="off") as daemon:
        feed(daemon, make_batch(0))
        with lmdb.open(str(daemon.data.parent), readonly=True, max_dbs=8) as environment:
            held = environment.begin()
            with Peer(daemon.endpoint("ingest")) as peer:
                peer.hello()
                refused = send_until_refused(peer)
                assert refused * len(make_batch(1)) > 16 * max_bytes
                expect_degraded(daemon, f"process {os.getpid()} reads an old state of the journal and keeps it")
                status = daemon.status()
                assert status["journal"]["used_bytes"] > max_bytes - 2 * len(make_batch(1))
                stays = status["streams"]["flows"]["oldest"]
                assert [one.lines for one in read_all(daemon)] == [make_batch(n - 1) for n in range(stays, refused + 1)]
                assert peer.send(refused, make_batch(refused)).code == "no_space"
                held.abort()
                wait_for_room(daemon)
                for sequence in range(refused, refused + 50):
                    assert isinstance(peer.send(sequence, make_batch(sequence)), Ack)
                assert counters(daemon, FULL, REFUSED) == {FULL: 1, REFUSED: 2}
                assert daemon.status()["streams"]["flows"]["lines"] == (refused + 50) * BATCH_LINES


def test_on_a_full_disk_age_makes_room_though_nobody_asks_for_anything(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 24 << 20) as disk,
        FaultyDaemon(tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path, journal__max_age=2) as daemon,
        Peer(daemon.endpoint("ingest")) as peer,
    ):
        disk.fill(left_bytes=4 << 20)
        peer.hello()
        refused = send_until_refused(peer)
        wait_for_room(daemon)
        assert isinstance(peer.send(refused, make_batch(refused)), Ack)
        assert counters(daemon, RETIRED)[RETIRED] > 0


def test_on_a_full_disk_a_trim_makes_room_by_itself(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", 24 << 20) as disk,
        FaultyDaemon(tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path) as daemon,
        Peer(daemon.endpoint("ingest")) as peer,
    ):
        disk.fill(left_bytes=4 << 20)
        peer.hello()
        refused = send_until_refused(peer)
        admin = daemon.endpoint("admin")
        assert request(admin, "journal", DEADLINE_S, do="trim", bytes=0)["retired_batches"] == refused - 1
        wait_for_room(daemon)
        assert isinstance(peer.send(refused, make_batch(refused)), Ack)


def test_raw_senders_wait_while_the_disk_is_full_and_each_line_is_stored_once(tmp_path: Path) -> None:
    raw = f"ipc://{tmp_path / 'raw.sock'}"
    bound = {"sources__raw__bind": [raw], "sources__raw__stream": "flows"}
    frames = [make_batch(n) for n in range(350)]  # 70 MB: more than all queues hold
    with (
        small_disk(tmp_path / "disk", 112 << 20) as disk,
        FaultyDaemon(tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path, **bound) as daemon,
        zmq.Context.instance().socket(zmq.PUSH) as sender,
    ):
        filler = disk.fill(left_bytes=5 << 20)
        sender.sndhwm, sender.sndtimeo = 4, int(DEADLINE_S * 1000)
        sender.connect(raw)
        sending = threading.Thread(target=lambda: [sender.send(frame) for frame in frames])
        sending.start()
        wait_until(lambda: daemon.status()["journal"]["is_full"], "the disk to be full")
        expect_degraded(daemon, "No space left on device")
        assert sending.is_alive()
        filler.unlink()
        wait_for_room(daemon)
        sending.join(DEADLINE_S)
        wait_until(lambda: counters(daemon, RAW_FRAMES) == {RAW_FRAMES: len(frames)}, "all frames")
        assert daemon.terminate()[0] == EXIT_DONE
        with daemon:
            assert b"".join(bytes(one.lines) for one in read_all(daemon)) == b"".join(frames)
