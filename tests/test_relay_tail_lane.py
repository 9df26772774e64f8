"""flowd.relay.tail with its threads, a journal and processes that are killed: lines and places are stored together."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay_bed import DROP_DEV, DROPPED, KEPT, wait_until
from tail_bed import LogFile, Rig, lines_of, numbered, spawn_rig, stored_lines

from flowd.errors import FlowdError
from flowd.relay.config import Journal
from flowd.relay.deciding.streams import Stream
from flowd.relay.journal.opening import open_journal
from flowd.relay.journal.transaction import Transaction
from flowd.relay.tail.notice import Notice

KILLS = 12
BURST_BYTES = 50_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    file = LogFile(tmp_path / "flows.log")
    yield file
    file.close()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir()
    return path


def start(state_dir: Path, log: LogFile, **settings: object) -> Rig:
    return Rig(state_dir, {"flows": [str(log.path)]}, **settings).start()  # type: ignore[arg-type]


def test_lines_are_filtered_stored_and_not_read_again_by_the_next_daemon(state_dir: Path, log: LogFile) -> None:
    filters = state_dir / "flow"
    filters.write_text(DROP_DEV)
    log.write(KEPT + DROPPED + KEPT)
    for turn in range(1, 5):
        rig = start(state_dir, log, filters=filters)
        wait_until(lambda rig=rig, turn=turn: len(rig.lines()) == 2 * turn, "the lines")
        before = rig.source_counters.get("flowd_tail_bytes_total")
        assert before == 2 * len(KEPT) + len(DROPPED) * (turn == 1)
        log.write(DROPPED)
        wait_until(
            lambda rig=rig, before=before: rig.source_counters.get("flowd_tail_bytes_total") > before,
            "the dropped line",
        )
        wait_until(lambda rig=rig: not rig.lag_bytes(), "its place")
        rig.end()
        log.write(KEPT * 2)


def test_inotify_makes_it_quick_and_without_it_files_are_followed_all_the_same(
    state_dir: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_there in (True, False):
        if not is_there:
            monkeypatch.setattr(Notice, "is_there", False)
        rig = start(state_dir, log)
        assert rig.source.describe()["is_noticing"] is is_there
        before = len(rig.lines())
        for number in range(1, 6):
            log.write(numbered(number, number))
            wait_until(lambda rig=rig, lines=before + number: len(rig.lines()) == lines, "the line")
        rig.end()


def test_a_burst_with_a_rotation_in_its_middle_comes_whole_and_in_order(state_dir: Path, log: LogFile) -> None:
    rig = start(state_dir, log)
    line = b"%08d " + b"x" * 990 + b"\n"
    count = BURST_BYTES // 1000
    for first in range(0, count, 1000):
        log.write(b"".join(line % number for number in range(first, first + 1000)))
        if first == count // 2:
            log.rotate()
    wait_until(lambda: not rig.lag_bytes() and rig.source_counters.get("flowd_tail_bytes_total") == BURST_BYTES, "all")
    rig.end()
    store = open_journal(state_dir, Journal()).store
    assert [int(found[:8]) for found in stored_lines(store)] == list(range(count))
    store.close()


def test_kill_9_at_any_moment_loses_no_line_and_repeats_none(state_dir: Path, log: LogFile) -> None:
    """A writer that does not stop, rotations of both kinds, and a process that is killed and started again."""
    dice = random.Random(7)
    is_ending = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not is_ending.is_set():
            lines = dice.randrange(1, 400)
            log.write(numbered(written + 1, written + lines))
            written += lines
            if dice.random() < 0.1:
                log.rotate()
            elif dice.random() < 0.1:
                log.copytruncate()
            is_ending.wait(0.002)

    globs = {"flows": [str(log.path)]}
    first = Rig(state_dir, globs).start()
    wait_until(lambda: first.source.describe()["followed_files"], "the first look")
    wait_until(lambda: _has_places(first), "the first place")
    first.end()
    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(KILLS):
        process = spawn_rig(state_dir, globs)
        seen = written
        wait_until(lambda seen=seen: written > seen + 5000, "more lines")
        deadline_s = time.monotonic() + dice.random() / 2
        wait_until(lambda deadline_s=deadline_s: time.monotonic() >= deadline_s, "any moment")
        process.kill()
        process.wait()
    is_ending.set()
    writer.join()
    rig = Rig(state_dir, globs).start()
    wait_until(lambda: len(rig.lines()) >= written and not rig.lag_bytes(), "all lines")
    rig.end()
    store = open_journal(state_dir, Journal()).store
    found = stored_lines(store)
    store.close()
    assert len(found) == written
    assert sorted(found) == lines_of(numbered(1, written))


def _has_places(rig: Rig) -> bool:
    with rig.store.read() as reading:
        return bool(reading.places())


def test_a_stream_that_cannot_be_carried_keeps_its_lines_and_no_other_waiting(
    state_dir: Path, log: LogFile, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowd.relay.deciding.finding.STREAM_RETRY_S", 0.01)
    other = LogFile(log.path.with_name("other.log"))
    rig = Rig(state_dir, {"flows": [str(log.path)], "other": [str(other.path)]})
    answers: list[str] = ["full", "broken", "file", "fine"]
    real_get = rig.streams.get

    def get(name: str) -> Stream | None:
        if name != "flows" or answers[0] == "fine":
            return real_get(name)
        if answers[0] == "broken":
            raise FlowdError("these filters cannot be compiled")
        if answers[0] == "file":
            raise OSError("no such file")
        return None

    monkeypatch.setattr(rig.streams, "get", get)
    log.write(numbered(1, 20_000))
    rig.start()
    written = 0
    for _ in range(3):
        written += 100
        other.write(numbered(1, 100))
        wait_until(lambda lines=written: len(rig.lines("other")) == lines, "the other stream")
        assert rig.lines() == []
        answers.pop(0)
    wait_until(lambda: len(rig.lines()) == 20_000, "the stream")
    wait_until(lambda: not rig.lag_bytes(), "its place")
    assert rig.counters.get("flowd_tail_errors_total", reason="stream") == 1
    assert sum("stream flows" in record.message for record in caplog.records if record.levelno >= logging.WARNING) == 2
    rig.end()
    other.close()


def test_lines_and_places_are_stored_in_one_transaction(
    state_dir: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a transaction has of a file's lines, it has of the file's place."""
    seen: list[tuple[int, int]] = []
    real_append, real_set, real_finish = Transaction.append, Transaction.set_place, Transaction.finish
    counts = {"batches": 0, "places": 0}

    def append(self: Transaction, *arguments: object) -> object:
        counts["batches"] += 1
        return real_append(self, *arguments)  # type: ignore[arg-type]

    def set_place(self: Transaction, key: bytes, value: bytes | None) -> None:
        counts["places"] += 1
        real_set(self, key, value)

    def finish(self: Transaction) -> None:
        if counts["batches"]:
            seen.append((counts["batches"], counts["places"]))
        counts.update(batches=0, places=0)
        real_finish(self)

    monkeypatch.setattr(Transaction, "append", append)
    monkeypatch.setattr(Transaction, "set_place", set_place)
    monkeypatch.setattr(Transaction, "finish", finish)
    rig = start(state_dir, log)
    for first in range(1, 100_000, 10_000):
        log.write(numbered(first, first + 9_999))
    wait_until(lambda: len(rig.lines()) == 100_000, "the lines")
    rig.end()
    assert seen
    assert all(places >= batches for batches, places in seen)


def test_a_journal_without_room_holds_the_source_and_nothing_is_lost(state_dir: Path, log: LogFile) -> None:
    rig = start(state_dir, log)
    wait_until(lambda: _has_places(rig), "the first place")
    rig.writer._retry_s = time.monotonic() + 0.3
    rig.writer.is_full = True  # what the journal says, and does, while it has no room
    log.write(numbered(1, 200_000))
    log.rotate()
    log.write(numbered(200_001, 200_010))
    wait_until(lambda: rig.lane._refused, "a refusal")
    assert not rig.lane.is_listening
    wait_until(lambda: len(rig.lines()) == 200_010, "all lines")
    assert rig.lines() == lines_of(numbered(1, 200_010))
    wait_until(lambda: not rig.lag_bytes(), "the places")
    rig.end()
    again = start(state_dir, log)
    log.write(numbered(200_011, 200_011))
    wait_until(lambda: len(again.lines()) == 200_011, "one more")
    again.end()


def test_a_source_that_is_held_ends_at_once(state_dir: Path, log: LogFile) -> None:
    rig = Rig(state_dir, {"flows": [str(log.path)]})
    log.write(numbered(1, 1_000_000))
    rig.source.start()
    wait_until(lambda: not rig.source.handover.has_room("flows"), "the handover is full")
    began_s = time.monotonic()
    rig.source.end()
    assert time.monotonic() - began_s < 1
    assert not rig.source.is_alive()
    rig.writer.start()
    rig.thread.start()
    rig.end()


def test_an_error_of_the_code_ends_the_source_and_is_seen(
    state_dir: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(state_dir, {"flows": [str(log.path)]})

    def fail(_: float) -> float:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(rig.source._tail, "turn", fail)
    rig.start()
    wait_until(lambda: not rig.source.is_alive(), "the end")
    assert isinstance(rig.source.failure, RuntimeError)
    assert rig.source.describe()["is_alive"] is False
    rig.end()
