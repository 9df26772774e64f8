"""Records in msgpack: written as JSON lines as the pages say, and filtered exactly as these lines are."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import strategies_records as written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_records import Entry, pack
from strategies import PATHS, PythonMatcher, filter_lists
from strategies_own import PATHS as OWN_PATHS
from strategies_own import own_filter_lists
from strategies_records import BROKEN, MARKERS

import flowd
from flowd.filters.model import Filter, FilterText
from flowd.filterset import FilterSet
from flowd.messages import PROBLEMS, write_records

quick = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
LOST = {"truncated", "invalid"}


def compile_filters(filters: tuple[Filter, ...]) -> FilterSet:
    readings = {rule.condition.reading for section in filters for step in section.steps for rule in step.rules}
    return FilterSet(FilterText("fluentbit-yaml" if "string" in readings else "fluentd", "flows", filters))


def one_line(record: bytes, **options: Any) -> str:
    lines, read = write_records(b"\x92\x01" + record, **options)
    assert read.records == 1, read
    return lines.decode()


@quick
@given(st.data(), st.sampled_from([None, "time", "a", "né\n"]))
def test_records_are_written_as_the_oracle_writes_them(data: st.DataObject, time_key: str | None) -> None:
    broken = st.sampled_from(BROKEN)
    run: list[Entry] = data.draw(st.lists(st.one_of(*[written.entries(time_key)] * 4, broken), max_size=8))
    markers = data.draw(st.lists(st.sampled_from(MARKERS), max_size=1))
    packed = b"".join(entry.packed for entry in run) + b"".join(markers)
    lines, read = write_records(packed, time_key=time_key)
    assert lines.decode() == "".join(entry.line for entry in run)
    problems = [entry.problem for entry in run if entry.problem]
    assert read.problems == {problem: problems.count(problem) for problem in sorted(set(problems), key=PROBLEMS.index)}
    good = [entry.ns for entry in run if not entry.problem]
    assert (read.records, read.malformed, read.markers, read.unread_bytes) == (
        len(good),
        len(problems),
        len(markers),
        0,
    )
    assert (read.first_ns, read.last_ns) == ((min(good), max(good)) if good else (0, 0))


@quick
@given(st.data())
def test_a_bare_entry_is_written_like_one_of_a_run(data: st.DataObject) -> None:
    entry = data.draw(written.entries(None))
    assert write_records(entry.bare, is_bare=True) == write_records(entry.packed)


def assert_filtered_as_lines(filters: tuple[Filter, ...], run: bytes, time_key: str | None, invert: bool) -> None:
    """The kept lines, the errors and every rule's hits are those of the lines; first with empty tables, then again."""
    by_record, by_line = compile_filters(filters), compile_filters(filters)
    lines, read = write_records(run, time_key=time_key)
    for _ in range(2):
        applied = by_record.apply_records(run, time_key=time_key, invert=invert)
        wanted = by_line.apply(lines, format="json", invert=invert)
        assert (applied.kept, applied.kept_records, applied.errors) == (wanted.kept, wanted.kept_lines, wanted.errors)
        assert (applied.read, wanted.malformed, wanted.lines) == (read, 0, read.records)
    assert by_record.hits == by_line.hits


@quick
@given(st.data(), st.sampled_from([None, None, "time", "a"]), st.booleans())
def test_records_get_the_verdicts_of_their_lines(data: st.DataObject, time_key: str | None, invert: bool) -> None:
    filters = data.draw(filter_lists(PythonMatcher(), [*PATHS, ("c",), ("time",)]))
    run = data.draw(st.lists(st.one_of(*[written.entries(time_key)] * 4, st.sampled_from(BROKEN)), max_size=12))
    assert_filtered_as_lines(filters, b"".join(entry.packed for entry in run), time_key, invert)


@quick
@given(st.data(), st.sampled_from([None, None, "time"]), st.booleans())
def test_records_get_the_verdicts_of_their_lines_by_flowds_own_rules(
    data: st.DataObject, time_key: str | None, invert: bool
) -> None:
    filters = data.draw(own_filter_lists(PythonMatcher(), [*OWN_PATHS, ("time",)]))
    run = data.draw(st.lists(written.entries(time_key), max_size=12))
    assert_filtered_as_lines(filters, b"".join(entry.packed for entry in run), time_key, invert)


def test_a_long_run_is_filtered_as_its_lines_are() -> None:
    """Longer than a block of lines, with long and short records, kept ones in runs and alone."""
    records = [
        {"a": "x" if i % 7 < 3 or i % 1000 < 200 else "y", "n": i, "pad": "z" * (i * 37 % 900)} for i in range(5000)
    ]
    run = b"".join(pack([i, record]) for i, record in enumerate(records))
    filters = flowd.compile("<filter flows>\n@type grep\n<exclude>\nkey a\npattern ^x$\n</exclude>\n</filter>")
    applied = filters.apply_records(run)
    assert [json.loads(line) for line in applied.kept.splitlines()] == [r for r in records if r["a"] == "y"]
    assert filters.apply_records(run, invert=True).kept_records == 5000 - applied.kept_records
    assert filters.apply_records(b"") == (b"", 0, 0, (0, 0, {}, 0, 0, 0, 0))


@pytest.mark.parametrize("most_bytes", [1, 13, 14, 100, 70_000])
def test_a_run_is_read_in_parts_of_so_many_bytes_of_lines(most_bytes: int) -> None:
    run = b"".join(pack([i, {"a": i % 3, "b": "x" * (i % 50)}]) for i in range(1, 3000)) + b"\x01\xc1"
    filters, at_once = (
        flowd.compile("<filter flows>\n@type grep\n<exclude>\nkey a\npattern 1\n</exclude>\n</filter>")
        for _ in range(2)
    )
    whole = at_once.apply_records(run)
    rest, kept, records = memoryview(run), b"", 0
    while True:
        lines, read = write_records(rest, most_bytes=most_bytes)
        applied = filters.apply_records(rest, most_bytes=most_bytes)
        assert applied.read == read
        assert len(lines) <= most_bytes or read.records == 1
        kept += applied.kept
        records += read.records
        if read.is_lost or not read.unread_bytes:
            break
        assert read.malformed == 0
        rest = rest[len(rest) - read.unread_bytes :]
    assert (kept, records, read.problems, read.unread_bytes) == (whole.kept, 2999, whole.read.problems, 1)
    assert filters.hits == at_once.hits


def test_plain_records_are_read_back_as_they_were() -> None:
    records: list[dict[str, Any]] = [
        {"s": "é\n\"\\/\x00\x7f", "i": -5, "big": 2**64 - 1, "f": 0.1, "t": True, "n": None, "l": [1, [], {}],
         "m": {"a": {"b": 1}}},
        {},
    ]  # fmt: skip
    lines, read = write_records(b"".join(pack([1700000000, record]) for record in records))
    assert [json.loads(line) for line in lines.splitlines()] == records
    assert lines.endswith(b"}}\n{}\n")
    assert read.records == 2


def test_a_samples_choice_is_by_the_line() -> None:
    shadow = "<exclude>\nname seen\nshadow true\nkey b\n> 500\n</exclude>"
    sample = "<exclude>\nname some\nsample 1/4\nkey a\nequals x\n</exclude>"
    rules = f"<filter flows>\n@type flowd\n{shadow}\n{sample}\n</filter>"
    by_record, by_line = (flowd.compile(rules, dialect=None) for _ in range(2))
    run = b"".join(pack([i, {"a": "x", "b": i}]) for i in range(1, 1000))
    for time_key in (None, "time"):
        kept = by_record.apply_records(run, time_key=time_key).kept
        assert kept == by_line.filter(write_records(run, time_key=time_key)[0])
        assert 100 < kept.count(b"\n") < 900
    assert by_record.hits == by_line.hits
    assert by_record.hits["some.sampled"].lines > 0
    assert by_record.hits["seen"].lines > 0


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (b"\x82\xa1a\x01\xa1a\x02", '{"a":1,"a":2}\n'),  # both stay; readers and rules take the last
        (b"\x81\x01\xc0", '{"1":null}\n'),
        (b"\x81\xc0\xc3", '{"null":true}\n'),
        (b"\x81\xca\x3f\xc0\x00\x00\xc2", '{"1.5":false}\n'),
        (b"\x81\xcb\x7f\xf8" + bytes(6) + b"\x01", '{"NaN":1}\n'),
        (b"\x81\xa1a\xcb\x7f\xf0" + bytes(6), '{"a":"Infinity"}\n'),
        (b"\x81\xa1a\xca\x3d\xcc\xcc\xcd", '{"a":0.10000000149011612}\n'),  # as Ruby reads a single
        (b"\x81\xa1a\xcb" + bytes.fromhex("4415af1d78b58c40"), '{"a":1.0e+20}\n'),
        (b"\x81\xa1a\xa2\xc3\x28", '{"a":"?("}\n'),
        (b"\x81\xa1a\xc4\x02\xc3\xa9", '{"a":"é"}\n'),
        (b"\x81\xa2\xff\xfe\x01", '{"??":1}\n'),
        (b"\x81\xa1a\xd7\x00\x00\x00\x00\x05\x00\x00\x00\x06", '{"a":5}\n'),
        (b"\x81\xa1a\xd5\x07\x01\x02", '{"a":{"type":7,"data":"AQI="}}\n'),
        (b"\x81\xa1a\xc7\x00\x07", '{"a":{"type":7,"data":""}}\n'),
        (b"\x81\xa1a\xa3</\x08", '{"a":"</\\b"}\n'),
    ],
)
def test_values_that_json_does_not_have(record: bytes, line: str) -> None:
    assert one_line(record) == line


def test_a_key_that_was_invalid_is_found_by_what_is_written() -> None:
    filters = flowd.compile("<filter flows>\n@type grep\n<regexp>\nkey a?\npattern ^1$\n</regexp>\n</filter>")
    assert filters.apply_records(b"\x92\x01\x81\xa2a\xff\x01").kept == b'{"a?":1}\n'


@pytest.mark.parametrize(("depth", "records"), [(1, 1), (127, 1), (128, 0), (100_000, 0)])
@pytest.mark.parametrize("form", [(b"\x91", b"\x90"), (b"\x81\xa1b", b"\x80")])
def test_nesting_has_a_bound(depth: int, records: int, form: tuple[bytes, bytes]) -> None:
    deep = b"\x92\x01\x81\xa1a" + form[0] * (depth - 1) + form[1]
    read = write_records(deep + b"\x92\x01\x80")[1]
    assert (read.records, read.problems) == (records + 1, {} if records else {"depth": 1})


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (b"\x92\xd7\x00\x65\x53\xf1\x00\x07\x5b\xcd\x15\x80", "1700000000.123456789"),
        (b"\x92\xc7\x08\x00\x65\x53\xf1\x00\x1d\xcd\x65\x00\x80", "1700000000.5"),
        (b"\x92\xce\x65\x53\xf1\x00\x80", "1700000000.0"),
        (b"\x92\xfb\x80", "-5.0"),
        (b"\x92\xcb\x41\xd9\x54\xfc\x40\x20\x00\x00\x80", "1700000000.5"),
        (b"\x92\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\x80", "9223372036854775807.0"),
        (b"\x92\x92\xce\x65\x53\xf1\x00\x81\xa1x\x01\x80", "1700000000.0"),
    ],
)
def test_times_are_written_as_seconds(entry: bytes, text: str) -> None:
    assert write_records(entry, time_key="time")[0].decode() == f'{{"time":{text}}}\n'


@pytest.mark.parametrize("time", [b"\xc0", b"\x00", b"\xd7\x00" + bytes(8)])
def test_an_entry_without_a_time_has_that_of_its_coming(time: bytes) -> None:
    from time import time_ns

    before = time_ns()
    lines, read = write_records(b"\x92" + time + b"\x80", time_key="t")
    assert before <= read.first_ns == read.last_ns <= time_ns()
    assert lines.startswith(b'{"t":%d.' % (read.first_ns // 10**9))


def test_a_records_own_time_wins() -> None:
    record = pack([1700000000, {"time": "mine", "a": {"time": 1}}])
    assert write_records(record, time_key="time")[0] == b'{"time":"mine","a":{"time":1}}\n'
    assert write_records(record, time_key='a"')[0].endswith(b',"a\\"":1700000000.0}\n')
    nested = pack([1700000000, {"a": {"time": 1}}])
    assert write_records(nested, time_key="time")[0] == b'{"a":{"time":1},"time":1700000000.0}\n'


@quick
@given(st.data())
def test_a_cut_run_gives_what_is_whole(data: st.DataObject) -> None:
    run = data.draw(st.lists(written.entries(None), min_size=1, max_size=3))
    packed = b"".join(entry.packed for entry in run)
    at = data.draw(st.integers(0, len(packed)))
    lines, read = write_records(bytearray(packed)[:at])
    whole, end = 0, 0
    while whole < len(run) and end + len(run[whole].packed) <= at:
        end += len(run[whole].packed)
        whole += 1
    assert lines.decode() == "".join(entry.line for entry in run[:whole])
    assert (read.records, read.unread_bytes) == (whole, at - end)
    assert read.problems == ({"truncated": 1} if at > end else {})


@pytest.mark.parametrize(
    "first", [0xC1, *range(0xC4, 0xCA), 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0x8F, 0x9F, 0xBF]
)
@pytest.mark.parametrize("before", [b"", b"\x92", b"\x92\x01", b"\x92\x01\x81", b"\x92\x01\x81\xa1a", b"\x92\x92\x01"])
def test_lengths_that_nothing_bears_out_end_the_run(first: int, before: bytes) -> None:
    good = pack([1, {"a": "x" * 200}])
    for rest in (b"", b"\xff", b"\xff" * 10):
        filters = flowd.compile("")
        applied = filters.apply_records(good + before + bytes([first]) + rest)
        assert applied.kept.startswith(b'{"a":"xxx')
        assert applied.read.malformed == sum(applied.read.problems.values()) >= 1
        if first == 0xC1 and before in (b"", b"\x92\x01\x81\xa1a"):
            assert applied.read.problems == {"invalid": 1}
            assert applied.read.unread_bytes == len(before) + 1 + len(rest)


@quick
@given(st.binary(max_size=300))
def test_any_bytes_are_read_to_an_end(noise: bytes) -> None:
    lines, read = write_records(noise)
    assert lines.count(b"\n") == read.records
    assert (read.unread_bytes > 0) == bool(LOST & set(read.problems))
    for line in lines.splitlines():
        json.loads(line)
    assert flowd.compile("").apply_records(noise) == (lines, read.records, 0, read)


def test_records_are_filtered_by_many_threads_at_once() -> None:
    filters = flowd.compile("<filter flows>\n@type grep\n<exclude>\nkey a\npattern ^1\n</exclude>\n</filter>")
    run = b"".join(pack([i, {"a": str(i), "b": "x" * 100}]) for i in range(1, 2000))
    wanted = filters.apply_records(run).kept
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(filters.apply_records(run).kept for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 80
    assert sum(hits.lines for hits in filters.hits.values()) == 81 * 1999
