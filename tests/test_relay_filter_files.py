"""flowd.relay.deciding: filter_files and sample: when a change of files counts, and which lines are remembered."""

from __future__ import annotations

from pathlib import Path

from flowd.relay.deciding.filter_files import FilterFiles, Watch
from flowd.relay.deciding.sample import FIRST_LINES, LINES_BETWEEN, SAMPLE_BYTES, SAMPLE_LINES, WINDOW_BYTES, Sample


def test_half_written_file_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "flow"
    path.write_text("whole")
    files = FilterFiles([str(path)])
    watch = Watch(files.state())
    assert not watch.is_due(files.state())
    path.write_text("hal")
    assert not watch.is_due(files.state()), "it may still be written"
    path.write_text("half more")
    assert not watch.is_due(files.state()), "it was"
    assert watch.is_due(files.state())
    watch.take(files.state())
    assert not watch.is_due(files.state())


def test_change_that_is_taken_back_is_none(tmp_path: Path) -> None:
    files = FilterFiles([str(tmp_path / "flow")])
    watch = Watch(files.state())
    (tmp_path / "flow").write_text("x")
    assert not watch.is_due(files.state())
    (tmp_path / "flow").unlink()
    assert not watch.is_due(files.state())
    (tmp_path / "flow").write_text("x")
    assert not watch.is_due(files.state()), "one look is not two"


def test_swapped_link_is_taken_at_once(tmp_path: Path) -> None:
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "flow").write_text("same")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "flow").symlink_to("..data/flow")
    files = FilterFiles([str(tmp_path)])
    watch = Watch(files.state())
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watch.is_due(files.state())


def test_included_files_belong_to_the_state(tmp_path: Path) -> None:
    files = FilterFiles([str(tmp_path / "flow")])
    files.includes = (str(tmp_path / "*.part"),)
    before = files.state()
    (tmp_path / "a.part").write_text("x")
    assert files.state() != before


def test_sample_holds_whole_lines_of_all_batches() -> None:
    sample = Sample()
    for number in range(50):
        lines = b"".join(b"%d %d\n" % (number, n) for n in range(100))
        sample.add_from(memoryview(lines), 100)
    held = sample.lines()
    assert len(held) == 50 * FIRST_LINES
    assert {int(line.split()[0]) for line in held} == set(range(50))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 and len(line.split()) == 2 for line in held)


def test_sample_is_bounded_and_recent() -> None:
    sample = Sample()
    for number in range(20 * SAMPLE_LINES):
        sample.add_from(b"%d\n" % number * LINES_BETWEEN, LINES_BETWEEN)
    held = [int(line) for line in sample.lines()]
    assert len(held) == SAMPLE_LINES
    assert sum(number > 10 * SAMPLE_LINES for number in held) > 0.95 * SAMPLE_LINES
    wide = Sample()
    for number in range(1000):
        wide.add_from(b"x" * (4000 + number) + b"\n", LINES_BETWEEN)
    assert sum(map(len, wide.lines())) <= SAMPLE_BYTES
    assert len(wide.lines()) > 200


def test_small_batches_are_passed_over_once_there_are_enough_lines() -> None:
    sample = Sample()
    for _ in range(SAMPLE_LINES):
        sample.add_from(b"old\n", 1)
    assert len(sample.lines()) == SAMPLE_LINES // 2 + 1
    for _ in range(10 * LINES_BETWEEN):
        sample.add_from(b"new\n", 1)
    assert sample.lines().count(b"new\n") == 10


def test_sample_passes_over_what_is_no_line_of_reasonable_size() -> None:
    sample = Sample()
    sample.add_from(b"", 0)
    sample.add_from(b"x" * (2 * WINDOW_BYTES) + b"\n", 1)
    assert sample.lines() == []
    sample.add_from(b"x" * (2 * WINDOW_BYTES) + b"\nshort\n", 2)
    assert set(sample.lines()) <= {b"short\n"}
