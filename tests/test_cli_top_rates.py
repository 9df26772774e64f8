"""What `flowd top` makes of two looks at a daemon: exact rates, and none where none can be told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowd.cli.watching.model import HISTORY, Model
from flowd.cli.watching.rates import Look, measure
from flowd.cli.watching.tables import (
    SORTS,
    describe_head,
    describe_tables,
    render_once,
    show_megabytes,
    show_rate,
    show_short,
)
from flowd.errors import Unreachable

NOW_NS = 1_700_000_100_000_000_000
BEGAN_NS = 1_700_000_000_000_000_000
RULES = (("filter1.exclude1", 3, 100), ("filter1.exclude2", 7, 200), ("default", 0, 700))


def rule(name: str, line: int, lines: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "lines": lines, "bytes": lines * 10, "file": "flow" if line else "", "line": line,
        "is_shadow": False, "sample": 0, "until_ns": 0, **more,
    }  # fmt: skip


def stream(scale: float = 1, **more: Any) -> dict[str, Any]:
    """A stream with 1,000 lines of 10 bytes, or `scale` times as many."""
    return {
        "batches": 10, "lines": int(1000 * scale), "bytes": int(10_000 * scale), "kept_lines": int(700 * scale),
        "kept_bytes": int(7000 * scale), "malformed_lines": int(20 * scale), "error_lines": int(10 * scale),
        "oldest": 1, "next": 11, "generation": 1, "subscribers": 2,
        "rules": [rule(name, line, int(lines * scale)) for name, line, lines in RULES],
        "rules_left_off": 0, "lines_left_off": 0, "bytes_left_off": 0, **more,
    }  # fmt: skip


def status(streams: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "state": "ok", "version": "1.2.3", "process_id": 77, "began_ns": BEGAN_NS, "uptime_s": 100.0, "generation": 1,
        "bypass": False, "producers": 1, "loaded_ns": BEGAN_NS, "watch": True,
        "last_reload": {"result": "loaded", "by": "start", "time_ns": BEGAN_NS, "problems": [], "more_problems": 0},
        "streams": {"flows": stream()} if streams is None else streams,
        "views": {}, "consumers": [], "counters": {},
        "journal": {"used_bytes": 250, "max_bytes": 1000, "batches": 10, "commits": 40, "is_full": False}, **more,
    }  # fmt: skip


def attached(**more: Any) -> dict[str, Any]:
    return {
        "consumer": "siem", "stream": "flows", "view": "", "next": 5, "lag_batches": 4, "sent_bytes": 3000,
        "sent_batches": 3, "lost_lines": 6, **more,
    }  # fmt: skip


def cursor(**more: Any) -> dict[str, Any]:
    return {
        "consumer": "siem", "stream": "flows", "next": 5, "lag_batches": 6, "lag_lines": 60, "lag_s": 2.5,
        "gone_batches": 1, "committed_ns": NOW_NS - 4_000_000_000, "generation": 1, "attached": attached(), **more,
    }  # fmt: skip


def rates(
    before: dict[str, Any], after: dict[str, Any], *consumers: dict[str, Any], took_s: float = 2
) -> dict[str, Any]:
    """What is measured between two statuses, by default two seconds apart."""
    return measure(Look(50.0, before, []), Look(50.0 + took_s, after, list(consumers)), NOW_NS)


def test_streams_have_rates_and_totals() -> None:
    (one,) = rates(status(), status({"flows": stream(3)}))["streams"]
    assert one == {
        "stream": "flows",
        "lines_per_s": 1000, "bytes_per_s": 10_000, "kept_lines_per_s": 700, "kept_bytes_per_s": 7000,
        "malformed_lines_per_s": 20, "error_lines_per_s": 10, "dropped_lines_per_s": 300, "dropped_bytes_per_s": 3000,
        "lines": 3000, "bytes": 30_000, "kept_lines": 2100, "kept_bytes": 21_000, "malformed_lines": 60,
        "error_lines": 30, "dropped_lines": 900, "dropped_bytes": 9000, "generation": 1, "subscribers": 2,
    }  # fmt: skip


def test_a_new_stream_had_nothing_before() -> None:
    found = rates(status(), status({"flows": stream(), "dns": stream()}))
    assert [(one["stream"], one["lines_per_s"]) for one in found["streams"]] == [("flows", 0), ("dns", 500)]
    assert {(one["stream"], one["lines_per_s"]) for one in found["rules"]} >= {("dns", 50), ("dns", 350), ("flows", 0)}


def test_rules_have_rates() -> None:
    found = rates(status(), status({"flows": stream(2)}))["rules"]
    assert [(one["rule"], one["lines_per_s"], one["bytes_per_s"], one["lines"]) for one in found] == [
        ("filter1.exclude1", 50, 500, 200),
        ("filter1.exclude2", 100, 1000, 400),
        ("default", 350, 3500, 1400),
    ]
    assert (found[0]["file"], found[0]["line"]) == ("flow", 3)


def test_after_a_reload_a_rule_s_rate_is_not_known_at_first() -> None:
    found = rates(status(), status({"flows": stream(2, generation=2)}))
    assert [one["lines_per_s"] for one in found["rules"]] == [None, None, None]
    assert found["streams"][0]["lines_per_s"] == 500


def test_a_rule_that_was_left_off_before_has_no_rate_yet() -> None:
    before = stream(rules=[rule("default", 0, 1)], rules_left_off=2)
    found = rates(status({"flows": before}), status({"flows": stream()}))["rules"]
    assert [one["lines_per_s"] for one in found] == [None, None, 349.5]
    bypassed = stream(rules=[*stream()["rules"], rule("bypass", 0, 8)])
    assert rates(status(), status({"flows": bypassed}))["rules"][-1]["lines_per_s"] == 4


@pytest.mark.parametrize("changed", [{"process_id": 78}, {"began_ns": BEGAN_NS + 1}])
def test_after_a_restart_rates_are_those_since_it_began(changed: dict[str, Any]) -> None:
    after = status({"flows": stream(0.1)}, uptime_s=0.5, counters={"flowd_x_total": 3}, **changed)
    found = rates(status({"flows": stream(50)}, counters={"flowd_x_total": 2}), after)
    assert (found["is_restarted"], found["interval_s"]) == (True, 0.5)
    assert found["streams"][0]["lines_per_s"] == 200
    assert [one["lines_per_s"] for one in found["rules"]] == [20, 40, 140]
    assert found["journal"]["commits_per_s"] == 80
    assert found["counters"] == [{"counter": "flowd_x_total", "per_s": 6, "value": 3}]


def test_the_daemon_s_state_is_told() -> None:
    last = {"result": "failed", "by": "watch", "time_ns": NOW_NS, "problems": ["flow:1:1: no"], "more_problems": 0}
    tail = {"followed_files": 2, "lag_bytes": 9, "files": []}
    after = status(state="degraded", reasons=["filters: no"], last_reload=last, bypass=True, tail=tail)
    found = rates(status(), after)
    assert found["daemon"] == {
        "version": "1.2.3", "state": "degraded", "process_id": 77, "uptime_s": 100.0, "generation": 1, "bypass": True,
        "producers": 1, "loaded_ns": BEGAN_NS, "last_reload": last, "reasons": ["filters: no"], "loaded_ago_s": 100.0,
    }  # fmt: skip
    assert found["journal"] == {
        "used_bytes": 250, "max_bytes": 1000, "fill": 0.25, "batches": 10, "is_full": False, "commits_per_s": 0,
    }  # fmt: skip
    assert found["tail"] == {"followed_files": 2, "lag_bytes": 9}
    assert describe_head(found)[1:] == [
        "generation 1, loaded 1 min 40 s ago; bypass is on: every line is kept",
        "journal 25.0 % full: 250 B of 1.0 kB, 10 batches, 0 commits/s",
        "following 2 files, 9 B to read",
        "last reload failed (watch, 2023-11-14 22:15 UTC): flow:1:1: no",
        "degraded: filters: no",
    ]


def test_consumers_are_told_with_what_they_are_behind() -> None:
    before = status(consumers=[attached(sent_bytes=1000)])
    after = status(consumers=[attached(), attached(consumer="", view="calm")])
    behind = cursor(consumer="new", next=None, lag_lines=None, lag_s=None, committed_ns=None, attached=None)
    assert rates(before, after, cursor(), behind)["consumers"] == [
        {
            "consumer": "siem", "stream": "flows", "view": "", "is_attached": True, "lag_batches": 6, "lag_lines": 60,
            "lag_bytes": 600, "lag_s": 2.5, "committed_ago_s": 4.0, "gone_batches": 1, "lost_lines": 6,
            "sent_bytes_per_s": 1000,
        },
        {
            "consumer": "new", "stream": "flows", "view": "", "is_attached": False, "lag_batches": 6, "lag_lines": None,
            "lag_bytes": None, "lag_s": None, "committed_ago_s": None, "gone_batches": 1, "lost_lines": 0,
            "sent_bytes_per_s": None,
        },
        {
            "consumer": "", "stream": "flows", "view": "calm", "is_attached": True, "lag_batches": 4, "lag_lines": None,
            "lag_bytes": None, "lag_s": None, "committed_ago_s": None, "gone_batches": 0, "lost_lines": 6,
            "sent_bytes_per_s": None,
        },
    ]  # fmt: skip


def test_a_cursor_that_was_only_placed_has_no_time_of_a_commit() -> None:
    for never in (0, None):
        (one,) = rates(status(), status(), cursor(committed_ns=never))["consumers"]
        assert one["committed_ago_s"] is None


def test_a_consumer_that_attached_again_has_no_rate_yet() -> None:
    before = status(consumers=[attached(sent_bytes=5000)])
    (one,) = rates(before, status(consumers=[attached()]), cursor())["consumers"]
    assert one["sent_bytes_per_s"] is None
    (one,) = rates(before, status({"flows": stream(0)}), cursor(attached=None))["consumers"]
    assert (one["is_attached"], one["sent_bytes_per_s"], one["lag_bytes"]) == (False, None, None)
    (one,) = rates(before, before, cursor(lag_lines=-3))["consumers"]  # committed between the two answers
    assert (one["lag_lines"], one["lag_bytes"]) == (0, 0)


@pytest.mark.parametrize("shape", [dict, list])
def test_sinks_are_told_as_the_status_has_them(shape: type) -> None:
    def sinks(sent: int) -> Any:
        one = {"type": "forward", "state": "connected", "sent_lines": sent, "lag_batches": 3}
        return {"aggregator": one} if shape is dict else [{"name": "aggregator", **one}]

    found = rates(status(sinks=sinks(10)), status(sinks=sinks(30)))
    (one,) = found["sinks"]
    assert (one["sink"], one["sent_lines_per_s"], one["lag_batches"]) == ("aggregator", 10, 3)
    assert "aggregator  forward  connected" in render_once(found, "rate")
    assert rates(status(), status(sinks=sinks(30)))["sinks"][0]["sent_lines_per_s"] is None


def test_what_is_told_is_json() -> None:
    found = rates(status(), status(views={"calm": {"stream": "flows", "generation": 1, "rules": 2, "subscribers": 3}}))
    assert json.loads(json.dumps(found)) == found
    assert found["views"] == [{"view": "calm", "stream": "flows", "generation": 1, "rules": 2, "subscribers": 3}]


def test_rules_are_sorted_as_it_is_wanted() -> None:
    before, after = stream(), stream()
    for one, more, size in zip(after["rules"], (4, 6, 2), (100, 1, 2), strict=True):
        one["lines"] += more
        one["bytes"] += size
    found = rates(status({"flows": before}), status({"flows": after}))
    names = {
        sort: [key[1].removeprefix("filter1.") for key in describe_tables(found, sort, NOW_NS)[1].keys]
        for sort in SORTS
    }
    assert names == {
        "rate": ["exclude2", "exclude1", "default"],
        "bytes": ["exclude1", "default", "exclude2"],
        "total": ["default", "exclude2", "exclude1"],
        "order": ["exclude1", "exclude2", "default"],
        "name": ["default", "exclude1", "exclude2"],
    }


def test_once_is_tables() -> None:
    left_off = stream(2, rules_left_off=5)
    left_off["rules"][0]["is_shadow"] = True
    text = render_once(rates(status(), status({"flows": left_off}), cursor()), "order")
    assert text.splitlines() == [
        "flowd 1.2.3 is ok: process 77, up 1 min 40 s, 1 producer",
        "generation 1, loaded 1 min 40 s ago",
        "journal 25.0 % full: 250 B of 1.0 kB, 10 batches, 0 commits/s",
        "",
        "STREAM  LINES/S   MB/S  KEPT/S  DROPPED/S   SHARE  MALFORMED/S  ERRORS/S  LINES  SUBS",
        "flows       500  0.005     350        150  30.0 %           10         5  2,000     2",
        "",
        "STREAM  RULE              LINES/S   MB/S   SHARE  LINES    BYTES  PLACE   NOTE",
        "flows   filter1.exclude1       50  0.001  10.0 %    200   2.0 kB  flow:3  shadow: drops nothing",
        "flows   filter1.exclude2      100  0.001  20.0 %    400   4.0 kB  flow:7",
        "flows   default               350  0.004  70.0 %  1,400  14.0 kB  -",
        "",
        "CONSUMER  STREAM  VIEW  LAG  LAG LINES  LAG BYTES  BEHIND  COMMITTED  MB/S  ATTACHED",
        "siem      flows   -       6         60     ~600 B   2.5 s  4.0 s ago     -  yes",
        "",
        "5 rules more; `flowd status -o json` has them all",
    ]


def test_nothing_in_a_name_can_steer_a_terminal() -> None:
    bad = stream(rules=[rule("a\x1b[2Jb\n", 1, 1, file="x\x07y")])
    text = render_once(rates(status({"flows": bad}), status({"flows": bad})), "rate")
    assert r"a\x1b[2Jb\n" in text
    assert r"x\x07y:1" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0"), (0.25, "0.25"), (9.5, "9.5"), (12.4, "12"), (123456, "123,456"), (2_500_000, "2.5M")],
)
def test_rates_are_short(number: float | None, text: str) -> None:
    assert show_rate(number) == text


def test_numbers_are_short() -> None:
    assert [show_megabytes(n) for n in (None, 0, 4000, 2_614_000, 1_234_567_890)] == [
        "-", "0", "0.004", "2.614", "1,234.6",
    ]  # fmt: skip
    assert [show_short(n) for n in (999_999, 3_400_000, 4_560_000_000)] == ["999,999", "3.4M", "4.56G"]


def heard(model: Model, *scales: float, generation: int = 1) -> None:
    """One look a second at a stream that has carried so much."""
    for scale in scales:
        taken_s = 0.0 if model._before is None else model._before.taken_s + 1
        model.hear(Look(taken_s, status({"flows": stream(scale, generation=generation)}), []), NOW_NS)


def test_the_model_remembers_how_rates_went() -> None:
    model = Model("rate")
    heard(model, 1, 2, 5)
    assert model.trend(("flows",)) == [1000, 3000]
    assert model.trend(("flows", "", "dropped")) == [300, 900]
    assert model.trend(("flows", "default")) == [700, 2100]
    assert model.trend(("flows", "nosuch")) == []
    heard(model, 6, generation=2)
    assert model.trend(("flows", "default")) == [700, 2100, None]
    for scale in range(7, 7 + HISTORY):
        heard(model, scale)
    assert len(model.trend(("flows",))) == HISTORY


def test_an_absent_daemon_leaves_a_gap_and_is_heard_again() -> None:
    model = Model("rate")
    heard(model, 1, 2)
    model.hear(Unreachable("nobody"), NOW_NS)
    assert (model.lost, model.trend(("flows",))) == ("nobody", [1000, None])
    assert model.rates is not None
    model.hear(Look(9.0, status({"flows": stream(1)}, process_id=78, uptime_s=2.0), []), NOW_NS)
    assert (model.lost, model.restarts, model.trend(("flows",))) == ("", 1, [1000, None, 500])


def test_a_paused_model_stands_still_and_goes_on_with_a_rate_of_the_last_interval() -> None:
    model = Model("rate")
    heard(model, 1, 2)
    assert model.press("p")
    shown = model.rates
    heard(model, 5, 9)
    model.hear(Unreachable("nobody"), NOW_NS)
    assert model.rates is shown
    assert model.trend(("flows",)) == [1000]
    model.press(" ")
    heard(model, 10)
    assert model.trend(("flows",)) == [1000, 1000]


def test_keys_sort_scroll_help_and_quit() -> None:
    model = Model("rate")
    assert model.press("down")
    assert model.first_rule == 0
    heard(model, 1, 2)
    for key, first in (
        ("down", 1),
        ("j", 2),
        ("page down", 2),
        ("up", 1),
        ("k", 0),
        ("up", 0),
        ("down", 1),
        ("home", 0),
    ):
        assert model.press(key)
        assert (key, model.first_rule) == (key, first)
    for sort in (*SORTS[1:], SORTS[0]):
        model.press("s")
        assert model.sort == sort
    model.press("?")
    assert model.is_helping
    model.press("h")
    assert not model.is_helping
    assert model.press("x")
    assert not model.press("q")
