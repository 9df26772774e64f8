"""What a start of the daemon makes of the journal that it finds: whole, gone, cut short, damaged, of another kind."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest
from faults_bed import open_apart
from journal_bed import append, read_batch, read_stream, stored

from flowd.errors import EXIT_CONFIG, EXIT_IO
from flowd.relay.config import Journal
from flowd.relay.journal import inspection
from flowd.relay.journal.inspection import Loss
from flowd.relay.journal.known import Known, read_boot_id, read_known, write_known
from flowd.relay.journal.layout import FORMAT_KEY, Continued, Corrupt, Cursor, Mark, OtherFormat, StreamRow, pack_head
from flowd.relay.journal.opening import JournalFailed, Missing, Opened, describe_store, open_journal
from flowd.relay.journal.store import CONTINUED_MAX, Store
from flowd.wire.limits import ID_BYTES

LINE = b"line\n"
NOTHING = Missing()
OFF = Journal(sync="off", max_bytes=64 << 20)
PAGE = 4096
BATCHES = [bytes([n]) * 5_000 + b"\n" for n in range(ord("0"), ord("0") + 40)]


class Bed:
    """A state directory with a journal that holds two streams, a producer's mark and two cursors; closed."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.data = state / "journal" / "data.mdb"
        opened = open_journal(state, OFF)
        append(opened.store, *BATCHES)
        append(opened.store, LINE * 3, stream="dns")
        with opened.store.write() as transaction:
            transaction.set_mark(b"p", Mark(1, 2, 3))
            transaction.set_cursor("siem", "flows", Cursor(1, 1, 30, 30, 1))
            transaction.set_cursor("new", "flows", Cursor(1, 1, None, 0, 1))
        self.epoch = opened.store.epoch
        self.rows = opened.store.streams()
        self.known = describe_store(opened.store, is_safe=True)
        write_known(state, self.known)
        opened.store.close()
        assert self.known == Known(
            epoch=self.epoch.hex(),
            boot_id=read_boot_id(),
            streams={"flows": (41, 40), "dns": (2, 3)},
            cursors=[("siem", "flows", 30, 30)],
        )

    def open(self, settings: Journal = OFF) -> Opened:
        return open_journal(self.state, settings)

    def know(self, **changes: Any) -> None:
        """What is known, otherwise."""
        write_known(self.state, msgspec.structs.replace(self.known, **changes))

    def expect_whole(self, *, is_renewed: bool = False, missing: Missing = NOTHING) -> None:
        """It opens as the journal that it was; perhaps with a new epoch, which it has from then on."""
        opened = self.open()
        try:
            assert (opened.loss, opened.before, opened.missing) == (None, None, missing)
            assert (opened.store.epoch != self.epoch, opened.store.streams()) == (is_renewed, self.rows)
            assert opened.store.epoch_before("flows") == ((self.epoch, 41, 40) if is_renewed else None)
            if is_renewed:
                assert opened.store.continued == [Continued(self.epoch.hex(), {"flows": (41, 40), "dns": (2, 3)})]
                assert read_known(self.state) == describe_store(opened.store, is_safe=False)
            assert read_stream(opened.store) == BATCHES
            with opened.store.read() as reading:
                assert reading.find_mark(b"p") == Mark(1, 2, 3)
                assert set(reading.cursors()) == {("siem", "flows"), ("new", "flows")}
            assert append(opened.store, LINE)[0].sequence == 41
        finally:
            opened.store.close()

    def expect_lost(self, reason: str) -> None:
        """A new epoch begins, it is told what was lost, and again at later starts as what was before."""
        damaged = self.data.read_bytes() if self.data.exists() else None
        loss = Loss(reason, read_known(self.state) or Known())
        opened = self.open()
        assert (opened.loss, opened.before) == (loss, loss)
        assert (loss.known.streams, loss.known.cursors) == (self.known.streams, self.known.cursors)
        assert opened.store.epoch != self.epoch
        assert (opened.store.streams(), opened.store.stat().producers) == ({}, 0)
        assert append(opened.store, LINE)[0].sequence == 1
        opened.store.close()
        aside = self.state / "journal" / "damaged.mdb"
        assert (aside.read_bytes() if aside.exists() else None) == damaged
        again = self.open()
        assert (again.loss, again.before) == (None, loss)
        assert (again.store.epoch, read_stream(again.store)) == (opened.store.epoch, [LINE])
        again.store.close()


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The journals that were verified, one after the other."""
    found: list[Path] = []
    verify = inspection.verify
    monkeypatch.setattr(inspection, "verify", lambda directory: found.append(directory) or verify(directory))
    return found


def overwrite(path: Path, begin: int, garbage: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(garbage)


def last_page(data: Path) -> int:
    """The last page that LMDB has given out, by its newer meta page."""
    content = data.read_bytes()
    metas = [struct.unpack_from("=QQ", content, page * PAGE + 16 + 120) for page in (0, 1)]
    return int(max(metas, key=lambda meta: meta[1])[0])


def test_a_first_start_makes_a_journal(tmp_path: Path, verified: list[Path]) -> None:
    opened = open_journal(tmp_path, OFF)
    assert (opened.loss, opened.before) == (None, None)
    assert (len(opened.store.epoch), opened.store.streams(), opened.store.generation) == (ID_BYTES, {}, 0)
    assert read_known(tmp_path) == Known(epoch=opened.store.epoch.hex(), boot_id=read_boot_id(), is_safe=False)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "journal").iterdir()} == {
        "data.mdb": "0o600",
        "lock.mdb": "0o600",
    }
    assert oct((tmp_path / "journal.json").stat().st_mode & 0o777) == "0o600"
    opened.store.close()
    assert verified == []


def test_a_clean_restart_goes_on(bed: Bed, verified: list[Path]) -> None:
    bed.expect_whole()
    assert verified == []
    known = read_known(bed.state)
    assert known == msgspec.structs.replace(bed.known, is_safe=False)


def test_a_synced_journal_is_always_safe(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier life did not bring to the disk is brought there first."""
    synced: list[Store] = []
    monkeypatch.setattr(Store, "sync", lambda store: synced.append(store))
    bed.know(is_safe=False)
    opened = bed.open(Journal(sync="commit"))
    assert synced == [opened.store]
    assert read_known(bed.state) == bed.known
    opened.store.close()


def test_a_start_after_kill_9_verifies_nothing(tmp_path: Path, verified: list[Path]) -> None:
    """However many batches there are: what the system was given is there."""
    opened = open_journal(tmp_path, OFF)
    for _ in range(10):
        append(opened.store, *[LINE] * 1_000)
    opened.store.close()  # and nothing was said of a clean end
    again = open_journal(tmp_path, OFF)
    assert again.store.streams() == {"flows": StreamRow(1, 10_001, 10_000)}
    again.store.close()
    assert verified == []


def test_a_deleted_journal_is_missing(bed: Bed) -> None:
    for path in (bed.state / "journal").iterdir():
        path.unlink()
    (bed.state / "journal").rmdir()
    bed.expect_lost("missing")


def test_deleted_data_is_missing(bed: Bed) -> None:
    bed.data.unlink()
    bed.expect_lost("missing")


@pytest.mark.parametrize("size_bytes", [1, 100, PAGE - 1, PAGE, PAGE + 200, 2 * PAGE - 1])
def test_a_file_cut_within_its_meta_pages_is_damaged(bed: Bed, size_bytes: int) -> None:
    os.truncate(bed.data, size_bytes)
    bed.expect_lost("damaged" if size_bytes < PAGE + 152 else "truncated")


@pytest.mark.parametrize("cut", ["nothing", "metas", "middle", "page"])
def test_a_file_cut_short_is_truncated(bed: Bed, cut: str) -> None:
    opened = bed.open()
    append(opened.store, bytes(1 << 20))  # whose pages are the last ones
    bed.known = describe_store(opened.store, is_safe=True)
    write_known(bed.state, bed.known)
    opened.store.close()
    size_bytes = bed.data.stat().st_size
    assert size_bytes == (last_page(bed.data) + 1) * PAGE
    os.truncate(bed.data, {"nothing": 0, "metas": 2 * PAGE, "middle": size_bytes // 2, "page": size_bytes - PAGE}[cut])
    bed.expect_lost("truncated")


def test_a_file_without_its_last_free_pages_goes_on(tmp_path: Path, verified: list[Path]) -> None:
    """A file system may never have written what nothing was stored in."""
    bed = Bed(tmp_path)
    opened = bed.open()
    append(opened.store, bytes(4 << 20), stream="large")
    with opened.store.write() as transaction:
        transaction.retire(0, 0)
    for _ in range(5):  # what is in use moves to the front
        append(opened.store, LINE, stream="large")
        with opened.store.write() as transaction:
            transaction.set_mark(b"p", Mark(1, 2, 3))
            transaction.set_cursor("siem", "flows", Cursor(1, 1, 30, 30, 1))
    rows = opened.store.streams()
    opened.store.close()
    full_bytes = (last_page(bed.data) + 1) * PAGE
    assert bed.data.stat().st_size == full_bytes
    os.truncate(bed.data, full_bytes - 100 * PAGE)
    opened = bed.open()
    assert (opened.loss, opened.store.epoch, opened.store.streams()) == (None, bed.epoch, rows)
    assert len(verified) == 1
    assert append(opened.store, bytes(4 << 20), stream="large")[0].sequence == 7
    assert read_batch(opened.store, "large", 7) == bytes(4 << 20)
    opened.store.close()
    assert bed.data.stat().st_size >= full_bytes


@pytest.mark.parametrize("garbage", [b"\0", b"\xff", b"garbage!"])
@pytest.mark.parametrize("pages", [(0,), (1,), (0, 1)])
def test_garbage_over_a_meta_page_is_damage(bed: Bed, garbage: bytes, pages: tuple[int, ...]) -> None:
    for page in pages:
        overwrite(bed.data, page * PAGE, (garbage * PAGE)[:PAGE])
    bed.expect_lost("damaged")


@pytest.mark.parametrize("garbage", [b"\0", b"\xff"])
def test_garbage_over_the_trees_is_found_where_there_is_doubt(bed: Bed, garbage: bytes) -> None:
    overwrite(bed.data, 2 * PAGE, garbage * (bed.data.stat().st_size - 2 * PAGE))
    bed.know(is_doubtful=True)
    bed.expect_lost("damaged")


def test_a_page_of_another_time_is_found_where_there_is_doubt(bed: Bed) -> None:
    """A loss of power may leave a page as it was some transactions before: readable, and wrong."""
    before = bed.data.read_bytes()
    opened = bed.open()
    for _ in range(20):
        append(opened.store, LINE)
    rows = opened.store.streams()
    opened.store.close()
    after = bed.data.read_bytes()
    changed = [n for n in range(2, len(before) // PAGE) if before[n * PAGE :][:PAGE] != after[n * PAGE :][:PAGE]]
    found = {}
    for page in changed:
        bed.data.write_bytes(after)
        overwrite(bed.data, page * PAGE, before[page * PAGE :][:PAGE])
        found[page] = inspection.verify(bed.data.parent)
        if found[page]:  # it was a free one
            with stored(bed.state) as store:
                assert (store.streams(), read_stream(store)) == (rows, [*BATCHES, *[LINE] * 20])
    assert len(found) > 5
    assert {False, True} == set(found.values())


def test_a_batch_with_damaged_lines_or_a_damaged_head_is_no_reason_to_lose_all(bed: Bed, verified: list[Path]) -> None:
    content = bed.data.read_bytes()
    overwrite(bed.data, content.index(BATCHES[6]) + 700, b"x")
    with stored(bed.state) as store, store.read() as reading:
        head = reading.head(bed.rows["flows"], 9)
    assert head is not None
    place = -1
    while (place := content.find(pack_head(head), place + 1)) >= 0:  # in pages of another time, too
        overwrite(bed.data, place + 5, b"x")
    bed.know(is_doubtful=True)
    opened = bed.open()
    assert (opened.loss, len(verified)) == (None, 1)
    for sequence in (7, 9):
        with pytest.raises(Corrupt):
            read_batch(opened.store, "flows", sequence)
    assert [read_batch(opened.store, "flows", n) for n in (6, 8, 10)] == [BATCHES[n - 1] for n in (6, 8, 10)]
    opened.store.close()


@pytest.mark.parametrize(
    ("known", "is_verified", "is_renewed"),
    [
        ({"is_safe": False}, False, False),
        ({"is_safe": False, "boot_id": "another"}, True, True),
        ({"is_safe": True, "boot_id": "another"}, False, False),
        ({"is_safe": False, "boot_id": ""}, True, True),
        ({"is_doubtful": True}, True, False),
    ],
)
def test_a_whole_journal_is_verified_in_doubt_and_goes_on(
    bed: Bed, verified: list[Path], known: dict[str, Any], is_verified: bool, is_renewed: bool
) -> None:
    """A loss of power is a start of the system that nothing was made safe for. What was stored last may be lost, and
    its sequences, in the new epoch, name other batches."""
    bed.know(**known)
    bed.expect_whole(is_renewed=is_renewed)
    assert verified == [bed.state / "journal"] * is_verified


def test_epochs_that_a_journal_has_had_are_remembered(bed: Bed) -> None:
    epochs = [bed.epoch]
    for n in range(CONTINUED_MAX + 3):
        bed.know(is_safe=False, boot_id=str(n), epoch=epochs[-1].hex())
        opened = bed.open()
        epochs.append(opened.store.epoch)
        append(opened.store, LINE)
        opened.store.close()
    opened = bed.open()
    assert len(set(epochs)) == CONTINUED_MAX + 4
    assert [(one.epoch, one.streams["flows"][0]) for one in opened.store.continued] == [
        (epoch.hex(), 41 + n) for n, epoch in list(enumerate(epochs))[3:-1]
    ]
    opened.store.close()


def test_the_last_commits_that_a_loss_of_power_took_are_told(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """They were not synced: the journal is whole, and goes on before them."""
    bed.know(is_safe=False, boot_id="another", streams={"flows": (43, 49), "dns": (2, 3), "audit": (3, 7)})
    bed.expect_whole(is_renewed=True, missing=Missing(4, 16))
    assert [record.getMessage() for record in caplog.records] == [
        "journal: the last batches of flows are not there: at least 2, with 9 lines",
        "journal: the last batches of audit are not there: at least 2, with 7 lines",
        "journal: nothing says that its last batches are there; a new epoch begins behind what is",
    ]


@pytest.mark.parametrize("garbage", [None, b"", b"garbage", b'{"epoch":7}', b"\xff\xfe"])
def test_a_journal_of_which_nothing_is_known_is_verified_and_goes_on(
    bed: Bed, verified: list[Path], garbage: bytes | None
) -> None:
    path = bed.state / "journal.json"
    path.unlink() if garbage is None else path.write_bytes(garbage)
    bed.expect_whole(is_renewed=True)
    assert len(verified) == 1
    bed.known = Known()
    os.truncate(bed.data, bed.data.stat().st_size // 2)
    path.unlink()
    bed.expect_lost("truncated")


def test_what_ends_the_process_while_it_opens_the_journal_is_met_once(bed: Bed, verified: list[Path]) -> None:
    """Until a journal is open, it is in doubt."""
    code = (
        "import os, sys; from flowd.relay.journal import opening; from flowd.relay.config import Journal;"
        "opening.Store = lambda *_, **__: os.abort(); opening.open_journal(sys.argv[1], Journal(sync='off'))"
    )
    child = subprocess.run([sys.executable, "-c", code, bed.state], env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert child.returncode < 0
    assert read_known(bed.state) == msgspec.structs.replace(bed.known, is_doubtful=True)
    bed.expect_whole()
    assert len(verified) == 1


def set_format(bed: Bed) -> None:
    with lmdb.open(str(bed.data.parent)) as environment, environment.begin(write=True) as transaction:
        transaction.put(FORMAT_KEY, b"3")


def set_version(bed: Bed) -> None:
    for page in (0, 1):
        overwrite(bed.data, page * PAGE + 20, struct.pack("=I", 999))


@pytest.mark.parametrize("change", [set_format, set_version])
@pytest.mark.parametrize("known", [{}, {"is_doubtful": True}, {"is_safe": False, "boot_id": "another"}])
def test_a_journal_of_another_format_is_left_alone(
    bed: Bed, change: Callable[[Bed], None], known: dict[str, Any]
) -> None:
    """However often it is tried: whoever wrote it finds it as it was."""
    change(bed)
    bed.know(**known)
    before = bed.data.read_bytes(), read_known(bed.state)
    for _ in range(3):
        with pytest.raises(OtherFormat) as caught:
            bed.open()
        assert caught.value.exit_code == EXIT_CONFIG
        assert "move the journal away to begin anew" in caught.value.hint
        assert (bed.data.read_bytes(), read_known(bed.state)) == before
    assert not (bed.data.parent / "damaged.mdb").exists()


def test_a_newer_formats_databases_are_not_added_to(bed: Bed) -> None:
    """Its format is looked at before anything is written."""
    bed.data.unlink()
    with (
        lmdb.open(str(bed.data.parent), max_dbs=1) as environment,
        environment.begin(write=True) as transaction,
    ):
        environment.open_db(b"other", transaction)
        transaction.put(FORMAT_KEY, b"3")
    before = bed.data.read_bytes()
    with pytest.raises(OtherFormat, match="the journal has format 3, this flowd reads 1"):
        bed.open()
    assert bed.data.read_bytes() == before


def test_a_journal_directory_that_cannot_be_made_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("not a directory")
    with pytest.raises(JournalFailed) as caught:
        open_journal(tmp_path, OFF)
    assert (caught.value.message, caught.value.exit_code) == (f"{tmp_path}/journal: File exists", EXIT_IO)


def test_a_journal_that_may_not_be_written_ends_the_start(bed: Bed) -> None:
    for path in (bed.data, bed.data.parent / "lock.mdb", bed.data.parent):
        path.chmod(0o500)
    before = bed.data.read_bytes()
    drop = () if os.geteuid() else ("setpriv", "--bounding-set=-all", "--inh-caps=-all")  # else modes hold for nobody
    done = open_apart(bed.state, *drop)
    bed.data.parent.chmod(0o700)
    assert done.stderr.splitlines()[-1] == (
        f"{EXIT_IO} {bed.data.parent}/lock.mdb: Permission denied"
        " | the state directory must be writable by the daemon's user"
    )
    assert bed.data.read_bytes() == before
    for path in (bed.data, bed.data.parent / "lock.mdb"):
        path.chmod(0o600)
    bed.expect_whole()


def test_what_is_known_need_not_be_written(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    """The journal is right; and nothing that promises more than is true is left behind."""
    (bed.state / "journal.new").mkdir()
    bed.expect_whole()
    assert "what is known of it cannot be written" in caplog.text
    assert read_known(bed.state) is None
    opened = bed.open(Journal(sync="commit"))
    assert opened.loss is None
    opened.store.close()


def test_verifying_that_comes_to_nothing_throws_nothing_away(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bed.data.read_bytes()
    bed.know(is_doubtful=True)
    monkeypatch.setattr(inspection.sys, "executable", "/bin/false")
    with pytest.raises(JournalFailed, match=r"the journal could not be verified, exit code 1"):
        bed.open()
    monkeypatch.setattr(inspection.sys, "executable", str(bed.state / "nothing"))
    with pytest.raises(JournalFailed, match=r"No such file"):
        bed.open()
    monkeypatch.undo()
    monkeypatch.setattr(inspection, "VERIFY_S", 0.0)
    monkeypatch.setattr(inspection, "VERIFY_BYTES_S", 1e12)
    with pytest.raises(JournalFailed, match=r"the journal could not be read in time"):
        bed.open()
    monkeypatch.undo()
    assert bed.data.read_bytes() == before
    bed.expect_whole()


@pytest.mark.parametrize(
    ("max_bytes", "said"), [(1 << 62, "a smaller max_bytes, or a higher limit"), (1 << 70, "give a smaller max_bytes")]
)
def test_a_journal_that_is_larger_than_anything_says_so(tmp_path: Path, max_bytes: int, said: str) -> None:
    with pytest.raises(JournalFailed) as caught:
        open_journal(tmp_path, Journal(sync="off", max_bytes=max_bytes))
    assert said in caught.value.hint


def test_a_journal_is_used_with_whatever_size_it_may_have(tmp_path: Path) -> None:
    """Made large, then small, then large again."""
    for max_bytes in (1 << 36, 1 << 20, 1 << 36):
        with stored(tmp_path, max_bytes) as store:
            append(store, LINE)
    with stored(tmp_path) as store:
        assert read_stream(store) == [LINE] * 3
