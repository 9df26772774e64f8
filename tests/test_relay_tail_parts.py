"""flowd.relay.tail, part by part: names, fingerprints, cutting, the handover, inotify."""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay_bed import wait_until
from tail_bed import Silent

from flowd.relay.metrics import Counters
from flowd.relay.tail.complaints import REMEMBERED_MAX, Complaints
from flowd.relay.tail.content import PlainContent
from flowd.relay.tail.handover import STREAM_BYTES, TOTAL_BYTES, Chunk, Handover
from flowd.relay.tail.identity import HEAD_BYTES, TAIL_BYTES, Fingerprint
from flowd.relay.tail.names import find_forms, is_compressed
from flowd.relay.tail.notice import Notice
from flowd.relay.tail.reader import LineReader
from flowd.wire.limits import BATCH_BYTES


def bases(name: str) -> dict[str, bool]:
    """What a name may have been, and whether that is sure."""
    return {form.base: form.is_strong for form in find_forms(name)}


@pytest.mark.parametrize(
    "name",
    [
        "flows.log.1",
        "flows.log.12.gz",
        "flows.log-20240101",
        "flows.log-20240101.gz",
        "flows.log-2024-01-01_1704067200",
        "flows.log.2024-01-01T00:00:00Z",
        "flows.log.20240101-120000.gz",
        "flows.log_20240101",
        "flows.log.old",
        "flows-2024-01-01T00-00-00.000.log",
        "flows-2024-01-01T00-00-00.000.log.gz",
        "flows.2024-01-01.log",
        "flows.2024-01-01.3.log",
        "flows_20240101.log",
    ],
)
def test_names_of_rotated_files_are_known(name: str) -> None:
    assert bases(name).get("flows.log") is True


@pytest.mark.parametrize("name", ["flows.1.log", "flows-2.log", "flows.log-3"])
def test_a_short_number_may_be_part_of_any_name(name: str) -> None:
    assert bases(name).get("flows.log") is False


@pytest.mark.parametrize(
    "name", ["flows.log", "dns.log.1", "flows.log.bak", "flows.log.1.xz", "flows.log.", "xflows.log.1", ".1", "1", ""]
)
def test_other_names_are_not_of_this_file(name: str) -> None:
    assert "flows.log" not in bases(name)


def test_a_chain_is_sorted_by_its_numbers() -> None:
    assert [find_forms(f"flows.log.{number}")[0].number for number in (1, 2, 10)] == [1, 2, 10]
    assert find_forms("flows.log-20240101")[0].number == 0


def test_compressed_names_are_known() -> None:
    assert [name for name in ("a.gz", "a.xz", "a.zst", "a.log", "gz") if is_compressed(name)] == [
        "a.gz",
        "a.xz",
        "a.zst",
    ]


@given(st.text(alphabet="a1.-_:TZgz", max_size=60))
def test_any_name_has_a_bounded_number_of_readings(name: str) -> None:
    assert all(form.base and form.base != name for form in find_forms(name))
    assert len(find_forms(name)) <= 8


def reading(data: bytes) -> PlainContent:
    """An open file with these bytes."""
    fd = os.memfd_create("test")
    os.write(fd, data)
    return PlainContent(fd)


@given(st.binary(max_size=3000), st.lists(st.integers(0, 1500), max_size=8), st.integers(0, 2999))
def test_a_fingerprint_knows_its_file_and_no_changed_one(data: bytes, steps: list[int], changed: int) -> None:
    fingerprint = Fingerprint()
    for step in steps:
        fingerprint.advance(data[fingerprint.offset : fingerprint.offset + step])
    offset = fingerprint.offset
    stored = Fingerprint(offset, *fingerprint.hashes())
    content = reading(data + b"and more")
    assert fingerprint.matches(content.read_at)
    assert stored.matches(content.read_at)
    assert stored.hashes() == fingerprint.hashes() == Fingerprint.take(content.read_at, offset).hashes()
    content.close()
    if offset:
        shorter = reading(data[: offset - 1])
        assert not fingerprint.matches(shorter.read_at)
        shorter.close()
    if changed < min(offset, HEAD_BYTES) or offset - TAIL_BYTES <= changed < offset:
        other = reading(data[:changed] + bytes([data[changed] ^ 1]) + data[changed + 1 :])
        assert not fingerprint.matches(other.read_at)
        assert not Fingerprint(offset, *fingerprint.hashes()).matches(other.read_at)
        other.close()


@given(
    st.lists(
        st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")) | st.just(b"x" * BATCH_BYTES), max_size=12
    ),
    st.booleans(),
    st.lists(st.integers(1, BATCH_BYTES), min_size=1, max_size=4),
)
def test_cutting_gives_every_byte_once_in_whole_lines(lines: list[bytes], is_ended: bool, limits: list[int]) -> None:
    data = b"\n".join(lines) + b"\n" * is_ended
    content = reading(data)
    reader, offset, found, turn = LineReader(), 0, [], 0
    while True:
        limit = limits[turn % len(limits)] if turn % 2 else BATCH_BYTES
        turn += 1
        cut = reader.read(content, offset, limit, is_last=True)
        if cut is None and limit == BATCH_BYTES:
            break
        if cut is not None:
            assert cut.lines.endswith(b"\n")
            assert len(cut.lines) <= BATCH_BYTES or cut.lines.count(b"\n") == 1
            offset += len(cut.consumed)
            found.append(cut.lines)
    content.close()
    assert offset == len(data)
    assert b"".join(found) == (data if data.endswith(b"\n") or not data else data + b"\n")


def chunk(stream: str, lines: bytes = b"", **places: bytes | None) -> Chunk:
    return Chunk(stream, lines, tuple((key.encode(), value) for key, value in places.items()))


def take_any(handover: Handover) -> Chunk | None:
    return handover.take(lambda _: True)


def test_streams_take_turns_and_keep_their_order() -> None:
    handover = Handover(Silent())
    for number in range(3):
        for stream in ("a", "b"):
            handover.put(chunk(stream, b"%d\n" % number))
    taken = [take_any(handover) for _ in range(6)]
    assert [(found.stream, found.lines) for found in taken if found is not None] == [
        (stream, b"%d\n" % number) for number in range(3) for stream in ("a", "b")
    ]
    assert take_any(handover) is None


def test_places_without_lines_go_with_the_lines_that_follow() -> None:
    handover = Handover(Silent())
    handover.put(chunk("a", x=b"1", y=b"1"))
    handover.put(chunk("a", x=b"2", z=None))
    handover.put(chunk("a", b"line\n", x=b"3"))
    assert take_any(handover) == chunk("a", b"line\n", x=b"3", y=b"1", z=None)
    assert len(handover) == 0
    assert handover.has_room("a")


def test_a_stream_that_is_not_taken_does_not_keep_others_waiting() -> None:
    handover = Handover(Silent())
    handover.put(chunk("stuck", b"1\n"))
    handover.put(chunk("b", b"2\n"))
    found = handover.take(lambda chunk: chunk.stream != "stuck")
    assert found is not None
    assert found.stream == "b"
    assert handover.waiting() == ["stuck"]


def test_what_waits_is_bounded_and_room_is_announced() -> None:
    rings: list[int] = []
    handover = Handover(Silent(), lambda: rings.append(1))
    half = b"x" * (STREAM_BYTES // 2 - 1) + b"\n"
    streams = [f"s{number}" for number in range(20)]
    for stream in streams:
        while handover.has_room(stream):
            handover.put(chunk(stream, half))
    per_stream = [sum(1 for _ in range(2) if take_any(handover)) for _ in range(1)]
    assert per_stream == [2]
    assert rings == [1]  # once, until somebody finds no room again
    left = 0
    while (found := take_any(handover)) is not None:
        left += len(found.lines)
    assert left <= TOTAL_BYTES + len(streams) * len(half)
    handover.put(chunk("long", b"x" * (4 << 20)))
    assert not handover.has_room("long")
    assert handover.has_room("other")


def test_a_complaint_is_made_once_for_each_state() -> None:
    counters = Counters()
    complaints = Complaints(counters)
    for _ in range(3):
        complaints.say("a", "io", "broken")
    complaints.say_error("a", PermissionError(13, "no"))
    complaints.say_error("b", FileNotFoundError(2, "no"))
    complaints.clear("a", "io")  # not its state any more
    complaints.say_error("a", PermissionError(13, "no"))
    complaints.clear("a")
    complaints.say_error("a", PermissionError(13, "no"))
    for number in range(REMEMBERED_MAX):
        complaints.say(f"n{number}", "other", "x")
    assert counters.get("flowd_tail_errors_total", reason="io") == 1
    assert counters.get("flowd_tail_errors_total", reason="permission") == 2
    assert counters.get("flowd_tail_errors_total", reason="other") == REMEMBERED_MAX


def test_inotify_wakes_for_what_happens_in_a_folder_and_in_no_other(tmp_path: Path) -> None:
    notice = Notice()
    assert notice.is_there
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    notice.watch({str(first), str(tmp_path / "missing")}, 0.0)
    poller = select.poll()
    poller.register(notice.fd, select.POLLIN)

    def happens(path: Path) -> bool:
        threading.Thread(target=lambda: path.open("ab").write(b"x")).start()
        try:
            wait_until(lambda: path.exists() and path.stat().st_size, "the write")
            return bool(poller.poll(0))
        finally:
            notice.clear()

    assert happens(first / "a.log")
    assert not happens(second / "a.log")
    notice.watch({str(second)}, 0.0)
    notice.clear()  # the first one's end is an event, too
    assert not happens(first / "b.log")
    assert happens(second / "b.log")
    notice.close()


def test_without_inotify_nothing_is_noticed_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.relay.tail.notice.ctypes.CDLL", lambda *_, **__: SimpleNamespace())
    notice = Notice()
    notice.watch({str(tmp_path)}, 0.0)
    notice.clear()
    notice.close()
    assert not notice.is_there
