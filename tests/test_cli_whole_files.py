"""Plain files as `flowd filter` takes them: where they begin and end, who interrupts it, and what memory it needs."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, FLOWD, environment, flowd, follow_peak_bytes, started, text_line

import flowd as library

FILTERS = library.compile(DEV_FILTER)
KEPT, DROPPED = text_line("shop"), text_line("dev")


def some_lines(number: int) -> bytes:
    return b"".join(text_line("dev" if n % 3 == 0 else "shop", n) for n in range(number))


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Some stretches of lines, every third dropped."""
    path = tmp_path / "many.log"
    path.write_bytes(some_lines(30_000))
    return path


def test_a_redirected_file_is_read_from_where_it_stands_to_its_end(filters: Path, many: Path) -> None:
    content = many.read_bytes()
    with many.open("rb", buffering=0) as given:
        given.seek(len(DROPPED))
        command = [*FLOWD, "filter", "-f", str(filters)]
        done = subprocess.run(command, stdin=given, capture_output=True, env=environment(), check=True)
        assert given.tell() == len(content)
    assert done.stdout == FILTERS.filter(content[len(DROPPED) :])


def test_pipes_with_names_and_files_that_the_system_makes_are_read_in_order(filters: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with started("filter", "-f", filters, tmp_path / "pipe", "--threads", "2") as child:
        assert child.stdout is not None
        (tmp_path / "pipe").write_bytes(KEPT + DROPPED)
        assert child.stdout.read() == KEPT
    assert flowd("filter", "-f", filters, "/proc/version").stdout == Path("/proc/version").read_bytes()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_reader_that_goes_ends_it_quietly(filters: Path, many: Path, threads: str) -> None:
    with started("filter", "-f", filters, "--threads", threads, *[many] * 10) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(100)
        child.stdout.close()
        assert child.wait(DEADLINE_S) == -signal.SIGPIPE
        assert child.stderr.read() == b""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_it_is_interrupted_while_nobody_reads(filters: Path, many: Path, threads: str) -> None:
    with started("filter", "-f", filters, "--threads", threads, *[many] * 10) as child:
        assert child.stdout is not None
        assert select.select([child.stdout], [], [], DEADLINE_S)[0]
        child.send_signal(signal.SIGINT)
        assert child.wait(DEADLINE_S) == 130


@pytest.mark.parametrize("threads", ["1", "3"])
def test_an_output_that_does_not_wait_gets_every_line(filters: Path, many: Path, threads: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with subprocess.Popen([*FLOWD, "filter", "-f", filters, "--threads", threads, many], stdout=writing,
                          env=environment()) as child:  # fmt: skip
        os.close(writing)
        got = b""
        while piece := os.read(reading, 10_000):
            got += piece
        assert child.wait(DEADLINE_S) == 0
    os.close(reading)
    assert got == FILTERS.filter(many.read_bytes())


def test_the_pipe_behind_it_is_made_wide(filters: Path) -> None:
    with started("filter", "-f", filters) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(KEPT)
        child.stdin.flush()
        assert child.stdout.read(len(KEPT)) == KEPT
        assert fcntl.fcntl(child.stdout, fcntl.F_GETPIPE_SZ) == 1 << 20


def peak_bytes(*command: str | Path) -> int:
    """The most memory that a process held."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) as child:
        peak = follow_peak_bytes(child)
    assert child.returncode == 0
    assert peak
    return peak


def test_memory_does_not_grow_with_the_file(filters: Path, many: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.log"
    large.write_bytes(many.read_bytes() * 24)
    command = [*FLOWD, "filter", "-f", filters, "--threads", "2"]
    assert large.stat().st_size > 60 << 20
    assert peak_bytes(*command, large) < peak_bytes(*command, many) + (8 << 20)
