"""flowd.relay.tail and what should not be there: endless lines, FIFOs, loops, damage, thousands of files."""

from __future__ import annotations

import gzip
import logging
import os
import random
import secrets
import socket
import tracemalloc
from pathlib import Path

import pytest
from tail_bed import Bed, LogFile, compress, lines_of, numbered

from flowd.relay.tail.handles import OPEN_MAX
from flowd.relay.tail.survey import Survey
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES, PAYLOAD_MAX_BYTES

MIB = 1 << 20


def follow(folder: Path, pattern: str = "*.log") -> Bed:
    return Bed({"flows": [str(folder / pattern)]})


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_lines_up_to_the_limit_are_carried_alone_and_longer_ones_are_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_compressed: bool
) -> None:
    bed = follow(tmp_path)
    log = LogFile(tmp_path / "flows.log")
    bed.settle()
    bed.kill()
    lines = [b"a" * (BATCH_BYTES - 1), b"b" * BATCH_BYTES, b"short", b"c" * LINE_MAX_BYTES, b"short, too"]
    log.write(b"\n".join([*lines, b"d" * PAYLOAD_MAX_BYTES, b"e" * (10 * MIB), b"after it", b""]))
    if is_compressed:
        compress(log.rotate())
    bed.start()
    bed.settle()
    assert bed.lines() == [*lines, b"after it"]
    assert max(len(chunk.lines) for chunk in bed.chunks) == PAYLOAD_MAX_BYTES
    assert bed.count("skipped_lines", reason="too_long") == 2
    begin = sum(len(line) + 1 for line in lines)
    assert f"flows.log{'.1.gz' if is_compressed else ''}: the line at byte {begin} is longer" in caplog.text
    bed.restart()
    log.write(b"and on\n")
    assert bed.take_lines()[-1:] == [b"and on"]
    assert bed.count("skipped_lines", reason="too_long") == 0
    bed.kill()


def test_a_line_of_any_length_is_never_in_memory(tmp_path: Path) -> None:
    with open(tmp_path / "flows.log", "wb") as output:
        output.write(b"before\n")
        for _ in range(64):
            output.write(b"x" * MIB)
        output.write(b"\nafter\n")
    bed = follow(tmp_path)
    tracemalloc.start()
    bed.settle()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bed.lines() == [b"before", b"after"]
    assert peak_bytes < 4 * MIB
    bed.kill()


def test_a_line_that_is_being_skipped_goes_on_being_skipped_after_a_restart(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    log.write(b"x" * (6 * MIB))
    bed = follow(tmp_path)
    bed.settle()
    for _ in range(3):
        bed.restart()
        log.write(b"y" * MIB)
        bed.settle()
        assert bed.count("skipped_lines", reason="too_long") == 0
    log.write(b"\nafter\n")
    bed.settle()
    assert bed.lines() == [b"after"]
    assert bed.describe()["lag_bytes"] == 0
    bed.kill()


def test_a_long_line_that_comes_in_pieces_is_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    bed = follow(tmp_path)
    for _ in range(30):
        log.write(b"x" * 100_000)
        bed.settle()
    assert bed.lines() == []
    log.write(b"\nnext\n")
    assert bed.take_lines() == [b"x" * 3_000_000, b"next"]
    bed.kill()


def test_what_is_no_regular_file_is_said_once_and_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "fifo.log")
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "loop.log").symlink_to("pool.log")
    (tmp_path / "pool.log").symlink_to("loop.log")
    (tmp_path / "nowhere.log").symlink_to("missing")
    (tmp_path / "empty.log").touch()
    os.mkfifo(tmp_path / "good.log.1")
    (tmp_path / "good.log").write_bytes(numbered(1, 2))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.log"))
        bed = follow(tmp_path)
        for _ in range(5):
            bed.settle()
    assert bed.lines() == lines_of(numbered(1, 2))
    assert bed.count("errors", reason="not_regular") == said(caplog, "not a regular file") == 3
    assert bed.count("errors", reason="loop") == 2
    (tmp_path / "fifo.log").unlink()
    (tmp_path / "fifo.log").write_bytes(b"a file by now\n")
    assert bed.take_lines()[-1:] == [b"a file by now"]
    bed.kill()


def test_a_file_that_cannot_be_opened_is_read_when_it_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows.log").write_bytes(numbered(1, 2))
    (tmp_path / "other.log").write_bytes(numbered(1, 2, "other"))
    real_open = os.open

    def open_not(path: str, flags: int) -> int:
        if path.endswith("flows.log"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags)

    monkeypatch.setattr("flowd.relay.tail.content.os.open", open_not)
    bed = follow(tmp_path)
    for _ in range(5):
        bed.settle()
    assert bed.lines() == lines_of(numbered(1, 2, "other"))
    assert bed.count("errors", reason="permission") == said(caplog, "Permission denied") == 1
    monkeypatch.undo()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 2, "other") + numbered(1, 2))
    bed.kill()


def test_an_error_while_reading_leaves_the_file_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "flows.log")
    bed = follow(tmp_path)
    log.write(numbered(1, 2))
    bed.settle()
    log.write(numbered(3, 4))

    def fail(*_: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("flowd.relay.tail.content.os.pread", fail)
    for _ in range(3):
        bed.settle()
    assert bed.count("errors", reason="io") == 1
    monkeypatch.undo()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 4))
    bed.kill()


def test_a_folder_that_cannot_be_listed_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bed = follow(tmp_path)

    def fail(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("flowd.relay.tail.survey.os.scandir", fail)
    for _ in range(3):
        bed.settle()
    assert bed.count("errors", reason="permission") == 1
    bed.kill()


def test_a_glob_that_cannot_be_a_path_is_said_once(tmp_path: Path) -> None:
    bed = Bed({"flows": [str(tmp_path / "a\0b.log"), str(tmp_path / "*\0.log"), str(tmp_path / "good.log")]})
    (tmp_path / "good.log").write_bytes(numbered(1, 2))
    for _ in range(3):
        bed.settle()
    assert bed.lines() == lines_of(numbered(1, 2))
    assert bed.count("errors", reason="other") >= 1
    bed.kill()


def test_thousands_of_files_take_a_bounded_number_of_descriptors(tmp_path: Path) -> None:
    bed = follow(tmp_path)
    bed.settle()
    for round_number in range(3):
        for number in range(2000):
            with open(tmp_path / f"{number:04}.log", "ab") as output:
                output.write(numbered(number, number, f"round{round_number}"))
        before = len(os.listdir("/proc/self/fd"))
        bed.settle()
        assert len(os.listdir("/proc/self/fd")) - before <= OPEN_MAX
        if round_number == 1:
            bed.restart()
    assert bed.describe()["open_files"] <= OPEN_MAX
    assert len(bed.lines()) == 6000
    assert sorted(bed.lines()) == sorted(
        line for n in range(2000) for r in range(3) for line in lines_of(numbered(n, n, f"round{r}"))
    )
    assert len(bed.chunks) < 20  # lines of several files share a batch
    described = bed.describe()
    assert (described["followed_files"], len(described["files"])) == (2000, 500)
    bed.kill()


def test_compressed_files_are_not_followed_by_themselves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "flows.log.2.xz").write_bytes(b"\xfd7zXZ\n")
    (tmp_path / "alone.gz").write_bytes(gzip.compress(numbered(1, 2)))
    (tmp_path / "flows.log").write_bytes(numbered(1, 2))
    bed = follow(tmp_path, "*")
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 2))
    assert bed.count("errors", reason="compressed") == said(caplog, "compressed") == 2
    bed.kill()


def test_a_damaged_compressed_file_gives_what_can_be_read(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    bed = follow(tmp_path)
    bed.settle()
    bed.kill()
    seeded = random.Random(1)  # so that the half ends in the middle of a line, always
    random_lines = b"".join(seeded.randbytes(50).hex().encode() + b"\n" for _ in range(20_000))
    log.write(random_lines)
    packed = compress(log.rotate())
    whole = packed.read_bytes()
    packed.write_bytes(whole[: len(whole) // 2])
    log.write(numbered(1, 2))
    bed.start()
    bed.pass_linger()
    found = bed.lines()
    packed_lines, rest = found[:-3], found[-3:]
    assert 1000 < len(packed_lines) < 20_000
    assert packed_lines == lines_of(random_lines)[: len(packed_lines)]
    assert rest[:2] == lines_of(numbered(1, 2))  # what is written does not wait for what may never come
    assert random_lines.startswith(b"\n".join([*packed_lines, rest[2]]))
    assert bed.count("errors", reason="gzip") == 1
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == found
    bed.kill()


def test_a_gzip_file_of_several_members_is_one_file(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    bed = follow(tmp_path)
    bed.settle()
    bed.kill()
    log.rotate()
    with open(tmp_path / "flows.log.1.gz", "wb") as output:
        for number in range(1, 300):
            output.write(gzip.compress(numbered(number, number)))
        output.write(bytes(100))  # padding, as tapes have it
    (tmp_path / "flows.log.1").unlink()
    bed.start()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 299))
    bed.kill()


def test_stored_places_that_cannot_be_read_are_counted_and_ignored(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "flows.log")
    log.write(numbered(1, 2))
    bed = follow(tmp_path)
    bed.settle()
    bed.kill()
    good = dict(bed.places)
    bad = [b"", b"\xc1", b"\x93\xa6file-9\x01\x02", b"\x91" * 5000, secrets.token_bytes(100)]
    bad += [value[:-1] for value in good.values()]
    bed.places.update({b"bad %d" % number: value for number, value in enumerate(bad)})
    log.write(numbered(3, 4))
    bed.start()
    assert bed.count("errors", reason="place") == len(bad)
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 4))
    bed.kill()


def test_a_file_system_whose_clock_stands_still_hides_no_truncation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(tmp_path / "flows.log")
    bed = follow(tmp_path)
    real_see = Survey._see

    def see(*arguments: object, **named: object) -> object:
        found = real_see(*arguments, **named)  # type: ignore[arg-type]
        return found and found._replace(stamp=found.stamp._replace(time_ns=log.path.parent.stat().st_mtime_ns))

    monkeypatch.setattr(Survey, "_see", see)
    for number in range(10):
        log.write(numbered(number, number))
        bed.settle()
        log.truncate()
    assert bed.lines() == lines_of(numbered(0, 9))
    bed.kill()
