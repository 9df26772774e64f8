"""What new filters decide otherwise: counted by pairs of rules, as a naive check of every line would."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import PATHS, TEXT_PATHS, PythonMatcher, batches, filter_lists, json_lines, text_lines

import flowd
from flowd.comparison import Change, Comparison, Pair, Sum
from flowd.filters.model import Filter, FilterText

EXCLUDE = """\
<filter flows>
  @type grep
  <exclude>
    key {key}
    pattern {pattern}
  </exclude>
</filter>
"""
DEV = b'{"a":"dev","b":"x"}'
DEVOPS = b'{"a":"devops","b":"x"}'
WEB = b'{"a":"web","b":"y"}'
TORN = b'{"a":"dev'


def compile_exclude(pattern: str, key: str = "a") -> flowd.FilterSet:
    return flowd.compile(EXCLUDE.format(key=key, pattern=pattern))


def compare(old: flowd.FilterSet, new: flowd.FilterSet, lines: bytes, **wishes: bool) -> Comparison:
    comparison = Comparison(old, new, **wishes)  # type: ignore[arg-type]
    comparison.add(lines)
    return comparison


def test_what_is_newly_dropped_and_kept_is_told_with_its_rules() -> None:
    comparison = compare(
        compile_exclude("dev"), compile_exclude("/^(dev|web)$/"), b"\n".join([DEV, DEVOPS, WEB, WEB, TORN]) + b"\n"
    )
    assert comparison.changes == [
        Change("K", "default", "D", "filter1.exclude1", 2, 2 * len(WEB) + 2, (WEB, WEB)),
        Change("D", "filter1.exclude1", "K", "default", 1, len(DEVOPS) + 1, (DEVOPS,)),
    ]
    assert [change.direction for change in comparison.changes] == ["newly dropped", "newly kept"]
    assert comparison.total("newly dropped") == Sum(2, 2 * len(WEB) + 2)
    assert comparison.total("otherwise") == Sum(0, 0)
    assert comparison.old_dropped == Sum(2, len(DEV) + len(DEVOPS) + 2)
    assert comparison.new_dropped == Sum(3, len(DEV) + 2 * len(WEB) + 3)
    assert comparison.lines == 5


def test_a_line_that_is_malformed_to_one_of_them_is_decided_otherwise() -> None:
    broken = b'{"a":"dev","b":"\\q"}\n'
    (change,) = compare(compile_exclude("web"), compile_exclude("web", "b"), broken).changes
    assert (change.pair, change.direction) == (Pair("K", "default", "M", "default"), "otherwise")


def test_rules_that_decide_otherwise_though_the_verdict_stays_are_moves() -> None:
    old, new = compile_exclude("dev"), compile_exclude("x", "b")
    assert compare(old, new, DEV + b"\n").changes == []
    assert compare(old, new, DEV + b"\n").moves == []
    two = flowd.compile(EXCLUDE.format(key="b", pattern="nosuch") + EXCLUDE.format(key="a", pattern="dev"))
    comparison = compare(old, two, b"\n".join([DEV, WEB]), with_rules=True)
    assert comparison.moves == [Change("D", "filter1.exclude1", "D", "filter2.exclude1", 1, len(DEV) + 1, (DEV,))]
    assert comparison.changes == []
    assert {change.pair for change in comparison.pairs} == {
        Pair("D", "filter1.exclude1", "D", "filter2.exclude1"),
        Pair("K", "default", "K", "default"),
    }


def test_comparing_is_not_deciding() -> None:
    old, new = compile_exclude("dev"), compile_exclude("web")
    compare(old, new, DEV + b"\n" + WEB + b"\n")
    assert {hits.lines for each in (old, new) for hits in each.hits.values()} == {0}


def test_examples_are_the_first_and_no_more_than_wanted() -> None:
    lines = b"".join(b'{"a":"dev","n":%d}\n' % number for number in range(10))
    comparison = Comparison(compile_exclude("web"), compile_exclude("dev"), examples=2)
    for line in lines.splitlines(keepends=True):
        comparison.add(line)
    (change,) = comparison.changes
    assert (change.lines, change.examples) == (10, (b'{"a":"dev","n":0}', b'{"a":"dev","n":1}'))
    nobody = Comparison(compile_exclude("web"), compile_exclude("dev"), examples=0)
    nobody.add(memoryview(bytearray(lines)))
    assert nobody.changes[0].examples == ()


def test_forks_are_merged_in_the_order_that_is_wanted() -> None:
    whole = Comparison(compile_exclude("web"), compile_exclude("dev"), examples=2)
    forks = [whole.fork() for _ in range(3)]
    for number, fork in enumerate(forks):
        fork.add(b'{"a":"dev","n":%d}\n' % number + WEB)
    for fork in forks:
        whole.merge(fork)
    assert [(change.direction, change.lines, change.examples) for change in whole.changes] == [
        ("newly dropped", 3, (b'{"a":"dev","n":0}', b'{"a":"dev","n":1}')),
        ("newly kept", 3, (WEB, WEB)),
    ]
    assert forks[0].lines == 2
    with pytest.raises(ValueError, match="same filter sets"):
        whole.merge(Comparison(compile_exclude("web"), compile_exclude("dev")))


def compile_filters(filters: tuple[Filter, ...]) -> flowd.FilterSet:
    readings = {rule.condition.reading for section in filters for step in section.steps for rule in step.rules}
    return flowd.FilterSet(FilterText("fluentbit-yaml" if "string" in readings else "fluentd", "flows", filters))


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_it_counts_what_a_naive_check_of_every_line_counts(data: st.DataObject) -> None:
    paths = PATHS + TEXT_PATHS
    old, new = (compile_filters(data.draw(filter_lists(PythonMatcher(), paths))) for _ in range(2))
    many = [data.draw(batches(st.one_of(json_lines(), text_lines()))) for _ in range(data.draw(st.integers(1, 3)))]
    form = data.draw(st.sampled_from(["auto", "auto", "json", "text24"]))
    with_rules = data.draw(st.booleans())

    lines: Counter[Pair] = Counter()
    sizes: Counter[Pair] = Counter()
    dropped = [0, 0]
    for batch in many:
        for line in split_keeping(batch):
            before, after = (each.explain(line, format=form) for each in (old, new))
            pair = Pair(before.verdict, before.rule, after.verdict, after.rule)
            lines[pair] += 1
            sizes[pair] += len(line)
            dropped[0] += before.verdict == "D"
            dropped[1] += after.verdict == "D"

    comparison = Comparison(old, new, format=form, with_rules=with_rules)
    for batch in many:
        part = comparison.fork()
        part.add(batch)
        comparison.merge(part)
    wanted = {pair: (lines[pair], sizes[pair]) for pair in lines if pair.old_verdict != pair.new_verdict}
    assert {change.pair: (change.lines, change.bytes) for change in comparison.changes} == wanted
    moved = {
        pair: (lines[pair], sizes[pair])
        for pair in lines
        if with_rules and pair.old_verdict == pair.new_verdict and pair.old_rule != pair.new_rule
    }
    assert {change.pair: (change.lines, change.bytes) for change in comparison.moves} == moved
    assert (comparison.lines, comparison.bytes) == (sum(lines.values()), sum(map(len, many)))
    assert [comparison.old_dropped.lines, comparison.new_dropped.lines] == dropped


def split_keeping(batch: bytes) -> list[bytes]:
    """The lines with their newlines; splitlines would take a CR for an end, too."""
    parts = batch.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])
