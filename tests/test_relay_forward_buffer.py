"""Where a connection's bytes come: every message is found as it was sent, and what was lent is never written again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowd.relay.forward.buffer import COPIED_BYTES, EAGER_BYTES, READ_BYTES, Buffer
from flowd.relay.forward.room import Room

SMALL = st.lists(st.integers(1, 300), max_size=12), st.lists(st.integers(1, 99), min_size=1, max_size=5)
LARGE = (
    st.lists(st.one_of(st.integers(1, 3 * READ_BYTES), st.sampled_from([READ_BYTES, EAGER_BYTES + 9])), max_size=6),
    st.lists(st.integers(9_999, 2 * READ_BYTES), min_size=1, max_size=5),
)
"""Sizes of messages, and of the reads that they come in: large ones in tiny reads would take minutes."""


@given(st.one_of(st.tuples(*SMALL), st.tuples(*LARGE)))
def test_messages_are_found_as_they_came(chosen: tuple[list[int], list[int]]) -> None:
    """Bytes come in reads of these sizes, in turns; whole messages are taken, the large ones lent."""
    sizes, reads = chosen
    messages = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    coming = memoryview(b"".join(messages))
    room = Room(EAGER_BYTES)
    buffer = Buffer(room)
    taken: list[bytes | memoryview] = []
    turn = 0
    while len(coming):
        free = buffer.find_free()
        count = min(len(free), reads[turn % len(reads)], len(coming))
        assert count > 0  # somewhere to go, always
        free[:count] = coming[:count]
        buffer.end += count
        coming = coming[count:]
        turn += 1
        while buffer.begin < buffer.end:
            size = sizes[len(taken)]
            if buffer.end - buffer.begin < size:
                buffer.missing = size - (buffer.end - buffer.begin)
                break
            found = buffer.view[buffer.begin : buffer.begin + size]
            buffer.is_lent = buffer.is_lent or size > COPIED_BYTES
            taken.append(found if size > COPIED_BYTES else bytes(found))
            buffer.pass_message(buffer.begin + size)
        buffer.reuse()
        assert room.partial_bytes == buffer.partial_bytes
    assert [bytes(each) for each in taken] == messages
    assert room.partial_bytes == 0  # nothing is unfinished


def test_a_length_alone_takes_no_memory() -> None:
    room = Room(0)
    buffer = Buffer(room)
    buffer.find_free()
    buffer.end += 10
    buffer.missing = 1 << 30
    assert len(buffer.find_free()) <= EAGER_BYTES
    assert room.partial_bytes <= EAGER_BYTES
    room.waiting_bytes = 1 << 30  # the room is full
    short = Buffer(room)
    short.missing = 1 << 30
    assert len(short.find_free()) == READ_BYTES
    assert short.partial_bytes == 0
    buffer.release()
    assert (buffer.partial_bytes, room.partial_bytes) == (0, 0)
