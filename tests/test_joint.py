"""Two sets over the same lines in one walk: every line is counted under what each set decides by itself."""

from __future__ import annotations

from collections import Counter

import oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import PATHS, PythonMatcher, batches, filter_lists, json_lines, text_lines
from strategies_own import PATHS as OWN_PATHS
from strategies_own import own_filter_lists

from flowd.filters.model import FilterText
from flowd.filterset import FilterSet
from flowd.joint import JointProgram

quick = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def count_alone(old: FilterSet, new: FilterSet, lines: bytes) -> Counter[tuple[str, str, str, str]]:
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for line in oracle.split_lines(lines):
        before, after = old.explain(line), new.explain(line)
        counts[before.rule, before.verdict, after.rule, after.verdict] += 1
    return counts


@quick
@given(st.data())
def test_each_line_is_counted_under_what_both_sets_decide(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    sets = []
    for _ in range(2):
        strategy = filter_lists(matcher, PATHS) if data.draw(st.booleans()) else own_filter_lists(matcher, OWN_PATHS)
        sets.append(FilterSet(FilterText("fluentd", "flows", data.draw(strategy))))
    old, new = sets
    parts = data.draw(st.lists(batches(st.one_of(json_lines(), text_lines())), min_size=1, max_size=3))
    joint = JointProgram(old, new, few_lines=data.draw(st.booleans()))
    comparer = joint.comparer(2)
    wanted: Counter[tuple[str, str, str, str]] = Counter()
    size = 0
    for lines in parts:
        comparer.add(lines)
        wanted += count_alone(old, new, lines)
        size += len(lines)
    counts = comparer.take()
    names = [
        (joint.old_rule(old_rule), before, joint.new_rule(new_rule), after)
        for old_rule, before, new_rule, after, *_ in counts
    ]
    assert dict(zip(names, (count[4] for count in counts), strict=True)) == wanted
    assert sum(count[5] for count in counts) == size
    for name, (*_, lines, _, examples) in zip(names, counts, strict=True):
        assert len(examples) == min(2, lines)
        assert all(list(count_alone(old, new, line + b"\n")) == [name] for line in examples)
    assert comparer.take() == []
