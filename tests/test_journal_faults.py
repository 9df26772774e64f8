"""Errors of the disk, kills at chosen moments, a flipped byte, a journal that is gone: what a daemon makes of them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from faults_bed import FaultyDaemon, counters, feed, numbered, read_all
from relay_bed import DEADLINE_S, Peer, batch, wait_until

from flowd.client import Consumer, Subscriber
from flowd.errors import EXIT_DONE, EXIT_IO
from flowd.relay.journal.known import Known, write_known
from flowd.wire import Ack, Hello, Welcome

LINES = [numbered(100 * n, 100 * (n + 1)) for n in range(10)]
DUPLICATES = "flowd_duplicate_batches_total"
PAGE = 4096


def make_journal(daemon: FaultyDaemon, batches: int = 10) -> None:
    """A journal with so many batches, of a daemon that has ended in order."""
    with daemon:
        feed(daemon, *LINES[:batches])
        assert daemon.terminate()[0] == EXIT_DONE


def stored_lines(daemon: FaultyDaemon) -> list[bytes]:
    return [batch.lines for batch in read_all(daemon)]


@pytest.mark.parametrize("call", ["write", "sync", "meta"])
def test_an_error_of_the_disk_ends_the_daemon_and_the_next_goes_on(tmp_path: Path, call: str) -> None:
    """What a failed sync has left behind, nobody knows: it is never tried again."""
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        epoch = peer.hello().epoch
        for sequence in (1, 2):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        before = len(daemon.calls())
        daemon.order(f"fail {call} {errno.EIO}")
        peer.say(batch(3, LINES[3]), LINES[3])
        code, said = daemon.end()
        calls = daemon.calls()[before:]
        daemon.order("")
        error = "mdb_txn_commit: Input/output error"
        last_words = f"flowd: CRITICAL: the journal in {daemon.data.parent} cannot be written: {error}; the daemon ends"
        assert (code, said.splitlines()[-1]) == (EXIT_IO, last_words)
        assert calls.count(f"{call} fail {errno.EIO}") == (2 if call == "meta" else 1)  # LMDB takes a meta page back
        assert not peer.socket.poll(0)
        daemon.start()
        welcome = peer.hello()
        assert (welcome.epoch, welcome.last) == (epoch, 2)
        assert stored_lines(daemon) == LINES[1:3]
        assert isinstance(peer.send(3, LINES[3]), Ack)
        assert stored_lines(daemon) == LINES[1:4]
        assert daemon.status()["state"] == "ok"


def test_a_write_cut_short_though_there_is_room_ends_the_daemon(tmp_path: Path) -> None:
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        assert isinstance(peer.send(1, LINES[1]), Ack)
        daemon.order("short write")
        peer.say(batch(2, LINES[2]), LINES[2])
        code, said = daemon.end()
        assert (code, "Input/output error; the daemon ends" in said) == (EXIT_IO, True)
        daemon.order("")
        daemon.start()
        assert peer.hello().last == 1
        assert stored_lines(daemon) == [LINES[1]]


def test_an_error_while_syncing_by_interval_ends_the_daemon(tmp_path: Path) -> None:
    daemon = FaultyDaemon(tmp_path, journal__sync="interval", journal__interval_ms=10)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        daemon.order(f"fail sync {errno.EIO}")
        assert isinstance(peer.send(1, LINES[1]), Ack)
        code, said = daemon.end()
        assert (code, "Input/output error; the daemon ends" in said) == (EXIT_IO, True)
        assert daemon.calls().count(f"sync fail {errno.EIO}") == 1
        daemon.order("")
    with daemon:
        assert stored_lines(daemon) == [LINES[1]]


@pytest.mark.parametrize("call", ["write", "sync", "meta"])
def test_a_kill_before_the_commit_loses_nothing_acknowledged(tmp_path: Path, call: str) -> None:
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        epoch = peer.hello().epoch
        assert isinstance(peer.send(1, LINES[1]), Ack)
        daemon.order(f"hold {call}")
        peer.say(batch(2, LINES[2]), LINES[2])
        daemon.wait_for_call(f"{call} hold 0")
        daemon.kill()
        assert not peer.socket.poll(0)
        daemon.order("")
        daemon.start()
        welcome = peer.hello()
        assert (welcome.epoch, welcome.last) == (epoch, 1)
        assert peer.send(2, LINES[2]).s == 2
        assert stored_lines(daemon) == LINES[1:3]
        assert counters(daemon, DUPLICATES) == {DUPLICATES: 0}


@pytest.mark.parametrize("first", [None, 2])
def test_hello_said_again_while_batches_are_being_stored_stores_none_twice(tmp_path: Path, first: int | None) -> None:
    with FaultyDaemon(tmp_path) as daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        assert isinstance(peer.send(1, LINES[1]), Ack)
        daemon.order("hold sync")
        for sequence in (2, 3):
            peer.say(batch(sequence, LINES[sequence]), LINES[sequence])
        daemon.wait_for_call("sync hold 0")
        wait_until(lambda: daemon.status()["streams"]["flows"]["lines"] == 300, "all to be decided")
        peer.say(Hello([1], peer.id, 1, first))
        for sequence in (2, 3):
            peer.say(batch(sequence, LINES[sequence]), LINES[sequence])
        daemon.order("")
        heard = [peer.hear()]
        while not isinstance(heard[-1], Ack) or heard[-1].s < 3:
            heard.append(peer.hear())
        assert isinstance(peer.send(4, LINES[4]), Ack)
        assert stored_lines(daemon) == LINES[1:5]
        assert [one for one in heard if not isinstance(one, Ack | Welcome)] == []
        assert daemon.status()["streams"]["flows"]["lines"] == 400  # and each was decided once


def test_a_kill_between_the_commit_and_its_acknowledgement_stores_nothing_twice(tmp_path: Path) -> None:
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        epoch = peer.hello().epoch
        assert isinstance(peer.send(1, LINES[1]), Ack)
        daemon.order("after meta")
        peer.say(batch(2, LINES[2]), LINES[2])
        daemon.wait_for_call("meta after 0")
        daemon.kill()
        assert not peer.socket.poll(0)
        daemon.order("")
        daemon.start()
        welcome = peer.hello()
        assert (welcome.epoch, welcome.last) == (epoch, 2)
        assert peer.send(2, LINES[2]).s == 2  # who did not hear of it sends it again
        assert peer.send(3, LINES[3]).s == 3
        assert stored_lines(daemon) == LINES[1:4]
        assert counters(daemon, DUPLICATES) == {DUPLICATES: 1}
        assert daemon.status()["streams"]["flows"]["lines"] == 100


def test_a_flipped_byte_costs_one_batch(tmp_path: Path) -> None:
    """That one is told with its lines, the others are delivered."""
    daemon = FaultyDaemon(tmp_path)
    make_journal(daemon)
    content = daemon.data.read_bytes()
    place = content.index(b'{"n":312,')
    with daemon.data.open("r+b") as file:
        file.seek(place + 500)
        file.write(b"y")
    with daemon:
        with Consumer(daemon.endpoint("consume"), "siem", until="newest", timeout_s=DEADLINE_S) as consumer:
            got = list(consumer)
            consumer.commit()
        assert [batch.lines for batch in got] == LINES[:3] + LINES[4:]
        assert [(batch.seq, batch.missed, batch.gap) for batch in got] == [
            *((n, 0, None) for n in (1, 2, 3)),
            (5, 100, "corrupt"),
            *((n, 0, None) for n in range(6, 11)),
        ]
        assert (consumer.missed_lines, consumer.missed_batches) == (100, 1)
        gone = 'flowd_gone_lines_total{reason="corrupt"}'
        assert counters(daemon, "flowd_corrupt_batches_total", gone) == {"flowd_corrupt_batches_total": 1, gone: 100}
        assert daemon.status()["state"] == "ok"


def test_a_flipped_byte_in_a_mark_or_a_cursor_costs_nothing(tmp_path: Path) -> None:
    """Who had it is taken for a newcomer: what it has comes a second time rather than never."""
    daemon = FaultyDaemon(tmp_path)
    with daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        for sequence in (1, 2, 3):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
            assert next(consumer).lines == LINES[1]
            consumer.commit()
        assert daemon.terminate()[0] == EXIT_DONE
        with lmdb.open(str(daemon.data.parent), max_dbs=8) as environment:
            for name in (b"producers", b"cursors"):
                database = environment.open_db(name)
                with environment.begin(write=True) as transaction, transaction.cursor(database) as cursor:
                    assert cursor.first()
                    key, value = cursor.item()
                    assert transaction.put(key, b"?" + value[1:], db=database)
        daemon.start()
        assert peer.hello(first=3).last == 2
        assert peer.send(3, LINES[3]).s == 3
        with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
            assert [next(consumer).lines for _ in range(4)] == [LINES[1], LINES[2], LINES[3], LINES[3]]
        assert counters(daemon, "flowd_corrupt_marks_total") == {"flowd_corrupt_marks_total": 1}
        assert daemon.status()["state"] == "ok"


def delete(daemon: FaultyDaemon) -> None:
    shutil.rmtree(daemon.data.parent)


def truncate(daemon: FaultyDaemon) -> None:
    os.truncate(daemon.data, daemon.data.stat().st_size // 2 // PAGE * PAGE)


def scribble(daemon: FaultyDaemon) -> None:
    with daemon.data.open("r+b") as file:
        file.write(b"garbage!" * PAGE)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(delete, "missing"), (truncate, "truncated"), (scribble, "damaged")],
    ids=["missing", "truncated", "damaged"],
)
def test_a_journal_that_is_lost_is_told_and_ingest_goes_on(
    tmp_path: Path, harm: Callable[[FaultyDaemon], None], reason: str
) -> None:
    """To the consumer that lives through it and to the one that comes later, each with what it had not read."""
    daemon = FaultyDaemon(tmp_path)
    with (
        daemon,
        Peer(daemon.endpoint("ingest")) as peer,
        Consumer(daemon.endpoint("consume"), "alive", timeout_s=DEADLINE_S) as alive,
    ):
        old_epoch = peer.hello().epoch
        for sequence in range(1, 9):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        with Consumer(daemon.endpoint("consume"), "later", timeout_s=DEADLINE_S) as later:
            for _ in range(3):
                next(later)
            later.commit()
        got = [next(alive) for _ in range(8)]
        assert daemon.terminate()[0] == EXIT_DONE
        harm(daemon)
        daemon.start()
        welcome = peer.hello(first=9)
        assert (welcome.epoch != old_epoch, welcome.last) == (True, 8)
        assert isinstance(peer.send(9, LINES[9]), Ack)
        told = next(alive)
        assert [batch.lines for batch in got] == LINES[1:9]
        assert (told.lines, told.seq, told.missed, told.gap) == (LINES[9], 1, 0, "epoch")
        with Consumer(daemon.endpoint("consume"), "later", timeout_s=DEADLINE_S) as later:
            told = next(later)
            assert (told.lines, told.seq, told.missed, told.gap) == (LINES[9], 1, 500, "epoch")
            later.commit()
        with Consumer(daemon.endpoint("consume"), "later", timeout_s=0.2) as later:
            assert list(later) == []
            assert later.missed_lines == 0
        lost = f'flowd_lost_journals_total{{reason="{reason}"}}'
        assert counters(daemon, lost) == {lost: 1}
        assert (daemon.data.parent / "damaged.mdb").exists() == (reason != "missing")
        assert daemon.status()["state"] == "ok"


def test_what_a_loss_of_power_took_is_told_and_nobody_mistakes_what_follows_for_it(tmp_path: Path) -> None:
    """Without syncing the last batches are lost with the power. In a new epoch others have their sequences; those who
    had all before go on there, and miss nothing that is not lost."""
    daemon = FaultyDaemon(tmp_path, journal__sync="off")
    with (
        daemon,
        Peer(daemon.endpoint("ingest")) as peer,
        Consumer(daemon.endpoint("consume"), "alive", timeout_s=DEADLINE_S) as alive,
        Subscriber(
            daemon.endpoint("live"), consume=daemon.endpoint("consume"), timeout_s=DEADLINE_S
        ) as subscriber,  # which fetches what it misses while it connects again
    ):
        subscriber.connect()
        epoch = peer.hello().epoch
        for sequence in range(1, 5):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        daemon.kill()
        written = daemon.data.read_bytes()
        daemon.start()
        peer.hello()
        for sequence in (5, 6):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        assert [next(alive).lines for _ in range(6)] == [next(subscriber).lines for _ in range(6)] == LINES[1:7]
        daemon.kill()
        daemon.data.write_bytes(written)
        known = Known(epoch.hex(), "another", is_safe=False, streams={"flows": (7, 600)})
        write_known(daemon.state_dir, known)
        daemon.start()
        welcome = peer.hello(first=7)
        assert (welcome.epoch != epoch, welcome.last) == (True, 6)
        for sequence in (7, 8):
            assert isinstance(peer.send(sequence, LINES[sequence]), Ack)
        got, heard = [[next(one), next(one)] for one in (alive, subscriber)]
        assert [(one.epoch, one.seq, one.lines, one.missed) for one in got] == [
            (welcome.epoch, 5, LINES[7], 0),
            (welcome.epoch, 6, LINES[8], 0),
        ]
        assert [(one.epoch, one.seq, one.lines) for one in heard] == [(one.epoch, one.seq, one.lines) for one in got]
        assert (subscriber.missed_lines, alive.missed_lines) == (0, 0)
        missing = "flowd_missing_batches_total", "flowd_missing_lines_total"
        assert counters(daemon, *missing) == dict(zip(missing, (2, 200), strict=True))
        with Consumer(daemon.endpoint("consume"), start=(epoch, 3), until=(epoch, 4), timeout_s=DEADLINE_S) as replay:
            assert [one.lines for one in replay] == LINES[3:5]
        assert daemon.status()["state"] == "ok"
