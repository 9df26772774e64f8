"""What a spool holds after any history, any end and any damage: against a model, and by example."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import defaultdict, deque
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from spool_bed import (
    OWNER,
    Disk,
    Killed,
    Life,
    abandon,
    build,
    dying,
    flip,
    place_of,
    recover,
    recover_copy,
    run_lines,
    sealed,
    segments,
)

from flowd.client import Producer
from flowd.client.cutting import Outgoing
from flowd.client.spool import Spool
from flowd.client.spool_record import BEGIN_BYTES, HEAD_BYTES, PREAMBLE
from flowd.client.spool_recovery import SEQUENCE_LEAP
from flowd.errors import FlowdError
from flowd.wire.limits import BATCH_BYTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


class SpoolAgainstModel(RuleBasedStateMachine):
    """Whatever was done to a spool, and wherever in it the process ended: the next life finds what was done."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.unsealed: dict[str, deque[tuple[int, bytes]]] = defaultdict(deque)
        self.sealed: deque[Outgoing] = deque()
        self.last = self.acknowledged = self.number = 0
        self.open()
        self.begin()

    def open(self) -> None:
        self.spool = Spool(self.folder, segment_bytes=600)

    def begin(self) -> None:
        found = self.spool.begin(OWNER)
        assert (found.last, found.acknowledged) == (self.last, self.acknowledged)
        assert (found.lost_lines, found.damaged_places) == (0, 0)
        assert list(found.sealed) == list(self.sealed)
        streams = {stream: b"".join(text for _, text in texts) for stream, texts in self.unsealed.items() if texts}
        assert run_lines(found) == streams
        self.unsealed.clear()
        for run in found.runs:
            self.unsealed[run[0].stream].extend((piece.start, piece.payload) for piece in run)
        assert found.owner in (OWNER, None)

    def teardown(self) -> None:
        self.crash()
        abandon(self.spool)
        shutil.rmtree(self.folder)

    @rule()
    def crash(self) -> None:
        abandon(self.spool)
        self.open()
        self.begin()

    @rule()
    def end(self) -> None:
        self.spool.close()
        self.open()
        self.begin()

    def text(self, lines: int) -> bytes:
        self.number += lines
        return b"".join(b"line %d\n" % n for n in range(self.number - lines, self.number))

    def next_batch(self, stream: str, calls: int) -> Outgoing:
        texts = list(self.unsealed[stream])[:calls]
        lines = b"".join(text for _, text in texts)
        end = texts[-1][0] + len(texts[-1][1])
        return Outgoing(stream, lines, lines.count(b"\n"), self.last + 1, 0, texts[0][0], end)

    def take(self, batch: Outgoing) -> None:
        size = len(batch.payload)
        while size:
            size -= len(self.unsealed[batch.stream].popleft()[1])
        self.sealed.append(batch)
        self.last = batch.sequence

    def forget(self, sequence: int) -> None:
        self.acknowledged = sequence
        self.last = max(self.last, sequence)
        while self.sealed and self.sealed[0].sequence <= sequence:
            self.sealed.popleft()

    @rule(stream=st.sampled_from(["flows", "dns"]), lines=st.integers(1, 30))
    def send(self, stream: str, lines: int) -> None:
        text = self.text(lines)
        self.unsealed[stream].append((self.spool.append(stream, text), text))

    @precondition(lambda self: any(self.unsealed.values()))
    @rule(calls=st.integers(1, 3), data=st.data())
    def seal(self, calls: int, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from([stream for stream, texts in self.unsealed.items() if texts]))
        batch = self.next_batch(stream, calls)
        self.spool.seal(batch)
        self.take(batch)

    @rule(back=st.integers(-3, 4))
    def acknowledge(self, back: int) -> None:
        sequence = self.last - back
        if sequence > self.acknowledged and (back >= 0 or not self.sealed):
            self.spool.acknowledge(sequence)
            self.forget(sequence)

    @rule(
        calls=st.integers(0, 6),
        part=st.floats(0, 1),
        stream=st.sampled_from(["flows", "dns"]),
        lines=st.integers(1, 60),
    )
    def die_in_send(self, calls: int, part: float, stream: str, lines: int) -> None:
        text = self.text(lines)
        try:
            with dying(calls, part):
                self.unsealed[stream].append((self.spool.append(stream, text), text))
        except Killed:
            self.open_again()
            if text in run_lines(self.spool.recovered).get(stream, b""):
                self.unsealed[stream].append((0, text))  # its last byte was written: whole
            self.begin()

    @precondition(lambda self: any(self.unsealed.values()))
    @rule(part=st.floats(0, 1), data=st.data())
    def die_in_seal(self, part: float, data: st.DataObject) -> None:
        stream = data.draw(st.sampled_from([stream for stream, texts in self.unsealed.items() if texts]))
        batch = self.next_batch(stream, 2)
        with pytest.raises(Killed), dying(0, part):
            self.spool.seal(batch)
        self.open_again()
        if self.spool.recovered.last == batch.sequence:
            self.take(batch)
        self.begin()

    @precondition(lambda self: self.sealed)
    @rule(calls=st.integers(0, 6), part=st.floats(0, 1))
    def die_in_acknowledge(self, calls: int, part: float) -> None:
        sequence = self.sealed[len(self.sealed) // 2].sequence
        try:
            with dying(calls, part):
                self.spool.acknowledge(sequence)
        except Killed:
            self.open_again()
            if self.spool.recovered.acknowledged < sequence:
                self.begin()
                return
            self.forget(sequence)
            self.begin()
            return
        self.forget(sequence)

    @rule(calls=st.integers(0, 6), part=st.floats(0, 1))
    def die_in_close_or_begin(self, calls: int, part: float) -> None:
        try:
            with dying(calls, part):
                self.spool.close()
                self.open()
                self.spool.begin(OWNER)
            abandon(self.spool)
            self.open()
        except Killed:
            self.open_again()
        self.begin()

    def open_again(self) -> None:
        abandon(self.spool)
        self.open()


TestSpoolAgainstModel = SpoolAgainstModel.TestCase
TestSpoolAgainstModel.settings = settings(deadline=None, stateful_step_count=40)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    """Steps of a producer's life: (what, stream's number, how many)."""
    kinds = st.sampled_from(["send", "send", "seal", "seal", "acknowledge"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, 1), st.integers(1, 8)), min_size=1, max_size=25))


class History:
    """A spool that was written by such steps, and what is in it."""

    def __init__(self, folder: Path, steps: list[tuple[str, int, int]]) -> None:
        life = Life(folder, segment_bytes=700)
        open_: dict[int, deque[Outgoing]] = {0: deque(), 1: deque()}
        self.sealed: dict[int, Outgoing] = {}
        self.acknowledged = 0
        number = 0
        for what, stream, count in steps:
            if what == "send":
                text = b"".join(b"line %06d\n" % n for n in range(number, number + count))
                number += count
                open_[stream].extend(life.append(text, stream=f"stream{stream}"))
            elif what == "seal" and open_[stream]:
                batch = open_[stream].popleft()
                life.seal(batch)
                self.sealed[batch.sequence] = batch
            elif what == "acknowledge" and life.last - count >= 1:
                self.acknowledged = max(self.acknowledged, life.last - count)
                life.spool.acknowledge(life.last - count)
        self.last = life.last
        self.unsealed = [batch for batches in open_.values() for batch in batches]
        abandon(life.spool)

    @property
    def undelivered(self) -> set[bytes]:
        """The lines that are still to be delivered."""
        batches = [batch for batch in self.sealed.values() if batch.sequence > self.acknowledged] + self.unsealed
        return {line for batch in batches for line in bytes(batch.payload).splitlines()}


@settings(max_examples=400)
@given(histories(), st.randoms(use_true_random=False), st.sampled_from(["flip", "zeros", "cut out", "segment"]))
def test_damage_never_changes_a_batch_and_no_line_is_lost_uncounted(
    steps: list[tuple[str, int, int]], choice: random.Random, kind: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        history = History(Path(name), steps)
        damaged = choice.choice(segments(Path(name)))
        data = bytearray(damaged.read_bytes())
        place = choice.randrange(len(data))
        if kind == "flip":
            data[place] ^= 1 << choice.randrange(8)
        elif kind == "zeros":
            data[place : place + 200] = bytes(len(data[place : place + 200]))
        elif kind == "cut out" and damaged != segments(Path(name))[-1]:
            del data[place : place + 100]
        damaged.write_bytes(data)
        if kind == "segment" and damaged != segments(Path(name))[-1]:
            damaged.unlink()
        found = recover(Path(name))
        assert found.last >= history.last
        for batch in found.sealed:
            sent = history.sealed[batch.sequence]
            assert (batch.stream, bytes(batch.payload), batch.lines) == (sent.stream, sent.payload, sent.lines)
        there = [line for batch in found.sealed for line in bytes(batch.payload).splitlines()]
        there += [line for lines in run_lines(found).values() for line in lines.splitlines()]
        missing = history.undelivered - set(there)
        if missing:
            assert found.damaged_places
        if kind == "flip":
            assert len(missing) <= found.lost_lines + 1  # the bit may have been a newline's
        if not found.is_seal_lost:
            assert len(there) == len(set(there))
            assert set(there) <= history.undelivered | {
                line for sent in history.sealed.values() for line in bytes(sent.payload).splitlines()
            }
        again = Life(Path(name), segment_bytes=700)
        again.seal(*again.append(b"new\n"))
        abandon(again.spool)
        assert sealed(recover(Path(name)))[-1] == (again.last, "flows", b"new\n", 1)


def test_write_that_was_cut_off_is_dropped_and_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment = build(folder, seal=0)
    whole = segment.read_bytes()
    start = place_of(segment, b"batch 3 line 0") - HEAD_BYTES - len(b"flows")
    for size in (start + 1, start + HEAD_BYTES, start + HEAD_BYTES + 20, len(whole) - 1):
        segment.write_bytes(whole[:size])
        caplog.clear()
        life = Life(folder)
        assert run_lines(life.found)["flows"].count(b"line 0\n") == 3
        assert (life.found.torn_bytes, life.found.damaged_places, life.found.last) == (size - start, 0, 0)
        assert f"cut off after {size - start} bytes" in caplog.text
        assert segment.read_bytes() == whole[:start]
        abandon(life.spool)


def test_batch_with_damaged_lines_is_not_sent_and_the_others_are(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = build(folder)
    flip(segment, place_of(segment, b"batch 1 line 5"))
    life = Life(folder)
    assert [batch.sequence for batch in life.found.sealed] == [1, 3]
    assert run_lines(life.found)["flows"].startswith(b"batch 3 line 0\n")
    assert (life.found.lost_lines, life.found.is_seal_lost, life.last) == (10, False, 3)
    assert "damaged in 1 places: 10 lines are lost" in caplog.text


def test_damaged_lines_that_no_batch_has_are_counted_and_the_rest_is_sent(folder: Path) -> None:
    segment = build(folder, seal=0)
    flip(segment, place_of(segment, b"batch 1 line 5"))
    flip(segment, place_of(segment, b"batch 2 line 0") - HEAD_BYTES)
    found = recover(folder)
    assert run_lines(found)["flows"].split(b"\n")[::10] == [b"batch 0 line 0", b"batch 3 line 0", b""]
    assert (found.lost_lines, found.damaged_places) == (20, 2)


def test_where_a_seal_is_damaged_lines_are_sent_again_and_no_sequence_is_used_twice(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = build(folder)
    flip(segment, len(segment.read_bytes()) - 20)  # in the last SEAL
    life = Life(folder)
    assert [batch.sequence for batch in life.found.sealed] == [1, 2]
    assert run_lines(life.found)["flows"].split(b"\n")[::10] == [b"batch 2 line 0", b"batch 3 line 0", b""]
    assert (life.found.lost_lines, life.last) == (0, 2 + SEQUENCE_LEAP)
    assert "others may be delivered twice" in caplog.text
    assert len(segments(folder)) == 2  # a damaged segment is not written to


def test_lines_whose_seal_is_lost_share_no_batch_with_later_ones(folder: Path) -> None:
    segment = build(folder)
    data = segment.read_bytes()
    flip(segment, len(data) - 3 * (HEAD_BYTES + len(b"flows")) + 20)  # in the first SEAL
    life = Life(folder)
    assert [batch.sequence for batch in life.found.sealed] == [2, 3]
    assert [[piece.payload[:14] for piece in run] for run in life.found.runs] == [
        [b"batch 0 line 0"],
        [b"batch 3 line 0"],
    ]
    for run in life.found.runs:
        (piece,) = run
        life.seal(Outgoing("flows", piece.payload, 10, start=piece.start, end=piece.start + len(piece.payload)))
    found = recover_copy(folder)
    assert [batch.sequence - SEQUENCE_LEAP for batch in found.sealed[-2:]] == [4, 5]
    assert (len(found.sealed), found.runs, found.lost_lines) == (4, [], 0)


def test_seal_that_is_gone_without_a_trace_is_missed(folder: Path) -> None:
    life = Life(folder, segment_bytes=1000)
    life.seal(*life.append(b"x" * 999 + b"\n"))
    life.append(b"y\n")
    abandon(life.spool)
    first, _ = segments(folder)
    os.truncate(first, first.stat().st_size - HEAD_BYTES - len(b"flows"))
    found = recover(folder)
    assert (found.damaged_places, found.last, len(found.runs[0])) == (1, 1 + SEQUENCE_LEAP, 2)


def test_damage_in_what_is_acknowledged_loses_nothing(folder: Path) -> None:
    life = Life(folder)
    batches = life.append(b"one\n", b"two\n", b"three\n")
    life.seal(*batches[:2])
    life.spool.acknowledge(2)
    abandon(life.spool)
    (segment,) = segments(folder)
    flip(segment, place_of(segment, b"one\n"))
    flip(segment, place_of(segment, b"two\n") - HEAD_BYTES)
    found = recover(folder)
    assert (found.sealed, run_lines(found), found.lost_lines) == ([], {"flows": b"three\n"}, 0)
    assert found.damaged_places == 2


def test_lines_that_look_like_records_are_lines(folder: Path) -> None:
    other = build(folder.with_name("other"))
    segment = build(folder, texts=1, seal=0)
    life = Life(folder)
    life.append(other.read_bytes() + b"\n")
    abandon(life.spool)
    flip(segment, place_of(segment, PREAMBLE[:5] + b" spool") + 1)  # now every byte of the segment is looked at
    flip(segment, segment.read_bytes().rfind(PREAMBLE) - HEAD_BYTES)
    found = recover(folder)
    assert (found.sealed, list(run_lines(found))) == ([], ["flows"])
    assert run_lines(found)["flows"].startswith(b"batch 0 line 0\n")


def test_empty_and_foreign_files_do_no_harm(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment = build(folder)
    empty = folder / "000000000002-0123456789abcdef.segment"
    empty.touch()
    foreign = folder / "notes.txt"
    foreign.write_text("mine")
    (folder / "000000000003-0123456789abcdef.segment").mkdir()
    life = Life(folder)
    assert [batch.sequence for batch in life.found.sealed] == [1, 2, 3]
    assert (life.found.damaged_places, life.spool._current.file.path) == (0, segment)
    assert not empty.exists()
    assert foreign.read_text() == "mine"
    assert "notes.txt is no part of the spool" in caplog.text
    life.spool.acknowledge(3)
    assert foreign.exists()


def test_segment_of_nothing_but_nonsense_is_damage(folder: Path) -> None:
    build(folder)
    (folder / "000000000002-0123456789abcdef.segment").write_bytes(os.urandom(3000))
    found = recover(folder)
    assert [batch.sequence for batch in found.sealed] == [1, 2, 3]
    assert found.damaged_places == 1


def test_other_format_is_refused_with_a_hint(folder: Path) -> None:
    segment = build(folder)
    segment.write_bytes(b"flowd spool 2\nwhatever that will be")
    with pytest.raises(FlowdError, match="has format 2, this flowd reads 1") as caught:
        Producer("ipc:///x", spool_dir=folder)
    assert "the flowd that wrote it" in caught.value.hint
    segment.write_bytes(b"flowd spool 2\n")
    with pytest.raises(FlowdError, match="has format 2"):
        Producer("ipc:///x", spool_dir=folder)


def test_flipped_digit_of_the_format_is_no_other_format(folder: Path) -> None:
    segment = build(folder)
    flip(segment, len(PREAMBLE) - 2)
    assert [batch.sequence for batch in recover(folder).sealed] == [1, 2, 3]


def test_what_is_acknowledged_leaves_the_disk(folder: Path) -> None:
    life = Life(folder, segment_bytes=1000)
    for _ in range(50):
        life.seal(*life.append(b"x" * 299 + b"\n"))
    assert len(segments(folder)) > 10
    life.spool.acknowledge(40)
    assert 1 < len(segments(folder)) < 6
    assert [batch.sequence for batch in recover_copy(folder).sealed] == list(range(41, 51))
    life.spool.acknowledge(50)
    life.spool.close()
    (segment,) = segments(folder)
    assert len(segment.read_bytes()) == BEGIN_BYTES
    found = recover(folder)
    assert (found.last, found.acknowledged, found.position, found.is_empty) == (50, 50, 50 * 300, True)


def test_open_lines_of_a_quiet_stream_keep_what_tells_of_them(folder: Path) -> None:
    life = Life(folder, segment_bytes=1000)
    life.append(b"quiet\n", stream="dns")
    for _ in range(20):
        life.seal(*life.append(b"x" * 299 + b"\n"))
    life.spool.acknowledge(life.last)
    found = recover_copy(folder)
    assert (found.sealed, run_lines(found)) == ([], {"dns": b"quiet\n"})
    assert life.spool.append("flows", b"new\n") == 6 + 20 * 300


def test_large_idle_segment_is_exchanged_at_once(folder: Path) -> None:
    life = Life(folder, segment_bytes=8 << 20)
    life.seal(*life.append(b"x" * (2 << 20) + b"\n"))
    life.spool.acknowledge(1)
    (segment,) = segments(folder)
    assert segment.stat().st_size == BEGIN_BYTES
    assert recover_copy(folder).last == 1


def test_interrupted_write_leaves_nothing(folder: Path) -> None:
    life = Life(folder)
    life.append(b"one\n")
    disk = Disk(0, 0.5)
    with (
        patch("flowd.client.spool_segment.os", disk),
        patch.object(disk, "ftruncate", os.ftruncate),  # Ctrl-C is no kill: what follows is still done
        pytest.raises(Killed),
    ):
        life.append(b"two\n")
    life.append(b"three\n")
    found = recover_copy(folder)
    assert (run_lines(found), found.damaged_places, found.torn_bytes) == ({"flows": b"one\nthree\n"}, 0, 0)


def test_a_call_costs_one_write(folder: Path) -> None:
    life = Life(folder)
    text = b"x" * (BATCH_BYTES - 1) + b"\n"
    with patch("flowd.client.spool_segment.os.writev", wraps=os.writev) as writev:
        life.append(text)
    assert [sum(map(len, call.args[1])) - len(text) for call in writev.call_args_list] == [HEAD_BYTES + 5]
