"""The thread that writes the journal: groups in order, refusals that keep it, recovery, syncing, and its end."""

from __future__ import annotations

import errno
import os
import resource
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from journal_bed import AppendJob, Bell, WriterBed, append, read_stream, refusals, set_clock, stored
from relay_bed import wait_until

from flowd.errors import EXIT_IO
from flowd.relay.journal import committing, writer
from flowd.relay.journal.known import Known, read_boot_id, read_known
from flowd.relay.journal.outbox import Outbox, Settled
from flowd.relay.journal.store import Store
from flowd.relay.journal.transaction import Retired, Transaction
from flowd.relay.journal.writer import ENOUGH_BYTES, FAILED, GROUP_JOBS, NO_SPACE

LINE = b"line\n"
FULL = lmdb.DiskError("mdb_txn_commit: " + os.strerror(errno.ENOSPC))
BROKEN = lmdb.Error("mdb_txn_commit: " + os.strerror(errno.EIO))


class FailingStore(Store):
    """A store whose transactions, probes and syncs fail when `fails` says with what. Counts them."""

    fails: Callable[[], Exception | None] = staticmethod(lambda: None)
    writes = probes = syncs = 0

    @contextmanager
    def write(self, *, is_paged: bool = False) -> Iterator[Transaction]:
        with super().write(is_paged=is_paged) as transaction:
            yield transaction
            self.writes += 1
            self._fail()

    def probe(self, size_bytes: int) -> None:
        self.probes += 1
        self._fail()
        super().probe(size_bytes)

    def sync(self) -> None:
        self.syncs += 1
        self._fail()
        super().sync()

    def _fail(self) -> None:
        error = self.fails()
        if error is not None:
            raise error


def fail_with(store: FailingStore, error: Exception | None) -> None:
    store.fails = lambda: error  # type: ignore[method-assign]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FailingStore]:
    store = FailingStore(tmp_path / "journal", max_bytes=64 << 20, is_synced=False)
    yield store
    store.close()


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery is tried at every turn, and turns come at once."""
    monkeypatch.setattr(writer, "RETRY_S", 0.0)
    monkeypatch.setattr(writer, "IDLE_S", 0.001)


class TrimJob(AppendJob):
    """What an administrator asks for."""

    retired = Retired()

    def write(self, transaction: Transaction) -> None:
        self.retired = transaction.retire(0, 1 << 62)


def test_jobs_that_wait_are_one_commit_in_their_order(store: FailingStore, tmp_path: Path) -> None:
    bed = WriterBed(store, tmp_path, start=False)
    jobs = bed.submit(*(b"%d\n" % n for n in range(20)))
    with bed:
        bed.writer.start()
        assert [settled.job for settled in bed.settled(20)] == jobs
        assert bed.writer.commits == 1
        assert [job.placed.sequence for job in jobs if job.placed] == list(range(1, 21))
    assert read_stream(store) == [b"%d\n" % n for n in range(20)]


def test_commits_that_do_not_wait_for_the_disk_wait_for_enough(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_GAP_S", 3600.0)
    with WriterBed(store, tmp_path, sync="off") as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [""]  # nothing was committed lately: it waits for nothing
        wait_until(lambda: bed.writer.is_dozing, "the writer to wait for more")
        bed.submit(*[bytes(ENOUGH_BYTES // 4)] * 4)
        assert refusals(bed.settled(4)) == [""] * 4
        assert bed.writer.commits == 2
        bed.submit(LINE)
    assert refusals(bed.settled(1)) == [""]  # an end is not waited for either


def test_commits_that_wait_for_the_disk_wait_for_nothing_else(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_GAP_S", 3600.0)
    with WriterBed(store, tmp_path, sync="commit") as bed:
        for number in range(3):
            bed.submit(LINE)
            assert refusals(bed.settled(1)) == [""]
            assert bed.writer.commits == number + 1


def test_a_group_has_so_many_jobs_and_bytes_at_most(store: FailingStore, tmp_path: Path) -> None:
    bed = WriterBed(store, tmp_path, start=False)
    bed.submit(*[LINE] * (GROUP_JOBS + 1))
    bed.submit(*[bytes(3 << 20)] * 5)
    with bed:
        bed.writer.start()
        assert refusals(bed.settled(GROUP_JOBS + 6)) == [""] * (GROUP_JOBS + 6)
        assert bed.writer.commits == 4  # 256 lines; a line and two large ones; two; one
    assert [len(lines) for lines in read_stream(store)] == [5] * (GROUP_JOBS + 1) + [3 << 20] * 5


def test_every_commit_that_stored_is_heard(store: FailingStore, tmp_path: Path) -> None:
    heard = threading.Semaphore(0)
    with WriterBed(store, tmp_path, start=False) as bed:
        bed.writer.heard.append(heard.release)
        bed.writer.start()
        for _ in range(3):
            bed.submit(LINE)
            bed.settled(1)
            assert heard.acquire(timeout=5)
    assert not heard.acquire(blocking=False)


@pytest.mark.usefixtures("prompt")
def test_what_finds_no_room_is_refused_and_told(store: FailingStore, tmp_path: Path) -> None:
    fail_with(store, FULL)
    with WriterBed(store, tmp_path) as bed:
        jobs = bed.submit(LINE, LINE)
        assert refusals(bed.settled(2)) == [NO_SPACE, NO_SPACE]
        assert bed.writer.is_full
        assert bed.health.reasons() == ["journal: no room to store anything: No space left on device"]
        assert bed.counters.snapshot() == {"flowd_journal_full_total": 1}
        assert store.streams() == {}
        fail_with(store, None)
        wait_until(lambda: not bed.writer.is_full, "room")
        assert bed.health.reasons() == []
        assert store.probes > 0
        for job in jobs:
            bed.writer.submit(job)
        assert refusals(bed.settled(2)) == ["", ""]
        assert bed.counters.snapshot() == {"flowd_journal_full_total": 1}
    assert read_stream(store) == [LINE, LINE]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.usefixtures("prompt")
def test_a_quota_and_a_limit_are_want_of_room_too(store: FailingStore, tmp_path: Path, number: int) -> None:
    fail_with(store, lmdb.Error(f"mdb_txn_commit: {os.strerror(number)}"))
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [NO_SPACE]
        assert bed.health.reasons() == [f"journal: no room to store anything: {os.strerror(number)}"]
        fail_with(store, None)


@pytest.mark.usefixtures("prompt")
def test_a_write_cut_short_is_want_of_room_where_the_file_cannot_grow(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LMDB calls it an error of the disk: so it is tried."""

    def find_limit(data: Path, size_bytes: int) -> str:
        assert (data, size_bytes) == (store.directory / "data.mdb", len(LINE) + committing.ENTRY_BYTES)
        return os.strerror(errno.ENOSPC)

    monkeypatch.setattr(committing, "_find_limit", find_limit)
    fail_with(store, BROKEN)
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [NO_SPACE]
        fail_with(store, None)
        wait_until(lambda: not bed.writer.is_full, "room")
    assert bed.writer.failure is None


@pytest.mark.usefixtures("prompt")
def test_what_is_larger_than_the_map_is_refused_though_nothing_is_left_to_retire(tmp_path: Path) -> None:
    with stored(tmp_path, 1 << 20) as store, WriterBed(store, tmp_path, max_bytes=1 << 20) as bed:
        bed.submit(bytes(80 << 20), LINE)
        assert refusals(bed.settled(2)) == [NO_SPACE, NO_SPACE]
        assert bed.health.reasons() == ["journal: no room to store anything: the journal's map is full"]
        assert bed.writer.failure is None


def test_trying_whether_a_file_can_grow_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert committing._find_limit(path, 3 << 20) == ""
    assert committing._find_limit(tmp_path / "none", 1) == ""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, most))
    try:
        assert committing._find_limit(path, 3 << 20) == os.strerror(errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert path.read_bytes() == b"content"


def test_an_error_of_the_disk_ends_it(store: FailingStore, tmp_path: Path) -> None:
    fail_with(store, BROKEN)
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE, LINE, is_patient=True)
        assert refusals(bed.settled(2)) == [FAILED, FAILED]
        bed.writer.join()
        failure = bed.writer.failure
        assert failure is not None
        assert (failure.exit_code, failure.hint) == (EXIT_IO, "look at the disk (dmesg), or give another --state-dir")
        assert failure.message == (
            f"the journal in {store.directory} cannot be written: mdb_txn_commit: Input/output error"
        )
        assert (bed.alarms, bed.counters.snapshot()) == (1, {'flowd_journal_failures_total{reason="io"}': 1})
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [FAILED]  # who comes later is not left waiting
        writes, syncs = store.writes, store.syncs
    assert (store.writes, store.syncs) == (writes, syncs) == (1, 0)
    known = read_known(tmp_path)
    assert known == Known(store.epoch.hex(), read_boot_id(), is_safe=False, is_doubtful=True)


def test_a_failed_sync_ends_it_and_is_not_tried_again(store: FailingStore, tmp_path: Path) -> None:
    with WriterBed(store, tmp_path, sync="interval", interval_ms=1, start=False) as bed:
        store.fails = lambda: BROKEN if store.syncs == 1 else None  # type: ignore[method-assign]
        bed.writer.start()
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [""]
        bed.writer.join()
        assert bed.writer.failure is not None
        assert (bed.writer.failure.exit_code, bed.alarms) == (EXIT_IO, 1)
    assert store.syncs == 1
    known = read_known(tmp_path)
    assert known is not None
    assert (known.is_safe, known.is_doubtful, known.streams) == (False, True, {"flows": (2, 1)})


@pytest.mark.usefixtures("prompt")
def test_patient_jobs_wait_for_room_and_keep_their_order(store: FailingStore, tmp_path: Path) -> None:
    fail_with(store, FULL)
    with WriterBed(store, tmp_path) as bed:
        patient = [AppendJob(bed.outbox, is_patient=True, sequence=n) for n in range(3)]
        for job in patient:
            bed.writer.submit(job)
            bed.submit(LINE)
        assert refusals(bed.settled(3)) == [NO_SPACE] * 3
        wait_until(lambda: store.probes > 2, "some tries")
        assert bed.outbox.take() is None
        fail_with(store, None)
        assert bed.settled(3) == [Settled(job, "") for job in patient]
    with store.read() as reading:
        assert set(reading.places()) == {b"0", b"1", b"2"}


@pytest.mark.usefixtures("prompt")
def test_patient_jobs_that_never_find_room_are_refused_at_the_end(store: FailingStore, tmp_path: Path) -> None:
    fail_with(store, FULL)
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE, is_patient=True)
        wait_until(lambda: bed.writer.is_full, "the refusal")
        store.fails = lambda: None if store.syncs else FULL  # type: ignore[method-assign]
        threading.Thread(target=bed.writer.end).start()
        assert refusals(bed.settled(1)) == [NO_SPACE]


def test_what_an_administrator_frees_makes_room_at_once(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trimming adds nothing: it is done while there is no room, and then it is looked whether there is some."""
    monkeypatch.setattr(writer, "RETRY_S", 3600.0)
    append(store, LINE, LINE * 2)
    fail_with(store, FULL)
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [NO_SPACE]
        trim = TrimJob(Outbox(Bell()))
        bed.writer.submit(trim)
        wait_until(lambda: len(trim.outbox), "the refusal")
        assert trim.outbox.take() == Settled(trim, NO_SPACE)
        fail_with(store, None)
        bed.writer.submit(trim)
        wait_until(lambda: len(trim.outbox), "the end of the trimming")
        assert (trim.outbox.take(), trim.retired) == (Settled(trim, ""), Retired(2, 3))
        wait_until(lambda: not bed.writer.is_full, "room")


@pytest.mark.parametrize(("sync", "syncs"), [("commit", 0), ("off", 1), ("interval", 1)])
def test_the_end_leaves_everything_on_the_disk(store: FailingStore, tmp_path: Path, sync: Any, syncs: int) -> None:
    with WriterBed(store, tmp_path, sync=sync, interval_ms=3_600_000) as bed:
        bed.submit(LINE, LINE * 2)
        bed.settled(2)
        bed.submit(LINE)  # is stored before the end
    assert store.syncs == syncs
    assert refusals(bed.settled(1)) == [""]
    known = Known(store.epoch.hex(), read_boot_id(), is_safe=True, streams={"flows": (4, 4)})
    assert read_known(tmp_path) == known


def test_an_interval_is_kept_and_nothing_is_synced_for_nothing(store: FailingStore, tmp_path: Path) -> None:
    with WriterBed(store, tmp_path, sync="interval", interval_ms=1) as bed:
        for n in range(1, 4):
            bed.submit(LINE)
            bed.settled(1)
            wait_until(lambda n=n: store.syncs == n, "a sync")
    assert store.syncs == 4


def test_what_is_known_is_renewed(store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "KNOWN_S", 0.0)
    with WriterBed(store, tmp_path, sync="interval") as bed:
        bed.submit(LINE * 3)

        def is_known() -> bool:
            known = read_known(tmp_path)
            return known is not None and known.streams == {"flows": (2, 3)} and not known.is_safe

        wait_until(is_known, "what is known")


def test_what_cannot_be_known_stops_nothing(
    store: FailingStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "journal.new").mkdir()
    with WriterBed(store, tmp_path) as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [""]
    assert bed.writer.failure is None
    assert "what is known of it cannot be written" in caplog.text


@pytest.mark.usefixtures("prompt")
def test_what_is_too_old_goes_while_nothing_comes(store: FailingStore, tmp_path: Path) -> None:
    clock = set_clock(store)
    with WriterBed(store, tmp_path, max_age=10.0) as bed:
        bed.submit(LINE, LINE * 2)
        bed.settled(2)
        clock.time_ns = 10**10
        commits = bed.writer.commits
        bed.submit(LINE)
        bed.settled(1)
        clock.time_ns += 1
        wait_until(lambda: store.streams()["flows"].oldest == 3, "the retirement")
        assert bed.counters.snapshot() == {"flowd_retired_batches_total": 2, "flowd_retired_lines_total": 3}
        assert bed.writer.commits == commits + 2
        assert read_stream(store) == [LINE]


def test_an_age_without_end_is_none(store: FailingStore, tmp_path: Path) -> None:
    with WriterBed(store, tmp_path, max_age=float("inf")) as bed:
        bed.submit(LINE)
        assert refusals(bed.settled(1)) == [""]


class Producers:
    """The owner of an outbox: producers' batches, sent again from the first that was refused, as ingest does it."""

    def __init__(self, bed: WriterBed, chance_bytes: list[int], wanted: int) -> None:
        self.bed = bed
        self.sizes = chance_bytes
        self.wanted = wanted
        self.taken: dict[bytes, int] = {}
        self.stored: dict[bytes, list[int]] = {}
        self.under_way = 0

    def send(self, producer: bytes) -> None:
        sequence = self.taken.get(producer, 0) + 1
        if sequence <= self.wanted:
            self.taken[producer] = sequence
            padding = bytes(self.sizes[sequence % len(self.sizes)])
            self.bed.submit(b"%s %d\n" % (producer, sequence) + padding, producer=producer, sequence=sequence)
            self.under_way += 1

    @property
    def is_done(self) -> bool:
        return all(self.stored.get(name, [])[-1:] == [self.wanted] for name in (b"a", b"b", b"c"))

    def take(self) -> None:
        if self.under_way:
            (settled,) = self.bed.settled(1)
            self.under_way -= 1
            job = settled.job
            assert isinstance(job, AppendJob)
            if settled.refusal:
                self.taken[job.producer] = min(self.taken[job.producer], job.sequence - 1)
            else:
                self.stored.setdefault(job.producer, []).append(job.sequence)


@hypothesis_settings(max_examples=60)
@given(
    fails=st.lists(st.booleans(), max_size=60),
    steps=st.lists(st.sampled_from([b"a", b"b", b"c", None, None]), max_size=120),
    sizes=st.lists(st.sampled_from([0, 10, 90_000, 200_000]), min_size=1, max_size=5),
)
def test_no_batch_overtakes_one_that_was_refused(
    fails: list[bool], steps: list[bytes | None], sizes: list[int]
) -> None:
    """Whenever commits fail, and however late their owner learns of it: each producer's batches are stored in order,
    without a hole, and once."""
    left = iter(fails)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "RETRY_S", 0.0)
        patch.setattr(writer, "IDLE_S", 0.001)
        path = Path(directory)
        store = FailingStore(path / "journal", max_bytes=1 << 20, is_synced=False)
        store.fails = lambda: FULL if next(left, False) else None  # type: ignore[method-assign]
        with WriterBed(store, path, max_bytes=1 << 20) as bed:
            producers = Producers(bed, sizes, wanted=12)
            for step in steps:
                producers.take() if step is None else producers.send(step)
            while producers.under_way or not producers.is_done:
                while producers.under_way:  # all that is known is taken note of before more is sent
                    producers.take()
                for name in b"aaabbcabc":
                    producers.send(b"%c" % name)
        with store.read() as reading:
            marks = [reading.find_mark(name) for name in (b"a", b"b", b"c")]
        rows = store.streams()["flows"]
        store.close()
    assert producers.stored == {name: list(range(1, 13)) for name in (b"a", b"b", b"c")}
    assert [mark.last for mark in marks if mark] == [12, 12, 12]
    assert rows.next == 37


def test_a_journal_is_the_same_after_a_writer_was_used(tmp_path: Path) -> None:
    with stored(tmp_path) as store, WriterBed(store, tmp_path) as bed:
        bed.submit(LINE, b"", LINE * 2)
        bed.settled(3)
        rows = store.streams()
    with stored(tmp_path) as store:
        assert (store.streams(), read_stream(store)) == (rows, [LINE, b"", LINE * 2])
