"""Archives, opened by a thread of their own or by the one that filters: what comes out is the same."""

from __future__ import annotations

import gzip
import os
import signal
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from cli_bed import DEADLINE_S, DEV_FILTER, flowd, follow_peak_bytes, started, text_line
from hypothesis import given
from hypothesis import strategies as st

import flowd as library
from flowd.archives.compressed import BadArchive
from flowd.archives.lines import Input, read_batches
from flowd.cli.ahead import read_ahead

FILTERS = library.compile(DEV_FILTER)
KEPT, DROPPED = text_line("shop"), text_line("dev")
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
PADDING = {"gzip": b"\0" * 1000, "zstd": b"\x50\x2a\x4d\x18\x05\0\0\0blank"}
"""What may stand between archives and holds nothing."""


def some_lines(number: int) -> bytes:
    return b"".join(text_line("dev" if n % 3 == 0 else "shop", n) for n in range(number))


def opened(path: str, size: int, *, is_ahead: bool) -> bytes:
    """All lines of a file, in batches of about `size` bytes."""
    read = b""
    with Input(path) as source:
        for batch in read_ahead(source) if is_ahead else read_batches(source, size=size):
            read += bytes(batch.lines)
            batch.release()
    return read


@given(
    kind=st.sampled_from(("gzip", "zstd")),
    members=st.lists(
        st.sampled_from((b"", b"\n", KEPT, KEPT[:30], DROPPED * 900, b"x" * 5000)), min_size=1, max_size=5
    ),
    has_padding=st.booleans(),
    size=st.integers(1, 3000),
    is_ahead=st.booleans(),
)
def test_what_was_compressed_in_pieces_is_opened_as_one(
    kind: str, members: list[bytes], has_padding: bool, size: int, is_ahead: bool
) -> None:
    between = PADDING[kind] if has_padding else b""
    with tempfile.NamedTemporaryFile() as file:
        file.write(between.join(COMPRESS[kind](member) for member in members) + between)
        file.flush()
        assert opened(file.name, size, is_ahead=is_ahead) == b"".join(members)


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    path = tmp_path / "flow.conf"
    path.write_text(DEV_FILTER)
    return path


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("threads", ["0", "1", "3"])
@pytest.mark.parametrize("wish", [[], ["--count"], ["--malformed", "fail"]])
def test_threads_change_nothing(filters: Path, tmp_path: Path, kind: str, threads: str, wish: list[str]) -> None:
    lines = some_lines(20_000)
    (tmp_path / "a").write_bytes(COMPRESS[kind](lines) + COMPRESS[kind](KEPT[:-1]))
    done = flowd("filter", "-f", filters, "--threads", threads, *wish, "a", cwd=tmp_path)
    kept = FILTERS.filter(lines + KEPT[:-1])
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b"%d\n" % (kept.count(b"\n") + 1) if "--count" in wish else kept)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("threads", ["0", "1", "3"])
def test_a_cut_archive_is_said_after_the_lines_before_the_cut(
    filters: Path, tmp_path: Path, kind: str, threads: str
) -> None:
    lines = some_lines(20_000)
    archive = COMPRESS[kind](lines)
    (tmp_path / "cut").write_bytes(archive[: len(archive) // 2])
    done = flowd("filter", "-f", filters, "--threads", threads, "cut", "-", lines=KEPT, cwd=tmp_path)
    assert done.returncode == 74
    assert done.stderr.decode().splitlines() == [
        f"flowd: cut: a damaged {kind} archive: it ends in the middle",
        "hint: the lines before the damage were taken",
    ]
    assert done.stdout.endswith(KEPT)
    assert FILTERS.filter(lines).startswith(done.stdout[: -len(KEPT) - 200])
    assert done.stdout.count(b"\n") > 100


@pytest.mark.parametrize("is_ahead", [True, False])
def test_a_wrong_checksum_is_damage(tmp_path: Path, is_ahead: bool) -> None:
    archive = bytearray(gzip.compress(KEPT))
    archive[-8] ^= 1
    (tmp_path / "wrong").write_bytes(archive)
    with pytest.raises(BadArchive, match=r"damaged gzip archive: .*check"):
        opened(str(tmp_path / "wrong"), 100, is_ahead=is_ahead)


def test_lines_go_out_as_soon_as_an_archive_brings_them(filters: Path) -> None:
    opener = zlib.compressobj(wbits=31)
    with started("filter", "-f", filters) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(3):
            line = text_line("shop", number)
            child.stdin.write(opener.compress(line) + opener.flush(zlib.Z_SYNC_FLUSH))
            child.stdin.flush()
            assert child.stdout.read(len(line)) == line
        child.stdin.write(opener.flush())
        child.stdin.close()
        assert child.wait(DEADLINE_S) == 0


def test_an_archive_that_brings_nothing_more_can_be_interrupted(filters: Path) -> None:
    opener = zlib.compressobj(wbits=31)
    with started("filter", "-f", filters) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(opener.compress(KEPT) + opener.flush(zlib.Z_SYNC_FLUSH))
        child.stdin.flush()
        assert child.stdout.read(len(KEPT)) == KEPT
        child.send_signal(signal.SIGINT)
        assert child.wait(DEADLINE_S) == 130


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_reader_that_goes_ends_it_quietly(filters: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").write_bytes(COMPRESS[kind](some_lines(60_000)))
    with started("filter", "-f", filters, tmp_path / "a") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(100)
        child.stdout.close()
        assert child.wait(DEADLINE_S) == -signal.SIGPIPE
        assert child.stderr.read() == b""


def test_batches_that_are_given_up_end_the_thread_that_opens_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(some_lines(60_000)))
    with Input(str(tmp_path / "a")) as source:
        batches = read_ahead(source)
        next(batches).release()
        batches.close()
    assert "flowd-open" not in {thread.name for thread in threading.enumerate()}


def test_an_archive_that_opens_to_very_much_takes_little_memory(filters: Path, tmp_path: Path) -> None:
    line = b"x" * 1023 + b"\n"
    opener = zlib.compressobj(9, wbits=31)
    with (tmp_path / "bomb").open("wb") as file:
        for _ in range(300):
            file.write(opener.compress(line * 1024))
        file.write(opener.flush())
    assert os.path.getsize(tmp_path / "bomb") < 1 << 20
    with started("filter", "-f", filters, "--count", tmp_path / "bomb") as child:
        assert child.stdout is not None
        peak = follow_peak_bytes(child)
        assert child.stdout.read() == b"%d\n" % (300 * 1024)
    assert child.returncode == 0
    assert 0 < peak < 200 << 20
