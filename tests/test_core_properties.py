"""The core against the plain oracle, on generated filters and lines, with each engine; and against itself."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import JSON_KEYS, PATHS, TEXT_PATHS, PythonMatcher, batches, filter_lists, json_lines, text_lines
from strategies_own import PATHS as OWN_PATHS
from strategies_own import TEXT_PATHS as OWN_TEXT_PATHS
from strategies_own import own_filter_lists

from flowd import FilterSet
from flowd.filters.model import Filter, FilterText

Path = tuple[str | int, ...]


@pytest.fixture(params=["auto", "portable", "reference"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FLOWD_ENGINE", request.param)
    return str(request.param)


def compile_filters(filters: tuple[Filter, ...]) -> FilterSet:
    readings = {rule.condition.reading for section in filters for step in section.steps for rule in step.rules}
    return FilterSet(FilterText("fluentbit-yaml" if "string" in readings else "fluentd", "flows", filters))


def assert_agrees(filters: tuple[Filter, ...], matcher: PythonMatcher, lines: bytes, form: oracle.Format) -> None:
    judge = oracle.Oracle(filters, matcher)
    filter_set = compile_filters(filters)
    wanted = oracle.verdicts(judge, lines, form)
    for _ in range(2):  # first with empty value tables, then from them
        assert filter_set.verdicts(lines, format=form) == wanted
    assert filter_set.filter(lines, format=form) == oracle.keep(judge, lines, form)
    hits = {name: (count // 3, size // 3) for name, (count, size) in filter_set.hits.items() if count}
    assert hits == oracle.count_hits(judge, lines, form)


quick = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))


@quick
@given(st.data())
def test_json_lines_get_the_oracles_verdicts(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(filter_lists(matcher, PATHS))
    lines = data.draw(batches(json_lines()))
    assert_agrees(filters, matcher, lines, data.draw(st.sampled_from(["auto", "auto", "json"])))


@quick
@given(st.data())
def test_text_lines_get_the_oracles_verdicts(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(filter_lists(matcher, TEXT_PATHS))
    lines = data.draw(batches(text_lines()))
    assert_agrees(filters, matcher, lines, data.draw(st.sampled_from(["auto", "auto", "text24", "text27"])))


@quick
@given(st.data())
def test_mixed_and_random_lines_get_the_oracles_verdicts(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(filter_lists(matcher, PATHS + TEXT_PATHS))
    noise = st.binary(max_size=80).map(lambda text: text.replace(b"\n", b" "))
    json_noise = st.text(st.sampled_from('{}[]:," \\abdev0'), max_size=40).map(str.encode)
    lines = data.draw(batches(st.one_of(json_lines(), text_lines(), noise, json_noise)))
    assert_agrees(filters, matcher, lines, data.draw(st.sampled_from(["auto", "json", "text24", "text27"])))


@quick
@given(st.data())
def test_flowds_own_rules_get_the_oracles_verdicts(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(own_filter_lists(matcher, OWN_PATHS + OWN_TEXT_PATHS))
    lines = data.draw(batches(st.one_of(json_lines(), text_lines())))
    assert_agrees(filters, matcher, lines, "auto")


@quick
@given(st.data())
def test_flowds_own_rules_are_explained_as_they_decide(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(own_filter_lists(matcher, OWN_PATHS + OWN_TEXT_PATHS))
    filter_set = compile_filters(filters)
    line = data.draw(st.one_of(json_lines(), text_lines()))
    judgement = oracle.Oracle(filters, matcher).judge(line)
    explained = filter_set.explain(line)
    assert (explained.verdict, explained.rule) == (judgement.letter, judgement.rule)
    drops = [looked.group or looked.rule for looked in explained.trace if " drops: " in f" {looked.effect}"]
    assert drops == ([judgement.rule] if judgement.letter == "D" else [])


def splits(lines: bytes) -> Iterator[list[bytes]]:
    ends = [at + 1 for at, byte in enumerate(lines) if byte == 10]
    for cut in ends:
        yield [lines[:cut], lines[cut:]]


@quick
@given(st.data())
def test_every_split_into_batches_gives_the_same(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filter_set = compile_filters(data.draw(filter_lists(matcher, PATHS + TEXT_PATHS)))
    lines = data.draw(batches(st.one_of(json_lines(), text_lines())))
    verdicts, kept = filter_set.verdicts(lines), filter_set.filter(lines)
    for parts in splits(lines):
        assert b"".join(map(filter_set.verdicts, parts)) == verdicts
        assert b"".join(map(filter_set.filter, parts)) == kept


@quick
@given(st.data())
def test_apply_counts_what_verdicts_say(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(filter_lists(matcher, PATHS))
    filter_set = compile_filters(filters)
    lines = data.draw(batches(json_lines()))
    letters = filter_set.verdicts(lines)
    raw = oracle.split_lines(lines)
    kept = filter_set.apply(lines)
    errors = sum(judgement.errors for _, judgement in oracle.judge_all(oracle.Oracle(filters, matcher), lines))
    assert kept == (filter_set.filter(lines), len(raw), len(raw) - letters.count(b"D"), letters.count(b"M"), errors)
    without_malformed = filter_set.apply(lines, malformed="drop")
    assert without_malformed.kept == b"".join(
        line for line, letter in zip(raw, letters, strict=True) if chr(letter) in "KE"
    )
    dropped = filter_set.apply(lines, malformed="drop", invert=True)
    assert dropped.kept == b"".join(line for line, letter in zip(raw, letters, strict=True) if chr(letter) == "D")
    assert dropped.kept_lines == letters.count(b"D")


@quick
@given(st.data())
def test_explain_agrees_with_verdicts_and_a_pickle_with_its_source(data: st.DataObject) -> None:
    matcher = PythonMatcher()
    filters = data.draw(filter_lists(matcher, PATHS + TEXT_PATHS))
    filter_set = compile_filters(filters)
    line = data.draw(st.one_of(json_lines(), text_lines()))
    letter = filter_set.verdicts(line or b"\n").decode()
    assert letter == oracle.Oracle(filters, matcher).judge(line).letter
    assert pickle.loads(pickle.dumps(filter_set)).verdicts(line or b"\n").decode() == letter
    explained = filter_set.explain(line)
    wanted = {"K": "keep", "D": "drop", "M": "malformed", "E": "error"}[letter]
    assert str(explained.verdict) in (letter, wanted)


def test_generated_names_cover_the_fast_key_search() -> None:
    """Keys shorter and longer than the eight bytes that the line walk compares first, and alike in these."""
    long_names = [key for key in JSON_KEYS if len(key) > 8]
    assert len({key[:8] for key in long_names}) < len(long_names)
    assert any(len(key) < 8 for key in JSON_KEYS)
