"""flowd.client's plain state: cutting, the window of batches under way, and what a subscriber missed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowd.client.continuity import Continuity
from flowd.client.cutting import OpenBatch, Outgoing, cut_lines, whole_lines
from flowd.client.window import Window
from flowd.errors import LineTooLong
from flowd.wire import Heartbeat, Live
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES, SEQUENCE_MAX

E1, E2 = bytes(16), bytes(range(16))


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * BATCH_BYTES), max_size=8), st.integers(0, BATCH_BYTES))
def test_cuts_are_whole_lines_of_a_batch_or_one_long_line(sizes: list[int], first_bytes: int) -> None:
    lines = b"".join(b"x" * size + b"\n" for size in sizes)
    cuts = list(cut_lines(lines, first_bytes))
    assert b"".join(lines[start:end] for start, end in cuts) == lines
    for number, (start, end) in enumerate(cuts):
        if start == end:
            assert number == 0
            continue
        assert lines[end - 1 : end] == b"\n"
        if end - start > (BATCH_BYTES if number else first_bytes):
            assert lines.count(b"\n", start, end) == 1


def test_longest_line_fits_and_one_byte_more_does_not() -> None:
    longest = b"x" * LINE_MAX_BYTES + b"\n"
    assert list(cut_lines(longest)) == [(0, len(longest))]
    with pytest.raises(LineTooLong, match="at byte 2 "):
        list(cut_lines(b"a\n" + b"x" + longest))


def test_whole_lines_adds_the_missing_newline_only() -> None:
    assert [whole_lines(lines) for lines in (b"", b"a", b"a\n", bytearray(b"a\nb"), memoryview(b"\n"))] == [
        b"",
        b"a\n",
        b"a\n",
        b"a\nb\n",
        b"\n",
    ]


def test_open_batch_seals_what_was_appended() -> None:
    opened = OpenBatch("flows", 0)
    opened.append(b"a\nb\n", 2)
    opened.append(b"c\n", 1)
    assert opened.seal() == Outgoing("flows", b"a\nb\nc\n", 3)


class WindowAgainstDaemon(RuleBasedStateMachine):
    """A window and a daemon that takes batches in order: whatever is lost between them, all arrive once."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window()
        self.window.welcome(0, 100, 4)
        self.on_the_way: list[Outgoing] = []
        self.taken: list[int] = []
        self.added = 0
        self.last = 0

    @rule(size=st.integers(1, 60))
    def add(self, size: int) -> None:
        self.added += 1
        self.window.add(Outgoing("flows", b"x" * size, self.added))

    @rule()
    def send(self) -> None:
        batch = self.window.take()
        if batch is not None:
            self.on_the_way.append(batch)

    @precondition(lambda self: self.on_the_way)
    @rule()
    def arrive(self) -> None:
        batch = self.on_the_way.pop(0)
        if batch.sequence == self.last + 1:
            self.last += 1
            self.taken.append(batch.lines)

    @rule()
    def acknowledge(self) -> None:
        self.window.acknowledge(self.last, 100, 4)

    @rule()
    def refuse(self) -> None:
        self.on_the_way.clear()
        self.window.rewind(self.last + 1)

    @rule()
    def reconnect(self) -> None:
        self.on_the_way.clear()
        first = self.window.first_unacknowledged
        assert first is None or first <= self.last + 1
        self.window.welcome(self.last, 100, 4)

    @invariant()
    def all_arrive_once_in_order(self) -> None:
        assert self.taken == list(range(1, len(self.taken) + 1))

    def teardown(self) -> None:
        self.reconnect()
        for _ in range(3 * self.added + 3):
            self.send()
            while self.on_the_way:
                self.arrive()
            self.acknowledge()
        assert self.window.is_empty
        assert self.window.lines == 0
        assert self.window.waiting_bytes == 0
        assert len(self.taken) == self.added


TestWindowAgainstDaemon = WindowAgainstDaemon.TestCase
TestWindowAgainstDaemon.settings = settings(deadline=None)


def filled(sizes: list[int], credit_bytes: int, credit_batches: int) -> Window:
    window = Window()
    for size in sizes:
        window.add(Outgoing("flows", b"x" * size, 1))
    window.welcome(0, credit_bytes, credit_batches)
    return window


def sequences(window: Window) -> list[int]:
    found = []
    while (batch := window.take()) is not None:
        found.append(batch.sequence)
    return found


@pytest.mark.parametrize(
    ("credit", "sent"),
    [
        ((0, 0), []),
        ((0, 5), []),
        ((1000, 0), []),
        ((25, 5), [1, 2]),
        ((1000, 3), [1, 2, 3]),
        ((1, 5), [1]),
        ((SEQUENCE_MAX, SEQUENCE_MAX), [1, 2, 3, 4]),
    ],
)
def test_credit_bounds_what_is_under_way(credit: tuple[int, int], sent: list[int]) -> None:
    assert sequences(filled([10, 10, 10, 10], *credit)) == sent


def test_acknowledgement_of_what_was_never_sent_forgets_only_what_was() -> None:
    window = filled([10, 10], 10, 10)
    assert sequences(window) == [1]
    window.acknowledge(SEQUENCE_MAX, 10, 10)
    assert sequences(window) == [2]


def test_new_conversation_numbers_from_the_daemons_mark() -> None:
    window = filled([10], 10, 10)
    window.welcome(41, 10, 10)
    assert (sequences(window), window.first_unacknowledged) == ([42], 42)


def test_sequences_end_without_overflow() -> None:
    window = filled([10], 10, 10)
    window.welcome(SEQUENCE_MAX, 10, 10)
    assert sequences(window) == []


def live(epoch: bytes, sequence: int, before: int, lines: int) -> Live:
    return Live(epoch, sequence, lines, before, 0, 1)


def test_nothing_is_missed_where_everything_follows() -> None:
    continuity = Continuity()
    continuity.hear(Heartbeat(E1, 5, 40, 5))
    continuity.follow(live(E1, 5, 40, 3))
    continuity.follow(live(E1, 6, 43, 0))
    continuity.hear(Heartbeat(E1, 7, 43, 7))
    assert (continuity.lost_batches, continuity.lost_lines) == (0, 0)


def test_gap_is_counted_once_whoever_tells_it() -> None:
    continuity = Continuity()
    continuity.follow(live(E1, 1, 0, 10))
    continuity.hear(Heartbeat(E1, 4, 35, 4))
    continuity.follow(live(E1, 6, 50, 5))
    assert (continuity.lost_batches, continuity.lost_lines) == (4, 40)


def test_what_was_before_the_first_word_is_not_missed() -> None:
    continuity = Continuity()
    continuity.follow(live(E1, 900, 10_000, 10))
    assert continuity.lost_lines == 0


def test_new_epoch_is_wanted_from_its_start() -> None:
    continuity = Continuity()
    continuity.follow(live(E1, 9, 90, 10))
    continuity.follow(live(E2, 3, 20, 10))
    continuity.follow(live(E2, 4, 30, 10))
    assert (continuity.lost_batches, continuity.lost_lines) == (2, 20)
