"""The order and the cursor of a JetStream consumer, against plain models: nothing lost, nothing twice, in order."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.jetstream import order as order_module
from flowd.jetstream.cursor import MISSING_MAX, Cursor, Yielded, merge_marks
from flowd.jetstream.order import HELD_S, PARTS_S, Mark, Order, Ready
from flowd.wire.jetstream import Acknowledged, Head

EPOCHS = [bytes([number]) * 16 for number in range(3)]


class Message(NamedTuple):
    """One of a stream: `part` of `parts` of a batch."""

    epoch: int
    seq: int
    part: int
    parts: int
    acknowledged: int

    @property
    def head(self) -> Head:
        acknowledged = Acknowledged(0, self.acknowledged, self.acknowledged)
        return Head(
            EPOCHS[self.epoch], "flows", f"n{self.epoch}", self.seq, self.part, self.parts, 1, self.seq - 1,
            self.seq - 1 or None, acknowledged, 0, 1,
        )  # fmt: skip

    @property
    def payload(self) -> bytes:
        return b"%d.%d.%d\n" % (self.epoch, self.seq, self.part)


@st.composite
def streams(draw: st.DrawFn, *, copies: tuple[int, ...] = (1, 1, 1, 1, 2)) -> list[Message]:
    """What sinks put into a stream: of each node a window of messages under way, stored in any order, some twice."""
    stored: list[list[Message]] = []
    for epoch in range(draw(st.integers(1, 3))):
        window = draw(st.integers(1, 6))
        todo = [
            (seq, part, parts)
            for seq in range(1, draw(st.integers(1, 12)) + 1)
            for parts in [draw(st.sampled_from([1, 1, 1, 2, 3]))]
            for part in range(1, parts + 1)
        ]
        under_way: list[Message] = []
        lane: list[Message] = []
        while todo or under_way:
            while todo and len(under_way) < window:
                seq, part, parts = todo.pop(0)
                oldest = min((message.seq for message in under_way), default=seq)
                under_way.append(Message(epoch, seq, part, parts, oldest - 1))
            message = under_way.pop(draw(st.integers(0, len(under_way) - 1)))
            lane += [message] * draw(st.sampled_from(copies))
        stored.append(lane)
    found: list[Message] = []
    while any(stored):
        lane = draw(st.sampled_from([lane for lane in stored if lane]))
        found.append(lane.pop(0))
    return found


def read(order: Order, messages: list[Message], now_s: float = 0.0) -> list[Ready]:
    found: list[Ready] = []
    for sequence, message in enumerate(messages, start=1):
        found += order.add(message.head, sequence, message.payload, now_s)
    return found


def names(found: list[Ready]) -> list[tuple[bytes, int]]:
    return [(ready.head.epoch, ready.head.seq) for ready in found if not ready.is_passed_over]


def by_epoch(found: list[Ready]) -> dict[bytes, list[int]]:
    seqs: dict[bytes, list[int]] = defaultdict(list)
    for epoch, seq in names(found):
        seqs[epoch].append(seq)
    return seqs


@given(streams())
def test_each_batch_comes_once_and_each_nodes_in_order(messages: list[Message]) -> None:
    """From the stream's beginning: nothing before its first message is unknown."""
    order = Order(begin=1)
    found = read(order, messages)
    wanted: dict[bytes, list[int]] = defaultdict(list)
    for epoch, seq in sorted({(EPOCHS[message.epoch], message.seq) for message in messages}):
        wanted[epoch].append(seq)
    assert by_epoch(found) == wanted
    assert sorted(sequence for ready in found for sequence in ready.sequences) == list(range(1, len(messages) + 1))
    assert all(ready.missed == 0 for ready in found)
    assert order.held_bytes == 0
    for ready in found:
        if not ready.is_passed_over:
            epoch = EPOCHS.index(ready.head.epoch)
            parts = b"".join(b"%d.%d.%d\n" % (epoch, ready.head.seq, part) for part in range(1, ready.head.parts + 1))
            assert ready.lines == parts


@given(streams(), st.data())
def test_whatever_is_given_up_comes_late_and_once(messages: list[Message], data: st.DataObject) -> None:
    """The same, where all that waits for another batch is given up at any moments."""
    order = Order({})
    found: list[Ready] = []
    now_s = 0.0
    for sequence, message in enumerate(messages, start=1):
        found += order.add(message.head, sequence, message.payload, now_s)
        if data.draw(st.booleans()):
            now_s += HELD_S / 2
            found += order.give_up(now_s)
    found += order.release()
    assert sorted(names(found)) == sorted({(EPOCHS[message.epoch], message.seq) for message in messages})
    assert sorted(sequence for ready in found for sequence in ready.sequences) == list(range(1, len(messages) + 1))


@given(streams(copies=(1,)), st.data())
def test_a_consumer_that_ends_anywhere_goes_on_with_exactly_the_rest(
    messages: list[Message], data: st.DataObject
) -> None:
    """Each run commits behind some batch that it was given; the next one begins with that cursor."""
    cursor = Cursor(marks={epoch: Mark(0, 0) for epoch in EPOCHS})
    committed: list[tuple[bytes, int]] = []
    for _ in range(4):
        order, yielded = Order(dict(cursor.marks)), Yielded(cursor)
        marks = dict(cursor.marks)
        given_now: list[tuple[tuple[bytes, int], Cursor]] = []
        for sequence in range(cursor.next, len(messages) + 1):
            message = messages[sequence - 1]
            is_known = yielded.is_known(sequence)
            yielded.receive(sequence)
            if is_known:
                continue
            for ready in order.add(message.head, sequence, message.payload, 0.0):
                reached, missing = yielded.take(ready.sequences)
                if not ready.is_passed_over:
                    merge_marks(marks, {ready.head.epoch: Mark(ready.head.seq, ready.head.before + 1)})
                    assert ready.missed == 0
                    name = ready.head.epoch, ready.head.seq
                    given_now.append((name, Cursor(reached, missing, "", dict(marks))))
        count = data.draw(st.integers(0, len(given_now)))
        if count:
            committed += [name for name, _ in given_now[:count]]
            cursor = Cursor.unpack(given_now[count - 1][1].pack())
        rest = [name for name, _ in given_now[count:]]
        assert sorted(committed + rest) == sorted({(EPOCHS[message.epoch], message.seq) for message in messages})


def head(seq: int, part: int = 1, parts: int = 1, **more: object) -> Head:
    found = Message(0, seq, part, parts, 0).head
    return found._replace(**more)  # type: ignore[arg-type] # fields of it


def test_of_several_batches_given_up_each_comes_late() -> None:
    order = Order({EPOCHS[0]: Mark(1, 1)})
    assert order.add(head(5), 1, b"5\n", 0.0) == []
    assert names(order.give_up(HELD_S)) == [(EPOCHS[0], 5)]
    late = [order.add(head(seq), seq, b"late\n", HELD_S) for seq in (3, 2, 4, 3)]
    assert [names(found) for found in late] == [[(EPOCHS[0], 3)], [(EPOCHS[0], 2)], [(EPOCHS[0], 4)], []]
    assert order.duplicates == 1


def test_the_first_of_a_new_node_waits_for_those_before_it() -> None:
    """Where all of them must come yet; else nothing is known of what was before."""
    sent = Acknowledged(41, 0, 0)
    order = Order(begin=42)
    assert order.add(head(2, acknowledged=sent), 50, b"2\n", 0.0) == []
    assert names(order.add(head(1, acknowledged=sent), 51, b"1\n", 0.0)) == [(EPOCHS[0], 1), (EPOCHS[0], 2)]
    assert names(Order(begin=43).add(head(2, acknowledged=sent), 50, b"2\n", 0.0)) == [(EPOCHS[0], 2)]


def test_a_late_batch_sets_no_mark_back() -> None:
    marks = {EPOCHS[0]: Mark(5, 50), EPOCHS[1]: Mark(1, 1)}
    merge_marks(marks, {EPOCHS[0]: Mark(3, 30)})
    assert list(marks.items()) == [(EPOCHS[1], Mark(1, 1)), (EPOCHS[0], Mark(5, 50))]


def test_parts_without_the_others_are_passed_over_when_the_others_cannot_come() -> None:
    order = Order({})
    assert order.add(head(4, 2, 3), 7, b"x", 0.0) == []
    (found, now) = order.add(head(6, acknowledged=Acknowledged(9, 4, 4)), 9, b"6\n", 1.0)
    assert (found.is_passed_over, found.sequences, found.lines) == (True, (7,), b"")
    assert (now.head.seq, order.held_bytes) == (6, 0)


def test_parts_without_the_others_are_not_waited_for_for_ever() -> None:
    order = Order({})
    order.add(head(1, 1, 2), 1, b"x", 0.0)
    assert order.give_up(PARTS_S - 1) == []
    (found,) = order.give_up(PARTS_S)
    assert (found.is_passed_over, found.sequences) == (True, (1,))


def test_a_batch_cut_anew_is_not_put_together_of_both_cuts() -> None:
    order = Order({})
    order.add(head(1, 1, 2), 1, b"a\n", 0.0)
    order.add(head(1, 1, 3), 2, b"A\n", 0.0)
    order.add(head(1, 2, 3), 3, b"B\n", 0.0)
    (found,) = order.add(head(1, 3, 3), 4, b"C\n", 0.0)
    assert (found.lines, found.sequences) == (b"A\nB\nC\n", (2, 3, 4))
    assert head(1, 1, 2).message_id != head(1, 1, 3).message_id


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "HELD_BYTES", 100)
    order = Order({epoch: Mark(0, 0) for epoch in EPOCHS})
    found: list[Ready] = []
    for seq in range(2, 40):
        for epoch in range(3):
            sent = Message(epoch, seq * 2, 1, 1, 0)
            found += order.add(sent.head, seq, b"x" * 30, 0.0)
        found += order.add(head(1000 + seq, 1, 2), seq, b"y" * 30, 0.0)
        assert order.held_bytes <= 200
    assert names(found)
    assert any(ready.is_passed_over for ready in found)


def test_a_cursor_names_only_so_many_messages() -> None:
    yielded = Yielded(Cursor())
    for sequence in range(1, MISSING_MAX + 11):
        yielded.receive(sequence)
    reached, missing = yielded.take((MISSING_MAX + 10,))
    assert (reached, missing) == (MISSING_MAX, tuple(range(1, MISSING_MAX + 1)))


def test_what_the_stream_has_lost_of_what_was_missing_is_not_waited_for() -> None:
    yielded = Yielded(Cursor(10, (3, 5, 7)))
    yielded.receive(5)
    assert yielded.take((5,)) == (10, (7,))
    yielded.receive(8)
    yielded.receive(11)
    assert yielded.take((11,)) == (11, ())
    assert Cursor(10, (3, 5, 7)).between(4, 6) == Cursor(6, (5,))
