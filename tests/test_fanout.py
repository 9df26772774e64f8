"""Many sets over the same lines in one walk: each gets, and counts, exactly what it would get by itself."""

from __future__ import annotations

import random
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import PATHS, PythonMatcher, batches, filter_lists, json_lines, text_lines
from strategies_own import PATHS as OWN_PATHS
from strategies_own import own_filter_lists

import flowd
from flowd import _core
from flowd.fanout import FanOut, can_join, is_strict
from flowd.filters.model import FilterText
from flowd.filterset import FilterSet

quick = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def keep_only(name: str, field: str = "source_namespace") -> str:
    """A filter text that keeps one value of a field."""
    return f"<filter flows>\n@type grep\n<regexp>\nkey {field}\npattern /^{name}$/\n</regexp>\n</filter>\n"


def drop_only(name: str, field: str = "source_namespace") -> str:
    return keep_only(name, field).replace("regexp", "exclude")


def compile_all(*texts: str) -> list[FilterSet]:
    return [flowd.compile(text) for text in texts]


def say(name: str, more: bytes = b"") -> bytes:
    return b'{"source_namespace":"%s"%s}\n' % (name.encode(), more)


def check_alike(fan_out: FanOut, batch: bytes, chosen: list[int] | None = None) -> None:
    """The batch is decided together as by twins of the chosen sets alone, and both count the same."""
    twins = [filter_set.twin() for filter_set in fan_out.filter_sets]
    before = [filter_set.hits for filter_set in fan_out.filter_sets]
    kept, kept_lines, malformed, errors = fan_out.apply(batch)
    numbers = range(len(twins)) if chosen is None else chosen
    alone = [twins[number].apply(batch) for number in numbers]
    assert [bytes(lines) for lines in kept] == [applied.kept for applied in alone]
    assert kept_lines == [applied.kept_lines for applied in alone]
    assert malformed == [applied.malformed for applied in alone]
    assert errors == [applied.errors for applied in alone]
    for filter_set, twin, earlier in zip(fan_out.filter_sets, twins, before, strict=True):
        gained = {
            name: (lines - earlier[name].lines, size - earlier[name].bytes)
            for name, (lines, size) in filter_set.hits.items()
        }
        assert gained == twin.hits


@quick
@given(st.data())
def test_each_set_gets_and_counts_what_it_would_alone(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    drawn = []
    for _ in range(data.draw(st.integers(1, 6))):
        strategy = filter_lists(matcher, PATHS) if data.draw(st.booleans()) else own_filter_lists(matcher, OWN_PATHS)
        drawn.append(FilterSet(FilterText("fluentd", "flows", data.draw(strategy))))
    parts = data.draw(st.lists(batches(st.one_of(json_lines(), text_lines())), min_size=1, max_size=3))
    for strict in (True, False):
        sets = [filter_set for filter_set in drawn if can_join(filter_set) and is_strict(filter_set) == strict]
        if not sets:
            continue
        fan_out = FanOut(sets)
        for batch in parts:
            check_alike(fan_out, batch)
        chosen = sorted(data.draw(st.sets(st.integers(0, len(sets) - 1))))
        fan_out.choose(chosen)
        for batch in parts:
            check_alike(fan_out, batch, chosen)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 65, 129, 300])
def test_any_number_of_sets(count: int) -> None:
    names = [f"ns{number}" for number in range(count)]
    fan_out = FanOut(compile_all(*map(keep_only, names)))
    batch = b"".join(say(names[number * 7 % count]) + say("other") for number in range(2 * count))
    check_alike(fan_out, batch + b"no line of any form\n" + say("ns0", b',"a":"\\n"')[:-1])


@pytest.mark.parametrize("count", [0, 1, 2, 6, 7, 8, 15, 16, 200])
def test_any_number_of_fields(count: int) -> None:
    fields = [f"k{number}" for number in range(count)]
    sets = compile_all("", *(drop_only("a", field) for field in fields), "".join(map(drop_only, "ab", fields)))
    lines = [
        "{" + ",".join(f'"{field}":"{"ab"[number >> at % 6 & 1]}"' for at, field in enumerate(fields)) + "}\n"
        for number in range(64)
    ]
    fan_out = FanOut([filter_set for filter_set in sets if is_strict(filter_set) == bool(count)])
    for _ in range(2):
        check_alike(fan_out, "".join(lines).encode() + b"x\n")


def test_sets_that_keep_the_same_share_one_object_and_one_that_keeps_all_has_the_batch() -> None:
    texts = [keep_only("a"), keep_only("(?:a|z)"), drop_only("b"), drop_only("q"), keep_only("q")]
    batch = say("a") + say("b") + say("a")
    kept = FanOut(compile_all(*texts)).apply(batch).kept
    assert [bytes(lines) for lines in kept] == [say("a") * 2] * 3 + [batch, b""]
    assert kept[0] is kept[1] is kept[2]
    assert kept[3] is batch


def test_a_set_that_is_not_chosen_counts_nothing_and_costs_no_copy() -> None:
    sets = compile_all(keep_only("a"), keep_only("b"), drop_only("a"))
    fan_out = FanOut(sets)
    check_alike(fan_out, say("a") + say("b"))
    fan_out.choose([1])
    assert fan_out.apply(say("a") + say("b")).kept == [say("b")]
    assert [filter_set.hits["default"].lines for filter_set in sets] == [1, 2, 1]
    fan_out.choose([])
    assert fan_out.apply(say("a")).kept == []


def test_what_was_counted_stays_when_the_sets_part() -> None:
    sets = compile_all(keep_only("a"), drop_only("a"))
    first = FanOut(sets)
    first.apply(say("a") * 3)
    sets[0].apply(say("a"))
    first.close()
    second = FanOut(sets)
    second.apply(say("b"))
    assert sets[0].hits["default"].lines == 4
    assert [sum(hits.lines for hits in filter_set.hits.values()) for filter_set in sets] == [5, 4]
    second.close()
    assert [sum(hits.lines for hits in filter_set.hits.values()) for filter_set in sets] == [5, 4]


def test_a_value_that_is_broken_makes_the_line_malformed_for_those_alone_that_read_it() -> None:
    sets = compile_all(keep_only("a"), keep_only("b", "x"), drop_only("a"))
    broken = [b'{"source_namespace":"a","x":"\\q"}\n', b'{"source_namespace":"a","x":"\t"}\n']
    odd = [b'{"x":nul,"source_namespace":"a","x":"b"}\n', b'{ "source_namespace":"a","x":nul}\n', b'{"x":"b"\n']
    fan_out = FanOut(sets)
    for line in broken + odd:
        check_alike(fan_out, line * 2 + say("a"))
    check_alike(fan_out, b"".join(broken + odd))
    assert fan_out.apply(odd[1]).malformed == [0, 1, 0]


def test_a_line_on_which_matching_fails_is_an_error_for_those_alone_that_match_it() -> None:
    bomb = r"(a+)+\1"
    sets = compile_all(keep_only(bomb), drop_only(bomb), keep_only("b"))
    fan_out = FanOut(sets)
    check_alike(fan_out, say("a" * 60 + "!") * 3 + say("b"))
    assert fan_out.apply(say("a" * 60 + "!")).errors == [1, 1, 0]


def test_classes_that_are_given_anew_in_the_middle_of_a_batch_change_nothing() -> None:
    """Most values have a class of their own, each with hundreds of patterns: the classes' bound is met soon."""
    rules = "".join(
        f"<filter flows>\n@type grep\n<exclude>\nkey {field}\npattern /x{number}y/\n</exclude>\n</filter>\n"
        for number in range(500)
        for field in ("k", "m")
    )
    sets = compile_all(rules, keep_only("a"), drop_only("a"))
    fan_out = FanOut(sets)
    draw = random.Random(1)
    words = [f"x{number}y" for number in range(500)]
    lines = [
        say("ab"[number % 2], b',"k":"%s","m":"%s"' % tuple("".join(draw.sample(words, 250)).encode() for _ in "km"))
        for number in range(9000)
    ]
    kept = say("a") + say("b")
    for batch in (b"".join(lines[:5000]) + kept, b"".join(lines[5000:]) + kept):
        check_alike(fan_out, batch)
    assert fan_out.cache_stat["resets"] > 1


def test_more_outcomes_than_can_be_kept_are_refused_and_nothing_is_counted() -> None:
    """Each line has an outcome of its own, and for so many sets each takes some kilobytes."""
    few = compile_all(*(keep_only(f".*{letter}.*") for letter in "abcdefghijkl"))
    sets = [filter_set.twin() for filter_set in few for _ in range(250)]
    fan_out = FanOut(sets)
    names = ["".join(letter for at, letter in enumerate("abcdefghijkl") if number >> at & 1) for number in range(4096)]
    fan_out.apply(say("a"))
    with pytest.raises(MemoryError):
        fan_out.apply(b"".join(map(say, names)))
    assert [sum(hits.lines for hits in filter_set.hits.values()) for filter_set in sets] == [1] * len(sets)
    for first in range(0, 4096, 512):  # what was met before is forgotten between batches
        batch = b"".join(map(say, names[first : first + 200]))
        assert fan_out.apply(batch).kept[::250] == [filter_set.filter(batch) for filter_set in few]
    for name in "abc":  # and what was once too much is not forgotten again and again
        fan_out.apply(say(name))
    assert fan_out.cache_stat["outcomes"] == 3


def test_a_rule_ends_for_one_set_and_not_for_the_others() -> None:
    rule = "<filter flows>\n@type flowd\n<exclude>\nkey source_namespace\nequals a\nuntil {}\n</exclude>\n</filter>\n"
    ended, lasting = (flowd.compile(rule.format(day), dialect=None) for day in ("2001-01-01", "2222-01-01"))
    (section,) = lasting.text.filters
    (step,) = section.steps
    soon = section._replace(steps=(step._replace(until_ns=time.time_ns() + 50_000_000),))
    fan_out = FanOut([ended, lasting, FilterSet(lasting.text._replace(filters=(soon,)))])
    deadline_s = time.monotonic() + 20
    while fan_out.apply(say("a")).kept != [say("a"), b"", say("a")]:
        assert time.monotonic() < deadline_s
    check_alike(fan_out, say("a"))


def test_rules_that_are_gentle_do_not_join() -> None:
    rule = "<filter flows>\n@type flowd\n<exclude>\nkey source_namespace\nequals a\n{}\n</exclude>\n</filter>\n"
    joining = [can_join(flowd.compile(rule.format(more), dialect=None)) for more in ("", "shadow true", "sample 1/2")]
    assert joining == [True, False, False]


def test_hits_are_read_while_others_decide() -> None:
    sets = compile_all(keep_only("a"), drop_only("a"))
    fan_out = FanOut(sets)
    batch = say("a") * 5000 + say("b")
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen.append(sum(hits.lines for hits in sets[0].hits.values()))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        fan_out.apply(batch)
    done.set()
    reader.join()
    assert seen == sorted(seen)
    assert {count % 5001 for count in seen} <= {0}
    assert sum(hits.lines for hits in sets[0].hits.values()) == 50 * 5001


def test_misuse_is_told() -> None:
    core = FanOut(compile_all(keep_only("a")))._core
    with pytest.raises(ValueError, match="no batch"):
        core.gather()
    for wanted in ([1], [0, 0]):
        with pytest.raises(ValueError, match="output"):
            core.choose(wanted)
    with pytest.raises(ValueError, match="output 3"):
        core.hits(3)
    with pytest.raises(ValueError, match="format"):
        core.decide(b"", "xml")
    with pytest.raises(TypeError):
        core.decide("text")
    core.choose([0])
    core.decide(say("a"))
    core.choose([0])
    with pytest.raises(ValueError, match="no batch"):
        core.gather()
    program = flowd.compile(keep_only("a")).compiled.program
    with pytest.raises(ValueError, match="joint program"):
        _core.FanOut(program, [(2, 2, [0])])


def test_a_batch_is_held_from_decide_to_gather_and_no_longer() -> None:
    core = FanOut(compile_all(keep_only("a")))._core
    batch = bytearray(say("a") + say("b"))
    core.decide(batch)
    with pytest.raises(BufferError):
        batch.append(0)
    assert core.gather()[0] == [say("a")]
    batch.append(0)
    core.decide(batch)
    del core
    batch.append(0)
