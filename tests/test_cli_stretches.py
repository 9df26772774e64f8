"""flowd.cli.stretches: every line of a file once, whole, and in order, wherever the file is cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.cli.stretches import cut_stretches, read_stretch


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stretches") / "lines"


def read_all(path: Path, begin: int, end: int, size: int, more: int) -> list[bytes]:
    room = bytearray()
    fd = os.open(path, os.O_RDONLY)
    try:
        found = []
        for stretch in cut_stretches(begin, end, size):
            with read_stretch(fd, stretch, room, more) as lines:
                found.append(bytes(lines))
        return found
    finally:
        os.close(fd)


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=12),
    is_open=st.booleans(),
    begin=st.integers(0, 12),
    size=st.integers(1, 14),
    more=st.integers(1, 7),
)
def test_each_line_is_in_one_stretch(
    path: Path, lines: list[bytes], is_open: bool, begin: int, size: int, more: int
) -> None:
    text = b"\n".join(lines) + (b"" if is_open else b"\n")
    path.write_bytes(text)
    begin = min(begin, len(text))
    found = read_all(path, begin, len(text), size, more)
    assert b"".join(found) == text[begin:]
    assert all(stretch.endswith(b"\n") for stretch in found[:-1] if stretch and not text.endswith(stretch))


@given(text=st.text("a\n", max_size=40), kept=st.integers(0, 40), size=st.integers(1, 9), more=st.integers(1, 5))
def test_of_a_file_that_was_cut_off_what_is_there(path: Path, text: str, kept: int, size: int, more: int) -> None:
    path.write_text(text[:kept])
    assert b"".join(read_all(path, 0, len(text), size, more)) == text[:kept].encode()


def test_what_was_appended_meanwhile_is_left(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthree\n")
    assert b"".join(read_all(path, 0, len(b"one\ntw"), 3, 1)) == b"one\ntw"
