"""flowd.relay.http.exposition and rules: what is written of odd names, of thousands of rules, and over reloads."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from http_bed import ANYWHERE, Values, find_url, scrape, value_of, wait_for
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from relay_bed import DEADLINE_S, DROPPED, KEPT, feed, running

import flowd
from flowd.client import request
from flowd.readable import make_readable
from flowd.relay.deciding.deciders import BYPASS_KEY, RETIRED_KEY, Deciders, RuleKey, Tally
from flowd.relay.http.exposition import PAUSE_SAMPLES, UNKNOWN, Exposition
from flowd.relay.http.rules import RuleSeries
from flowd.relay.measurements import Value
from flowd.relay.metrics import Labels, Series

EXCLUDE = """\
<filter flows>
  @type grep
  <exclude>
    key source_namespace
    pattern /^%s$/
  </exclude>
</filter>
"""
RULES = "flowd_rule_lines_total"
OTHERS = "flowd_other_rules_lines_total"


class Plain:
    """Tells what it is given."""

    def __init__(self, counted: dict[Series, int], tallies: Iterable[tuple[str, Tally]] = ()) -> None:
        self._counted = counted
        self._tallies = tallies

    def counted(self) -> dict[Series, int]:
        return self._counted

    def measure(self) -> Iterator[Value]:
        return iter(())

    def tallies(self) -> Iterable[tuple[str, Tally]]:
        return self._tallies


def deciders(*names: str) -> Deciders:
    return Deciders(flowd.compile("".join(EXCLUDE % name for name in names)))


def tally(rules: Deciders, generation: int, *lines: int, earlier: dict[RuleKey, int] | None = None) -> Tally:
    """What has been decided: by `default`, and by each rule."""
    before = {key: (count, count) for key, count in (earlier or {}).items()}
    return Tally(rules, [(count, count) for count in lines], before, generation)


def told(series: RuleSeries, *tallies: Tally) -> dict[tuple[str, ...], float]:
    """The values of one stream, or of several, by metric, rule and id; without the numbers of rules."""
    found = {}
    for name, labels, value in series.measure((f"s{at}", one) for at, one in enumerate(tallies)):
        known = dict(labels)
        if name != "flowd_rules":
            found[name, known["stream"], known.get("rule", ""), known.get("id", "")] = value
    return found


@pytest.mark.parametrize("is_open", [False, True])
@given(st.dictionaries(st.text(st.characters(), max_size=20), st.integers(0, 1 << 40), max_size=5))
@example({"a\udcff": 1, 'b"\n\\': 2, "": 3})
def test_any_value_of_a_label_comes_back(is_open: bool, counts: dict[str, int]) -> None:
    counted: dict[Series, int] = {("flowd_oversized_answers_total", (("op", op),)): n for op, n in counts.items()}
    text = Exposition(Plain(counted), 0).write("application/openmetrics-text" if is_open else "").body.decode()
    read = openmetrics.text_string_to_metric_families if is_open else text_string_to_metric_families
    found = {
        sample.labels["op"]: sample.value
        for family in read(text)
        for sample in family.samples
        if sample.name == "flowd_oversized_answers_total"
    }
    assert found == {make_readable(op): n for op, n in counts.items()}


def test_what_the_catalogue_lacks_is_written_all_the_same() -> None:
    text = Exposition(Plain({("flowd_new_lines_total", (("reason", "x"),)): 3}), 0).write("").body.decode()
    assert f"# HELP flowd_new_lines_total {UNKNOWN}\n" in text
    assert 'flowd_new_lines_total{reason="x"} 3.0\n' in text


def test_whoever_wants_the_interpreter_gets_it_between() -> None:
    pauses: list[float] = []
    names: list[Labels] = [(("op", str(number)),) for number in range(10 * PAUSE_SAMPLES)]
    counted: dict[Series, int] = {("flowd_oversized_answers_total", labels): 1 for labels in names}
    Exposition(Plain(counted), 0, pauses.append).write("")
    assert len(pauses) >= 10


def test_a_filter_file_of_any_name_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = tmp_path / os.fsdecode(b'fl"ow\n\\\xff\xc3\xa9')
    odd.write_text(EXCLUDE % "dev")
    with caplog.at_level(logging.INFO), running(tmp_path, filters__path=str(odd), **ANYWHERE):
        said = " ".join(record.getMessage() for record in caplog.records)
        values = scrape(re.findall(r"metrics and health: (\S+)", said)[0])
        files = {dict(labels)["file"] for labels in values[RULES]}
    assert files == {"", f'{tmp_path}/fl"ow\n\\\\xffé'}


def test_a_rule_keeps_its_count_and_no_other_gets_it(tmp_path: Path) -> None:
    filters = tmp_path / "flow"
    with running(tmp_path, filters__watch=False, **ANYWHERE) as (_, config):
        url = find_url(config)
        filters.write_text(EXCLUDE % "dev")
        request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)
        feed(config, DROPPED * 3)
        before = wait_for(url, "flowd_lines_total", 3, stream="flows")
        filters.write_text(EXCLUDE % "test" + EXCLUDE % "dev")
        request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)
        feed(config, DROPPED + b'{"source_namespace":"test"}\n' + KEPT)
        after = wait_for(url, "flowd_lines_total", 6, stream="flows")
    ((old, _),) = [found for found in series_of(before) if found[0][0] == "filter1.exclude1"]
    assert dict(series_of(after)) == {
        ("default", ""): 1,
        ("filter1.exclude1", id_of("test")): 1,
        ("filter2.exclude1", old[1]): 4,
    }
    assert old[1] == id_of("dev") != id_of("test")


def series_of(values: Values) -> list[tuple[tuple[str, str], float]]:
    return [((dict(labels)["rule"], dict(labels)["id"]), value) for labels, value in values[RULES].items()]


def id_of(name: str) -> str:
    ((_, _, _, found),) = [
        key for key in told(RuleSeries(9), tally(deciders(name), 1, 0, 0)) if key[2] == "filter1.exclude1"
    ]
    return found


def test_rules_beyond_the_bound_are_summed_up_and_the_sum_only_grows() -> None:
    series = RuleSeries(2)
    many = deciders("a", "b", "c", "d")
    found = told(series, tally(many, 1, 10, 1, 2, 3, 4))
    assert {key[2]: value for key, value in found.items()} == {"default": 10, "filter1.exclude1": 1, "": 9}
    few = deciders("d", "a")  # reloaded: `d` has a series now, `a` has lost its own
    found = told(series, tally(few, 2, 12, 5, 1))
    assert {key[2]: value for key, value in found.items()} == {"default": 12, "filter1.exclude1": 5, "": 9}
    assert told(series, tally(few, 2, 12, 5, 4))[OTHERS, "s0", "", ""] == 12


def test_every_stream_has_its_default_whatever_the_others_take() -> None:
    series = RuleSeries(3)
    rules = deciders("a", "b", "c")
    found = told(series, tally(rules, 1, 1, 1, 1, 1), tally(rules, 1, 2, 2, 2, 2))
    assert [key[1:3] for key in found if key[0] == RULES] == [
        ("s0", "default"),
        ("s0", "filter1.exclude1"),
        ("s0", "filter2.exclude1"),
        ("s1", "default"),
    ]
    assert (found[OTHERS, "s0", "", ""], found[OTHERS, "s1", "", ""]) == (1, 6)
    assert all(key[0] == OTHERS for key in told(RuleSeries(0), tally(rules, 1, 1, 1, 1, 1)))


def test_bypassing_is_told_and_rules_that_are_no_more_are_not() -> None:
    found = told(RuleSeries(9), tally(deciders("a"), 1, 1, 2, earlier={BYPASS_KEY: 5, RETIRED_KEY: 7}))
    assert {key[2]: value for key, value in found.items()} == {"default": 1, "filter1.exclude1": 2, "bypass": 5, "": 0}


def test_a_bound_of_rules_is_kept_by_the_daemon(tmp_path: Path) -> None:
    text = "".join(EXCLUDE % f"n{number}" for number in range(50)) + EXCLUDE % "dev"
    (tmp_path / "many").write_text(text)
    with running(tmp_path, filters__path=str(tmp_path / "many"), http__rules=20, **ANYWHERE) as (_, config):
        url = find_url(config)
        feed(config, DROPPED * 4 + KEPT)
        values = wait_for(url, "flowd_lines_total", 5, stream="flows")
    assert len(values[RULES]) == 20
    assert value_of(values, OTHERS, stream="flows") == 4
    assert value_of(values, "flowd_rules", stream="flows") == 52
