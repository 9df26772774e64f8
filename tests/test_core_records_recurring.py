"""Records whose keys recur, as those of a stream do: a long run of them is written and decided as each record alone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_records import Packed, Time, add_time, array, boolean, event_time, integer, mapping, nil, real, text

import flowd
from flowd.messages import write_records

LONG = b"k" * 31
"""The longest key that has a header of one byte."""
KEYS = [b"a", b"b", b"time", LONG, b"k" * 30, b"k" * 32, b"k" * 70, "é".encode(), b"", b'x"y', b"x\\y", b"\xff", b"c\n"]
TEXTS = [b"", b"x", b"x" * 31, b"x" * 32, b"y" * 62, b"y" * 63, b"y" * 64, b"z" * 300, b'"', b"a" * 30 + b"\\",
         b"a" * 40 + b"\x1f" + b"b" * 20, "é".encode() * 20, b"a" * 62 + b"\xff"]  # fmt: skip
NUMBERS = [0, 1, 9, 10, 99, 100, 127, 128, 255, 256, 9999, 10_000, 65535, 65536, 99_999_999, 100_000_000, 2**32 - 1,
           2**32, 2**64 - 1, -1, -32, -33, -(2**31), -(2**63)]  # fmt: skip
SECTIONS = "".join(
    f"<filter flows>\n@type grep\n<exclude>\nkey {key}\npattern {pattern}\n</exclude>\n</filter>\n"
    for key, pattern in [("a", "9"), ("time", "5"), (LONG.decode(), "^[1-9]"), ("é", "^$"), ("b", "y{63}")]
)
Pairs = list[tuple[Packed, Packed]]


def draw_scalar(draw: Random) -> Packed:
    kind = draw.randrange(8)
    if kind < 3:
        return text(draw.choice(TEXTS), draw.choice([0, 0, 1, 2]), draw.random() < 0.1)
    if kind < 6:
        return integer(draw.choice(NUMBERS), draw.choice([0, 0, 1, 2, 4, 8]))
    return draw.choice([nil(), boolean(True), boolean(False), real(draw.choice([0.5, 1e20, float("inf")]), False)])


def draw_value(draw: Random, depth: int = 0) -> Packed:
    kind = draw.randrange(12)
    if depth > 3 or kind > 1:
        return draw_scalar(draw)
    inner = range(draw.choice([0, 1, 2, 3, 20]))
    if kind:
        return array([draw_value(draw, depth + 1) for _ in inner], draw.choice([0, 0, 1, 2]))
    return mapping([(draw_key(draw), draw_value(draw, depth + 1)) for _ in inner], draw.choice([0, 0, 1, 2]))


def draw_key(draw: Random, most: int = 20) -> Packed:
    if draw.random() < 0.05:
        return integer(draw.choice(NUMBERS), 0)
    key = draw.choice(KEYS) if draw.random() < 0.4 else b"key%d" % draw.randrange(most)
    return text(key, draw.choice([0] * 20 + [1, 2]), False)


def change(draw: Random, shape: Pairs, most_keys: int) -> Pairs:
    """A record of this shape: other values, and now and then a key that is not there, is new, comes twice, or moves."""
    pairs = [(key, draw_value(draw) if draw.random() < 0.3 else value) for key, value in shape]
    for _ in range(draw.choice([0, 0, 0, 1, 2])):
        at = draw.randrange(len(pairs) + 1)
        kind = draw.randrange(4)
        if kind == 0 or not pairs:
            pairs.insert(at, (draw_key(draw, most_keys), draw_value(draw)))
        elif kind == 1:
            del pairs[at % len(pairs)]
        elif kind == 2:
            pairs.insert(at, (draw.choice(pairs)[0], draw_value(draw)))
        else:
            pairs.insert(at, pairs.pop(draw.randrange(len(pairs))))
    if draw.random() < 0.002:
        pairs.append((text(b"huge", 0, False), text(b"h" * draw.randrange(200_000), 0, False)))
    return pairs


def draw_run(draw: Random, time_key: str | None, most_keys: int) -> tuple[bytes, str]:
    """Some hundred entries of a few shapes, and their lines."""
    shapes = [
        [(draw_key(draw, most_keys), draw_value(draw)) for _ in range(draw.choice([0, 3, 12, 60]))] for _ in range(2)
    ]
    packed, lines = [], []
    shape = shapes[0]
    for _ in range(draw.choice([3, 150, 300])):
        if draw.random() < 0.02:
            shape = draw.choice(shapes)
        time: Time = event_time(draw.choice([1, 5, 1_700_000_000]), draw.choice([0, 5, 10**9 - 1]), True)
        pairs = change(draw, shape, most_keys)
        record = mapping(pairs)
        packed.append(b"\x92" + time.packed + record.packed)
        lines.append(add_time(record.text, [str(key.key) for key, _ in pairs], time_key, time.text) + "\n")
    return b"".join(packed), "".join(lines)


@pytest.mark.parametrize("time_key", [None, "time", "a"])
@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), most_keys=st.sampled_from([5, 60, 1000]))
def test_a_run_of_like_records_is_decided_as_its_lines_are(time_key: str | None, seed: int, most_keys: int) -> None:
    run, lines = draw_run(Random(seed), time_key, most_keys)
    assert write_records(run, time_key=time_key)[0].decode() == lines
    by_record, by_line = flowd.compile(SECTIONS), flowd.compile(SECTIONS)
    wanted = by_line.apply(lines.encode(), format="json")
    # What was met first is known the second time.
    for _ in range(2):
        applied = by_record.apply_records(run, time_key=time_key)
        assert (applied.kept, applied.kept_records, applied.errors) == (wanted.kept, wanted.kept_lines, wanted.errors)
    by_line.apply(lines.encode(), format="json")
    assert by_record.hits == by_line.hits


def test_a_wanted_key_counts_as_it_is_written_last() -> None:
    filters = flowd.compile("<filter flows>\n@type grep\n<regexp>\nkey a\npattern ^2$\n</regexp>\n</filter>")
    a = text(b"a", 0, False)
    for first, second, is_kept in [(1, 2, True), (2, 1, False), (2, 2, True)]:
        record = mapping([(a, integer(first, 0)), (text(b"b", 0, False), nil()), (a, integer(second, 0))])
        applied = filters.apply_records(b"\x92\x01" + record.packed)
        assert (applied.kept_records, applied.read.records) == (int(is_kept), 1)
        nested = mapping([(text(b"b", 0, False), mapping([(a, integer(second, 0))]))])
        assert filters.apply_records(b"\x92\x01" + nested.packed).kept_records == 0


def test_kept_lines_may_be_far_longer_than_their_records() -> None:
    """Every byte becomes six."""
    records = (mapping([(text(b"a", 0, False), text(b"\x01" * n, 0, False))]) for n in range(900))
    run = b"".join(b"\x92\x01" + record.packed for record in records)
    lines = write_records(run)[0]
    assert len(lines) > 5 * len(run)
    assert flowd.compile("").apply_records(run).kept == lines
