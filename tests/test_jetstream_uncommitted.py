"""Cursors behind batches that are not committed: exact for the latest, never too far for the others, and few."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowd.client.pull import Wanted
from flowd.jetstream.cursor import Cursor
from flowd.jetstream.order import Mark, Ready
from flowd.jetstream.pull import JetStreamPull
from flowd.jetstream.uncommitted import EXACT_BATCHES, STRETCHES, Uncommitted
from flowd.wire.jetstream import Acknowledged, Head

ONE, TWO, THREE = b"1" * 16, b"2" * 16, b"3" * 16
WANTED = Wanted("siem", "flows", "cursor", None, None, None, None, None, None, 4 << 20, 64)


def cursor(sequence: int, epoch: bytes, seq: int) -> Cursor:
    return Cursor(sequence, marks={epoch: Mark(seq, seq)})


@given(
    st.lists(st.tuples(st.sampled_from([ONE, TWO, THREE]), st.integers(0, 3)), max_size=120),
    st.lists(st.tuples(st.integers(0, 119), st.integers(0, 119)), max_size=6),
    st.integers(1, 5),
    st.integers(2, 12),
)
def test_a_commit_never_goes_behind_what_was_asked_for(
    steps: list[tuple[bytes, int]], commits: list[tuple[int, int]], exact: int, stretches: int
) -> None:
    """Batches of three epochs, some of them late; after `when` batches one that was yielded before is committed."""
    uncommitted = Uncommitted(exact, stretches)
    yielded: list[tuple[bytes, int]] = []
    reached = dict.fromkeys((ONE, TWO, THREE), 0)
    asked = dict(commits)
    committed = 0  # how many batches the cursor stands behind
    for number, (epoch, behind) in enumerate(steps, 1):
        seq = reached[epoch] + 1 - behind
        if seq < 1 or (epoch, seq) in yielded:
            seq = reached[epoch] + 2  # one is left out, that may come late
        reached[epoch] = max(reached[epoch], seq)
        yielded.append((epoch, seq))
        uncommitted.add((epoch, seq), cursor(number, epoch, seq))
        assert len(uncommitted) <= exact + stretches
        if number not in asked:
            continue
        wanted = yielded[asked[number] % number]
        end = uncommitted.end_of(wanted)
        if end is None:
            continue  # committed already, or nothing is known before it
        found = uncommitted.cursor_behind(end, {})
        assert committed < found.sequence <= yielded.index(wanted) + 1
        if number - yielded.index(wanted) <= exact:
            assert found.sequence == yielded.index(wanted) + 1
        assert yielded[found.sequence - 1] == end
        passed = yielded[: found.sequence]
        assert found.marks == {
            each: Mark(most, most)
            for each in (ONE, TWO, THREE)
            if (most := max((seq for epoch, seq in passed if epoch == each), default=0))
        }
        uncommitted.asked = end
        assert uncommitted.is_asked(end)
        uncommitted.forget(end)
        committed = found.sequence
        assert uncommitted.end_of(end) is None
        assert not uncommitted.is_asked(yielded[-1]) or uncommitted.end_of(yielded[-1]) is None
    if yielded and committed < len(yielded):
        assert uncommitted.end_of(yielded[-1]) == yielded[-1]  # the last one is always known


def test_what_is_asked_for_stays_known_until_it_is_stored() -> None:
    uncommitted = Uncommitted(2, 4)
    for seq in range(1, 4):
        uncommitted.add((ONE, seq), cursor(seq, ONE, seq))
    uncommitted.asked = ONE, 2
    for seq in range(4, 200):
        uncommitted.add((ONE, seq), cursor(seq, ONE, seq))
    assert uncommitted.is_asked((ONE, 2))
    uncommitted.forget((ONE, 2))
    assert (uncommitted.end_of((ONE, 1)), uncommitted.end_of((ONE, 2)), uncommitted.asked) == (None, None, (ONE, 2))
    assert uncommitted.end_of((ONE, 199)) == (ONE, 199)


def test_a_consumer_that_never_commits_stays_small() -> None:
    """The batches of a thousand nodes, given to the consumer as the reading does."""
    pull = JetStreamPull("nats://127.0.0.1:1", WANTED, None)
    epochs = [node.to_bytes(16, "big") for node in range(1000)]
    count = 30_000
    for number in range(count):
        epoch, seq = epochs[number % 1000], number // 1000 + 1
        head = Head(epoch, "flows", "a", seq, 1, 1, 1, seq - 1, seq - 1 or None, Acknowledged(), seq, 1)
        pull.put(Ready(head, b"{}\n", (number + 1,)), Cursor(number + 1, marks={epoch: Mark(seq, seq)}))
        assert pull.take() is not None
    uncommitted = pull._uncommitted
    assert len(uncommitted) <= EXACT_BATCHES + STRETCHES
    assert sum(len(each.cursor.marks) for each in uncommitted._stretches.values()) <= EXACT_BATCHES + 2 * STRETCHES
    assert not pull.is_committed((epochs[999], 30))
    recent = count - EXACT_BATCHES
    place = epochs[recent % 1000], recent // 1000 + 1
    assert uncommitted.end_of(place) == place
    old = uncommitted.end_of((epochs[0], 20))
    assert old is not None
    assert 9_000 < uncommitted.cursor_behind(old, {}).sequence <= 19_001
