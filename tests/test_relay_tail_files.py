"""flowd.relay.tail over real files: every line once, however a log is rotated, over restarts and kills."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tail_bed import Bed, LogFile, compress, lines_of, numbered

from flowd.relay.tail.places import pack_place, unpack_places
from flowd.relay.tail.reader import Cut, LineReader

STYLES = ("number", "lumberjack", "date")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "logs"
    path.mkdir()
    return path


@pytest.fixture
def log(folder: Path) -> Iterator[LogFile]:
    file = LogFile(folder / "flows.log")
    yield file
    file.close()


@pytest.fixture
def follow(folder: Path) -> Iterator[Callable[..., Bed]]:
    """Makes beds that follow globs in the folder."""
    beds: list[Bed] = []

    def make(*globs: str) -> Bed:
        beds.append(Bed({"flows": [str(folder / pattern) for pattern in globs or ("flows.log",)]}))
        return beds[-1]

    yield make
    for bed in beds:
        bed.kill()


Follow = Callable[..., Bed]


def test_a_file_is_read_from_its_beginning_and_then_followed(follow: Follow, log: LogFile) -> None:
    log.write(numbered(1, 3))
    bed = follow()
    assert bed.take_lines() == lines_of(numbered(1, 3))
    log.write(numbered(4, 5))
    assert bed.take_lines() == lines_of(numbered(4, 5))
    assert bed.take_lines() == []


def test_what_is_in_a_line_does_not_matter(follow: Follow, log: LogFile) -> None:
    odd = b"\n\nwith \0 in it\n\xff\xfe\xc3\x28\nDOS\r\n\r\n \n"
    log.write(odd)
    bed = follow()
    bed.settle()
    assert b"".join(chunk.lines for chunk in bed.chunks) == odd


def test_at_the_first_start_files_that_were_rotated_before_are_not_read(follow: Follow, log: LogFile) -> None:
    for number in range(4):
        log.write(numbered(number, number, "old"))
        log.rotate()
    compress(log.path.with_name("flows.log.4"))
    log.write(numbered(1, 1))
    bed = follow()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 1))
    bed.restart()
    log.write(numbered(2, 2))
    log.rotate()
    compress(log.path.with_name("flows.log.2"))  # of the old ones: it gets another inode
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 2))


def test_nothing_is_read_again_after_a_kill_before_the_first_lines_were_stored(follow: Follow, log: LogFile) -> None:
    log.write(numbered(1, 3))
    bed = follow()
    bed.look()
    bed.restart()
    assert bed.take_lines() == lines_of(numbered(1, 3))


def test_a_kill_before_storing_reads_again_and_one_after_it_does_not(follow: Follow, log: LogFile) -> None:
    log.write(numbered(1, 3))
    bed = follow()
    bed.settle()
    log.write(numbered(4, 6))
    bed.look()
    bed.restart()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 6))
    bed.restart()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 6))


@pytest.mark.parametrize("style", STYLES)
def test_the_rest_of_a_renamed_file_comes_before_the_new_one(follow: Follow, folder: Path, style: str) -> None:
    log = LogFile(folder / "flows.log", style)
    bed = follow()
    bed.settle()
    for first in range(1, 60, 10):
        log.write(numbered(first, first + 4))
        if first > 20:
            bed.settle()
        log.write(numbered(first + 5, first + 9))
        log.rotate()
    log.write(numbered(61, 65))
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 65))
    assert bed.count("rotations", kind="renamed") >= 1


@pytest.mark.parametrize("style", STYLES)
def test_several_rotations_while_the_daemon_is_down_are_read_in_their_order(
    follow: Follow, folder: Path, style: str
) -> None:
    log = LogFile(folder / "flows.log", style)
    log.write(numbered(1, 10))
    bed = follow()
    bed.settle()
    bed.kill()
    for first in range(11, 60, 10):
        log.write(numbered(first, first + 9))
        log.rotate()
    log.write(numbered(61, 70))
    bed.start()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 70))
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 70))


def test_the_whole_of_a_chain_can_be_a_glob(follow: Follow, log: LogFile) -> None:
    bed = follow("flows.log*", "*.log")
    bed.settle()
    for first in range(1, 40, 10):
        log.write(numbered(first, first + 9))
        bed.settle()
        log.rotate()
        bed.restart()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 40))


def test_a_late_writer_is_heard_in_the_file_that_was_rotated_away(follow: Follow, log: LogFile) -> None:
    bed = follow()
    bed.settle()
    log.write(numbered(1, 2))
    rotated = log.rotate()
    log.write(numbered(11, 12))
    bed.settle()
    with open(rotated, "ab") as late:
        late.write(numbered(3, 4))
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 2) + numbered(11, 12) + numbered(3, 4))
    bed.pass_linger()
    with open(rotated, "ab") as late:  # long after it was given up
        late.write(numbered(5, 5))
    assert bed.take_lines()[-1:] == lines_of(numbered(5, 5))


def test_a_partial_line_waits_for_its_rest(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(b"one\nbegun")
    assert bed.take_lines() == [b"one"]
    bed.pass_linger()
    bed.restart()
    assert bed.take_lines() == []
    log.write(b" and ended\ntwo\n")
    assert bed.take_lines() == [b"begun and ended", b"two"]


def test_a_partial_line_is_taken_as_it_is_when_its_file_was_rotated_away_and_is_quiet(
    follow: Follow, log: LogFile
) -> None:
    bed = follow()
    log.write(b"one\nbegun")
    bed.settle()
    log.rotate()
    log.write(b"two\n")
    bed.settle()
    assert bed.lines() == [b"one", b"two"]
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == [b"one", b"two", b"begun"]
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == [b"one", b"two", b"begun"]


def test_copytruncate_is_followed_while_running(follow: Follow, log: LogFile) -> None:
    bed = follow()
    for first in range(1, 40, 10):
        log.write(numbered(first, first + 4))
        bed.settle()
        log.write(numbered(first + 5, first + 9))
        log.copytruncate()
    log.write(numbered(41, 45))
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 45))
    assert bed.count("rotations", kind="truncated") == 4
    assert bed.count("lost_bytes") == 0


def test_a_look_between_the_copy_and_its_truncation_reads_nothing_twice(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 100))
    bed.settle()
    log.write(numbered(101, 200))
    copy = log.copy()
    with open(copy, "r+b") as half_done:
        half_done.truncate(700)
    bed.look()
    shutil.copyfile(log.path, copy)
    bed.look()
    log.truncate()
    log.write(numbered(201, 203))
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 203))


def test_what_was_written_between_copy_and_truncation_and_read_in_time_is_not_read_again(
    follow: Follow, log: LogFile
) -> None:
    bed = follow()
    log.write(numbered(1, 10))
    log.copy()
    bed.settle()
    log.write(numbered(11, 12))
    bed.settle()
    log.truncate()
    log.write(numbered(13, 14))
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 14))


def test_copytruncate_while_the_daemon_is_down_is_found_in_the_copy(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 10))
    bed.settle()
    bed.kill()
    log.write(numbered(11, 20))
    log.copytruncate()
    log.write(numbered(21, 60))  # longer than what was read before
    log.copytruncate()
    log.write(numbered(61, 90))
    bed.start()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 90))
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 90))


def test_a_truncation_without_a_copy_is_counted_with_what_was_lost(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 10))
    bed.settle()
    log.write(b"a partial line")
    bed.settle()
    log.truncate()
    log.write(numbered(11, 12))
    assert bed.take_lines() == lines_of(numbered(1, 12))
    assert bed.count("rotations", kind="truncated") == 1
    assert bed.count("lost_bytes") == len(b"a partial line")


def test_a_file_written_anew_to_the_same_length_is_recognised(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 3))
    bed.settle()
    log.truncate()
    log.write(numbered(4, 6))
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 6))


def test_a_file_deleted_and_made_again_is_read_from_its_beginning(follow: Follow, log: LogFile) -> None:
    bed = follow()
    for number in range(1, 20):
        log.write(numbered(number, number))
        bed.restart()  # no descriptor of it is left open: the file system may use the inode again
        bed.settle()
        bed.kill()
        log.recreate()
        bed.start()
    assert bed.lines() == lines_of(numbered(1, 19))


def test_what_a_deleted_file_still_had_is_read_from_its_descriptor(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 2))
    bed.settle()
    log.write(numbered(3, 4))
    log.recreate()
    log.write(numbered(5, 6))
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 6))
    assert bed.describe()["open_files"] == 2
    bed.pass_linger()
    assert bed.describe()["open_files"] == 1
    assert bed.count("rotations", kind="vanished") == 1
    assert bed.count("lost_bytes") == 0


def test_a_file_that_was_deleted_while_the_daemon_was_down_is_missed_in_the_log(
    follow: Follow, log: LogFile, caplog: pytest.LogCaptureFixture
) -> None:
    bed = follow()
    log.write(numbered(1, 2))
    bed.settle()
    bed.kill()
    log.recreate()
    log.write(b"a fresh file\n")
    bed.start()
    bed.settle()
    assert bed.lines() == [*lines_of(numbered(1, 2)), b"a fresh file"]
    assert bed.count("rotations", kind="truncated") + bed.count("rotations", kind="vanished") == 1
    assert f"what was written after byte {len(numbered(1, 2))} is lost" in caplog.text


def test_an_inode_that_is_used_again_for_a_rotated_file_gives_it_no_past(follow: Follow, log: LogFile) -> None:
    """A file of which nothing was read yet is compressed, and a copy of another gets its inode and its name."""
    bed = follow()
    bed.settle()
    log.write(b"first, and partial")
    rotated = log.rotate()
    bed.settle()
    log.write(numbered(1, 2) + b"second, and partial")
    bed.kill()
    compress(rotated)
    log.copy()
    bed.start()
    bed.pass_linger()
    assert sorted(bed.lines()) == [b"first, and partial", *lines_of(numbered(1, 2))]


def test_a_file_replaced_by_an_empty_one_is_followed_on(follow: Follow, log: LogFile, folder: Path) -> None:
    bed = follow()
    log.write(numbered(1, 2))
    bed.settle()
    (folder / "empty").touch()
    (folder / "empty").rename(log.path)
    bed.settle()
    with open(log.path, "ab") as new:
        new.write(numbered(3, 4))
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 4))


@pytest.mark.parametrize("read_before", [0, 5, 10])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_rotated_file_that_was_compressed_is_read_on_from_where_it_was(
    follow: Follow, log: LogFile, read_before: int, is_running: bool
) -> None:
    log.write(numbered(1, read_before))
    bed = follow()
    bed.settle()
    bed.kill()  # else the descriptor would do
    log.write(numbered(read_before + 1, 10))
    log.rotate()
    log.write(numbered(11, 20))
    if is_running:
        bed.start()
        bed.settle()
    compress(log.rotate())
    compress(log.path.with_name("flows.log.2"))
    log.write(numbered(21, 25))
    if not is_running:
        bed.start()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 25))
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 25))
    assert bed.count("lost_bytes") == 0


def test_a_compressed_file_that_was_read_before_is_not_read_again(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 5000))
    bed.settle()
    rotated = log.rotate()
    log.write(numbered(5001, 5002))
    bed.pass_linger()
    packed = compress(rotated)
    bed.pass_linger()
    bed.restart()
    bed.pass_linger()
    packed.rename(packed.with_name("flows.log.7.gz"))
    bed.restart()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(1, 5002))


def test_a_rotated_file_that_somebody_decompresses_to_look_at_it_is_not_read_again(
    follow: Follow, log: LogFile
) -> None:
    log.write(numbered(1, 3, "old"))
    old = compress(log.rotate())
    bed = follow()
    log.write(numbered(1, 50))
    bed.settle()
    read = compress(log.rotate())
    bed.pass_linger()
    for packed in (old.with_name("flows.log.2.gz"), read):
        plain = packed.with_suffix("")
        with open(plain, "wb") as output:
            output.write(gzip.decompress(packed.read_bytes()))
        found = packed.stat()
        os.utime(plain, ns=(found.st_atime_ns, found.st_mtime_ns))
        bed.pass_linger()  # both are there, as zcat leaves it
        packed.unlink()
        bed.pass_linger()  # as gunzip does
    assert bed.lines() == lines_of(numbered(1, 50))


def test_a_path_and_its_folder_may_come_later(follow: Follow, folder: Path) -> None:
    bed = follow("later/flows.log")
    bed.settle()
    bed.restart()
    (folder / "later").mkdir()
    bed.settle()
    log = LogFile(folder / "later" / "flows.log")
    log.write(numbered(1, 2))
    log.rotate()  # before it was ever seen: it has come since, so it is read
    log.write(numbered(3, 4))
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 4))


def test_files_of_a_glob_come_and_go(follow: Follow, folder: Path) -> None:
    bed = follow("*/*.log")
    expected = []
    for number in range(30):
        pod = folder / f"pod-{number}"
        pod.mkdir()
        (pod / "0.log").write_bytes(numbered(number, number, "first"))
        bed.settle()
        with open(pod / "0.log", "ab") as output:
            output.write(numbered(number, number, "second"))
        (pod / "0.log").rename(pod / "0.log.20240101-120000")
        (pod / "0.log").write_bytes(numbered(number, number, "third"))
        bed.settle()
        expected += [*lines_of(b"".join(numbered(number, number, word) for word in ("first", "second", "third")))]
        if number % 2:
            shutil.rmtree(pod)
        if number % 7 == 0:
            bed.restart()
    bed.pass_linger()
    assert bed.lines() == expected
    bed.now_s += 1000
    bed.settle()
    assert len(bed.places) == 2 * 15 + 1  # what is not there any more is not remembered for ever


def test_names_that_are_passed_on_among_files_of_a_glob_pass_no_line_twice(follow: Follow, folder: Path) -> None:
    """As Java's loggers do it: app.0.log becomes app.1.log, and the glob has both."""
    bed = follow("app.*.log")
    for first in range(1, 50, 10):
        for number in range(8, -1, -1):
            if (folder / f"app.{number}.log").exists():
                (folder / f"app.{number}.log").rename(folder / f"app.{number + 1}.log")
        (folder / "app.0.log").write_bytes(numbered(first, first + 9))
        bed.settle()
        bed.restart()
    assert bed.lines() == lines_of(numbered(1, 50))


def test_two_globs_and_a_hard_link_are_one_file(follow: Follow, log: LogFile, folder: Path) -> None:
    os.link(log.path, folder / "same.log")
    bed = follow("*.log", "flows.*", "flows.log")
    log.write(numbered(1, 5))
    assert bed.take_lines() == lines_of(numbered(1, 5))


def test_two_streams_read_the_same_file_each_for_itself(log: LogFile) -> None:
    bed = Bed({"flows": [str(log.path)], "copy": [str(log.path)]})
    log.write(numbered(1, 5))
    bed.settle()
    assert bed.lines("flows") == bed.lines("copy") == lines_of(numbered(1, 5))
    bed.restart()
    bed.settle()
    assert bed.lines("flows") == bed.lines("copy") == lines_of(numbered(1, 5))
    bed.kill()


def test_a_link_is_followed_to_where_the_file_is_rotated(follow: Follow, folder: Path) -> None:
    """As the kubelet has it: containers/NAME.log leads to pods/…/0.log, which is rotated there."""
    (folder / "pods").mkdir()
    (folder / "containers").mkdir()
    log = LogFile(folder / "pods" / "0.log", "date")
    (folder / "containers" / "shop.log").symlink_to(log.path)
    (folder / "containers" / "same.log").symlink_to("../pods/0.log")
    bed = follow("containers/*.log")
    log.write(numbered(1, 5))
    bed.settle()
    bed.kill()
    log.write(numbered(6, 10))
    log.rotate()
    log.write(numbered(11, 15))
    log.rotate()
    log.write(numbered(16, 20))
    bed.start()
    bed.settle()
    assert bed.lines() == lines_of(numbered(1, 20))
    log.close()


def test_a_link_that_leads_elsewhere_is_followed_after_the_rest_of_the_old_file(follow: Follow, folder: Path) -> None:
    link = folder / "current.log"
    (folder / "app-3.txt").write_bytes(numbered(1, 2))
    link.symlink_to("app-3.txt")
    bed = follow("current.log")
    bed.settle()
    bed.kill()
    with open(folder / "app-3.txt", "ab") as old:
        old.write(numbered(3, 4))
    (folder / "app-4.txt").write_bytes(numbered(5, 6))
    link.unlink()
    link.symlink_to("app-4.txt")
    bed.start()
    bed.pass_linger()
    assert sorted(bed.lines()) == lines_of(numbered(1, 6))
    link.unlink()
    link.symlink_to("app-3.txt")
    bed.pass_linger()
    with open(folder / "app-3.txt", "ab") as old:
        old.write(numbered(7, 7))
    bed.settle()
    assert sorted(bed.lines()) == lines_of(numbered(1, 7))


def test_a_device_that_gets_another_number_changes_nothing(follow: Follow, log: LogFile) -> None:
    log.write(numbered(1, 3, "old"))
    compress(log.rotate())
    log.write(numbered(1, 200))
    log.rotate()
    bed = follow()
    log.write(numbered(201, 202))
    bed.settle()
    bed.kill()
    stored, _ = unpack_places(bed.places, ["flows"])
    for key, place in stored["flows"].files.items():
        bed.places[key] = pack_place(msgspec.structs.replace(place, device=place.device + 1))
    log.write(numbered(203, 204))
    bed.start()
    bed.pass_linger()
    assert bed.lines() == lines_of(numbered(201, 204))


def test_a_glob_that_is_configured_no_more_is_not_read_and_goes_on_when_it_comes_back(
    follow: Follow, log: LogFile, folder: Path
) -> None:
    other = LogFile(folder / "dns.log")
    bed = follow("flows.log", "dns.log")
    log.write(numbered(1, 2))
    other.write(numbered(1, 2, "dns"))
    bed.settle()
    bed.kill()
    both, bed.globs = bed.globs, {"flows": [str(log.path)]}
    bed.start()
    other.write(numbered(3, 4, "dns"))
    log.write(numbered(3, 4))
    bed.settle()
    assert [line for line in bed.lines() if line.startswith(b"dns")] == lines_of(numbered(1, 2, "dns"))
    bed.kill()
    bed.globs = both
    bed.start()
    bed.settle()
    assert [line for line in bed.lines() if line.startswith(b"dns")] == lines_of(numbered(1, 4, "dns"))
    other.close()


def test_the_status_tells_how_far_each_file_is(follow: Follow, log: LogFile) -> None:
    bed = follow()
    log.write(numbered(1, 10))
    size = len(numbered(1, 10))
    bed.look()
    bed.now_s += 7
    described = bed.describe()
    assert described["files"] == [
        {
            "stream": "flows",
            "path": str(log.path),
            "is_rotated": False,
            "offset": 0,
            "read_offset": size,
            "size": size,
            "lag_bytes": size,
            "lag_s": 7.0,
        }
    ]
    assert (described["lag_bytes"], described["lag_s"]) == (size, 7.0)
    bed.settle()
    described = bed.describe()
    assert (described["lag_bytes"], described["lag_s"], described["files"][0]["offset"]) == (0, 0.0, size)


def test_what_is_read_while_the_file_is_truncated_is_not_taken_from_the_wrong_one(
    follow: Follow, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is truncated, and written anew beyond the offset, just before a read or just after it."""
    bed = follow()
    log.write(numbered(1, 10))
    bed.settle()
    real_read = LineReader.read
    before: list[bytes] = []
    after: list[bytes] = []

    def read(*arguments: Any, **named: Any) -> Cut | None:
        rotate_with(before)
        cut = real_read(*arguments, **named)
        rotate_with(after)
        return cut

    def rotate_with(new_lines: list[bytes]) -> None:
        if new_lines:
            log.copytruncate()
            log.write(new_lines.pop())

    monkeypatch.setattr(LineReader, "read", read)
    log.write(numbered(11, 20))
    before.append(numbered(21, 90))
    bed.look()
    bed.settle()
    assert not before
    log.write(numbered(91, 100))
    after.append(numbered(101, 300))
    bed.look()
    bed.pass_linger()
    assert not after
    assert bed.lines() == lines_of(numbered(1, 300))
    assert bed.count("lost_bytes") == 0
