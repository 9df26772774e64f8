"""A file filtered from descriptor to descriptor: whatever the stretches and threads, the same comes out."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from pathlib import Path

import pytest
from cli_bed import DEV_FILTER, text_line
from hypothesis import given
from hypothesis import strategies as st

import flowd as library
from flowd._core import FileRun
from flowd.cli.filtering.whole_files import do_run, raise_errors
from flowd.cli.output import OutputFailed

FILTERS = library.compile(DEV_FILTER)
KEPT, DROPPED = text_line("shop"), text_line("dev")
PAGE = 4096


def run_over(content: bytes, sink: int, threads: int = 1, **wishes: object) -> tuple[library.FilterSet, FileRun]:
    """A finished run of fresh filters over a file of this content."""
    filters = FILTERS.twin()
    source = os.memfd_create("lines")
    try:
        os.write(source, content)
        run = filters.run_over(source, sink, **wishes)  # type: ignore[arg-type]
        do_run(run, threads, lambda: None)
    finally:
        os.close(source)
    return filters, run


def kept_of(content: bytes, threads: int = 1, **wishes: object) -> bytes:
    """What such a run writes."""
    sink = os.memfd_create("kept")
    try:
        run_over(content, sink, threads, **wishes)
        return os.pread(sink, len(content) + 1, 0)
    finally:
        os.close(sink)


def some_lines(number: int) -> bytes:
    return b"".join(text_line("dev" if n % 3 == 0 else "shop", n) for n in range(number))


LINES = st.lists(
    st.sampled_from((KEPT, DROPPED, b"\n", b"no record\n", KEPT[:-1] + b"\r\n", b"x" * 700 + b"\n", b"{}\n")),
    max_size=30,
)


@given(
    lines=LINES,
    tail=st.sampled_from((b"", KEPT[:-1], DROPPED[:-1], b"x", b"y" * 900)),
    stretch_bytes=st.integers(1, 400),
    threads=st.integers(1, 4),
    invert=st.booleans(),
    malformed=st.sampled_from(("keep", "drop")),
    before=st.sampled_from((b"", b"before\n", b"half of ")),
)
def test_stretches_and_threads_change_nothing(
    lines: list[bytes], tail: bytes, stretch_bytes: int, threads: int, invert: bool, malformed: str, before: bytes
) -> None:
    content = b"".join(lines) + tail
    plain = FILTERS.twin()
    applied = plain.apply(content, invert=invert, malformed=malformed)  # type: ignore[arg-type]
    sink = os.memfd_create("kept")
    try:
        filters, run = run_over(
            before + content, sink, threads, start=len(before), invert=invert, malformed=malformed,
            stretch_bytes=stretch_bytes,
        )  # fmt: skip
        assert os.pread(sink, len(content) + 1, 0) == applied.kept
    finally:
        os.close(sink)
    assert (run.lines, run.kept_lines, run.malformed, run.errors) == applied[1:]
    assert (run.bytes, run.kept_bytes, run.end) == (len(content), len(applied.kept), len(before + content))
    assert run.is_line_open == (applied.kept != b"" and not applied.kept.endswith(b"\n"))
    assert filters.hits == plain.hits


@pytest.mark.parametrize("threads", [1, 3])
def test_a_line_far_longer_than_a_stretch_is_one_line(threads: int) -> None:
    long = KEPT[:-1] + b" " + b"x" * 3_000_000 + b"\n"
    content = KEPT + DROPPED + long + DROPPED + KEPT
    assert kept_of(content, threads, stretch_bytes=1000) == FILTERS.filter(content)


@pytest.mark.parametrize("last", [KEPT, KEPT[:-1], DROPPED])
def test_a_file_of_exactly_so_many_stretches_has_no_more_lines_than_it_has(last: bytes) -> None:
    content = KEPT * 3 + last
    for stretch_bytes in (len(content), len(KEPT), 2 * len(KEPT)):
        assert kept_of(content, 2, stretch_bytes=stretch_bytes) == FILTERS.filter(content)


def test_lines_of_two_files_stay_apart_only_where_there_are_any() -> None:
    assert kept_of(DROPPED + KEPT, is_line_open=True, stretch_bytes=100) == b"\n" + KEPT
    assert kept_of(DROPPED, is_line_open=True) == b""
    assert run_over(DROPPED, -1, is_line_open=True)[1].is_line_open


def test_without_a_sink_lines_are_counted() -> None:
    assert run_over(some_lines(3_000), -1, 2, stretch_bytes=5_000)[1].kept_lines == 2_000


def test_a_stretch_has_at_least_a_byte() -> None:
    with pytest.raises(ValueError, match="stretch_bytes is 0"):
        FILTERS.run_over(0, -1, stretch_bytes=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_grows_is_read_as_one_reader_would_have_read_it(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "grows.log"
    path.write_bytes(some_lines(100))

    def write() -> None:
        with path.open("ab", buffering=0) as growing:
            for number in range(5_000):
                line = text_line("dev" if number % 2 else "shop", number)
                growing.write(line[:50])
                growing.write(line[50:])

    writer = threading.Thread(target=write)
    writer.start()
    read = []
    while writer.is_alive():
        source, sink = os.open(path, os.O_RDONLY), os.memfd_create("kept")
        run = FILTERS.run_over(source, sink, stretch_bytes=300)
        do_run(run, threads, lambda: None)
        read.append((run.end, os.pread(sink, run.end + 1, 0)))
        os.close(source)
        os.close(sink)
    writer.join()
    content = path.read_bytes()
    assert all(kept == FILTERS.filter(content[:end]) for end, kept in read)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_is_truncated_under_its_readers_ends_there(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "shrinks.log"
    content = some_lines(20_000)
    for left in (0, 1, 100_000, 1_000_003):
        path.write_bytes(content)
        source, sink = os.open(path, os.O_RDONLY), os.memfd_create("kept")
        run = FILTERS.run_over(source, sink, stretch_bytes=10_000)
        assert run.work(5)
        os.truncate(path, left)
        do_run(run, threads, lambda: None)
        # What was read behind a stretch for its last line may be older than the truncation.
        assert run.end <= max(left, 60_000)
        assert os.pread(sink, len(content), 0) == FILTERS.filter(content[: run.end])
        assert not run.read_error
        os.close(source)
        os.close(sink)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_file_that_cannot_be_read_further_gives_the_lines_before(tmp_path: Path, threads: int) -> None:
    path = tmp_path / "mapped.log"
    content = some_lines(100)[: 2 * PAGE]
    path.write_bytes(content)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 2 * PAGE) as mapped:
        os.truncate(path, PAGE)  # the system itself now fails to read what the second page was
        view = ctypes.c_char.from_buffer(mapped)
        source, sink = os.open("/proc/self/mem", os.O_RDONLY), os.memfd_create("kept")
        run = FILTERS.run_over(source, sink, ctypes.addressof(view), stretch_bytes=1_000)
        do_run(run, threads, lambda: None)
        del view
    os.close(source)
    whole = content[: content.rindex(b"\n", 0, PAGE) + 1]
    assert os.pread(sink, 2 * PAGE, 0) == FILTERS.filter(whole)
    os.close(sink)
    assert (run.read_error, run.lines) == (errno.EIO, whole.count(b"\n"))
    with pytest.raises(OSError, match=r"Input/output error: 'mapped\.log'"):
        raise_errors(run, "mapped.log")


def test_what_the_output_says_is_raised() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    _, run = run_over(some_lines(1_000), full, 3, stretch_bytes=1_000)
    os.close(full)
    with pytest.raises(OutputFailed, match="standard output: No space left on device"):
        raise_errors(run, "some.log")
    reading, writing = os.pipe()
    os.close(reading)
    _, run = run_over(some_lines(1_000), writing, 3, stretch_bytes=1_000)
    os.close(writing)
    with pytest.raises(BrokenPipeError):
        raise_errors(run, "some.log")


def test_a_run_that_is_stopped_gives_out_no_more() -> None:
    source = os.memfd_create("lines")
    os.write(source, KEPT * 100)
    run = FILTERS.run_over(source, -1, stretch_bytes=len(KEPT))
    assert run.work(10)
    run.stop()
    assert not run.work(10)
    os.close(source)
    assert run.lines == 10
