"""flowd.client's plain state: cutting, the window of batches under way, and what a subscriber missed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowd.client.continuity import Continuity, Gap
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


def test_open_batch_knows_its_place_in_the_spool() -> None:
    opened = OpenBatch("flows", 0, 70)
    opened.append(b"a\nb\n", 2, 74)
    opened.append(b"c\n", 1, 90)
    assert opened.seal() == Outgoing("flows", b"a\nb\nc\n", 3, start=70, end=90)


class WindowAgainstDaemon(RuleBasedStateMachine):
    """A window and a daemon that takes batches in order: whatever is lost between them, all arrive once."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_over: list[Outgoing] = []
        self.sealed: list[Outgoing] = []
        self.acknowledged = 0
        self.window = Window(self.sealed.append, self.acknowledge_until)
        self.window.welcome(0, 100, 4)
        self.on_the_way: list[Outgoing] = []
        self.taken: list[int] = []
        self.added = 0
        self.last = 0

    def acknowledge_until(self, sequence: int) -> None:
        self.acknowledged = max(self.acknowledged, sequence)
        self.sealed[:] = [batch for batch in self.sealed if batch.sequence > sequence]

    @rule(size=st.integers(1, 60))
    def add(self, size: int) -> None:
        self.added += 1
        batch = Outgoing("flows", b"x" * size, self.added)
        self.handed_over.append(batch)
        self.window.add(batch)

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
        first = self.window.first
        assert first is None or first <= self.last + 1
        self.window.welcome(self.last, 100, 4)
        assert not self.window.must_greet

    @rule()
    def live_again(self) -> None:
        """A new life knows what the old one has noted, the last acknowledgement perhaps not."""
        self.on_the_way.clear()
        window = Window(self.sealed.append, self.acknowledge_until)
        window.restore(max((batch.sequence for batch in self.sealed), default=self.acknowledged), self.sealed)
        waiting = [batch for batch in self.handed_over if not batch.sequence]
        for batch in waiting:
            window.add(batch)
        assert window.lines == self.window.lines
        self.window = window
        self.reconnect()

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
    assert (sequences(window), window.first) == ([42], 42)


def test_sequences_go_on_where_a_daemon_has_lost_its_mark() -> None:
    window = filled([10], 10, 10)
    window.welcome(41, 10, 10)
    assert sequences(window) == [42]
    window.acknowledge(42, 10, 10)
    assert window.first == 43
    window.welcome(0, 10, 10)
    window.add(Outgoing("flows", b"x", 1))
    assert (window.must_greet, sequences(window)) == (False, [43])


def test_batch_whose_sequence_cannot_be_noted_is_not_taken() -> None:
    noted: list[int] = []

    def note(batch: Outgoing) -> None:
        if len(noted) == 1:
            noted.append(0)
            raise OSError
        noted.append(batch.sequence)

    window = Window(note)
    window.add(Outgoing("flows", b"a", 1))
    window.add(Outgoing("flows", b"b", 1))
    window.welcome(0, 100, 10)
    assert window.take() is not None
    with pytest.raises(OSError):
        window.take()
    assert (window.waiting_batches, window.waiting_bytes, window.first) == (1, 1, 1)
    assert sequences(window) == [2]
    assert noted == [1, 0, 2]


def test_what_lies_behind_a_gap_waits_until_the_daemon_was_told_of_it() -> None:
    told: list[int] = []
    window = Window(on_acknowledged=told.append)
    window.restore(1000, [Outgoing("flows", b"x" * 10, 2, sequence) for sequence in (5, 6, 8)])
    window.add(Outgoing("flows", b"y" * 10, 3))
    assert (window.lines, window.first) == (9, 5)
    window.welcome(4, 100, 10)
    assert sequences(window) == [5, 6]
    assert not window.must_greet
    window.acknowledge(6, 100, 10)
    assert (window.must_greet, window.first, sequences(window)) == (True, 8, [])
    window.welcome(7, 100, 10)
    assert (window.must_greet, sequences(window)) == (False, [8])
    window.acknowledge(8, 100, 10)
    assert (window.must_greet, window.first, sequences(window)) == (True, 1001, [])
    window.welcome(1000, 100, 10)
    assert sequences(window) == [1001]
    assert not window.rewind(7)
    window.acknowledge(1001, 100, 10)
    assert (window.is_empty, window.lines, told[-1]) == (True, 0, 1001)


def test_daemon_that_is_ahead_has_everything() -> None:
    window = Window()
    window.restore(6, [Outgoing("flows", b"x", 1, sequence) for sequence in (5, 6)])
    window.add(Outgoing("flows", b"y", 1))
    window.welcome(9, 100, 10)
    assert (window.lines, sequences(window)) == (1, [10])


def test_sequences_end_without_overflow() -> None:
    window = filled([10], 10, 10)
    window.welcome(SEQUENCE_MAX, 10, 10)
    assert sequences(window) == []
    assert window.first is None


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


def test_an_epoch_that_goes_on_from_the_one_before_is_wanted_from_there() -> None:
    """A loss of power: the last batches may have been lost, and others have their sequences."""
    for heard_of, gap in ((9, Gap(E2, 7, 8, 20)), (5, Gap(E2, 6, 8, 30))):
        continuity = Continuity()
        continuity.follow(live(E1, heard_of, 10 * heard_of, 10))
        assert continuity.hear(Heartbeat(E2, 9, 10 * min(heard_of + 1, 7) + gap.lines, 1, (E1, 7, 70))) == gap
        assert continuity.follow(live(E2, 9, continuity.lines, 5)) is None
        assert continuity.hear(Heartbeat(E1, 3, 30, 1, (b"another epoch!!!", 2, 20))) == Gap(E1, 1, 2, 30)


def test_an_epoch_that_goes_on_where_one_was_heard_leaves_nothing_out() -> None:
    continuity = Continuity()
    continuity.follow(live(E1, 6, 60, 10))
    assert continuity.follow(Live(E2, 7, 10, 70, 0, 1, None, (E1, 7, 70))) is None
    assert (continuity.epoch, continuity.lost_batches, continuity.lost_lines) == (E2, 0, 0)


def test_new_epoch_is_wanted_from_its_start() -> None:
    continuity = Continuity()
    continuity.follow(live(E1, 9, 90, 10))
    continuity.follow(live(E2, 3, 20, 10))
    continuity.follow(live(E2, 4, 30, 10))
    assert (continuity.lost_batches, continuity.lost_lines) == (2, 20)
