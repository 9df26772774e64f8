"""flowd.relay.catalogue: whatever is counted or measured stands in it, and it says of it what is true."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from cli_bed import ROOT
from curve_bed import Keys
from http_bed import ANYWHERE, find_url, scrape
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, feed, running, wait_until, with_views

from flowd.client import Consumer
from flowd.relay.catalogue import CATALOGUE, SECTIONS, Metric

SOURCES = sorted(path for room in ("relay", "sinks") for path in (ROOT / "flowd" / room).rglob("*.py"))
ON_BEHALF = "flowd/relay/sinks/runner.py"
"""Counts for a sink, which names the counter and the labels, and adds the sink's name."""
HINT = "add its line to flowd/relay/catalogue.py, in its section, and run tools/metrics_page.py"


class Count(NamedTuple):
    """A place in the source where something is counted."""

    place: str
    name: str
    labels: dict[str, str | None]


def read_counts() -> Iterator[Count]:
    """Every `….add("flowd_…", …)`. One whose name is not written out has the name ""."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("add", "count") or str(path.relative_to(ROOT)) == ON_BEHALF:
                continue
            name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            is_counter = ast.unparse(node.func.value).endswith("counters")
            if is_counter or (isinstance(name, str) and name.startswith("flowd_")):
                labels = {
                    keyword.arg: keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                    for keyword in node.keywords
                    if keyword.arg not in (None, "amount")
                }
                if node.func.attr == "count":
                    labels["sink"] = None
                yield Count(f"{path.relative_to(ROOT)}:{node.lineno}", str(name), labels)  # type: ignore[arg-type]


COUNTS = list(read_counts())


def test_every_counter_is_in_the_catalogue_with_its_labels() -> None:
    wrong = []
    for count in COUNTS:
        known = CATALOGUE.get(count.name)
        if known is None:
            name = count.name or "a counter whose name is not written out"
            wrong.append(f"{count.place} counts {name}, which is not in the catalogue: {HINT}")
        elif set(count.labels) != set(known.labels):
            wrong.append(
                f"{count.place}: {count.name} is counted with the labels {sorted(count.labels)}, and the catalogue has"
                f" {sorted(known.labels)}: {HINT}"
            )
    assert not wrong, "\n".join(wrong)
    assert len(COUNTS) > 50


def test_every_value_of_a_label_is_told() -> None:
    untold = [
        f"{count.place}: {label}={value!r} of {count.name}: add it to the label's values in flowd/relay/catalogue.py"
        for count in COUNTS
        if (known := CATALOGUE.get(count.name)) is not None
        for label, value in count.labels.items()
        if value and (values := known.labels.get(label))
        if value not in values and not re.search(rf"\b{value}\b", known.text)
    ]
    assert not untold, "\n".join(untold)


def test_every_name_in_the_source_is_in_the_catalogue_and_the_other_way_round() -> None:
    named = {
        node.value
        for path in SOURCES
        if path.name != "catalogue.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"flowd_[a-z_]+", node.value)
    }
    assert sorted(named - CATALOGUE.keys()) == [], HINT
    assert sorted(CATALOGUE.keys() - named) == [], "nothing has these values: remove their lines"


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_names_and_texts_are_in_order(metric: Metric) -> None:
    assert re.fullmatch(r"flowd_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.text
    assert not metric.text.endswith(".")
    assert "\n" not in metric.text
    assert not set("`[]").intersection(metric.help)
    assert all(re.fullmatch(r"[a-z]+", label) for label in metric.labels)
    values = [value for known in metric.labels.values() for value in known]
    assert all(value and "`" not in value for value in values)
    family = metric.name.removesuffix("_total")
    assert metric.is_counter or f"{family}_total" not in CATALOGUE, "OpenMetrics would give both one name"


def test_no_name_is_in_two_sections() -> None:
    assert sum(map(len, SECTIONS.values())) == len(CATALOGUE)


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("metrics_page", ROOT / "tools" / "metrics_page.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_page_has_all_of_it() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert load_tool().write_page(page) == page, "the catalogue has changed: run tools/metrics_page.py"


def test_a_section_without_a_heading_is_told() -> None:
    with pytest.raises(ValueError, match="no heading `## The daemon`"):
        load_tool().write_page("# Metrics\n")


def test_a_busy_daemon_has_all_of_it_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "flows.log"
    log.write_bytes(KEPT * 5)
    (tmp_path / "keys").mkdir()
    keys = Keys(tmp_path / "keys")
    curve = {"curve.server_secret_file": str(keys.server_file), "curve.allowed_keys_dir": str(keys.allowed)}
    given = {
        **ANYWHERE,
        **with_views(tmp_path, prod=DROP_DEV),
        "sources__tail": {"flows": [str(log)]},
        "sources__raw": {"bind": [f"ipc://{tmp_path}/raw.sock"], "stream": "audit"},
        "consume__bind": ["tcp://127.0.0.1:*"],
        "sinks.out": {"type": "nats", "servers": ["nats://127.0.0.1:1"]},
        **{name.replace(".", "__"): value for name, value in curve.items()},
    }
    with running(tmp_path, **given) as (_, config):
        url = find_url(config)
        feed(config, KEPT + DROPPED, KEPT)
        with Consumer(config.endpoint("consume"), name="siem", timeout_s=DEADLINE_S) as consumer:
            next(iter(consumer))
            consumer.commit()
            wait_until(lambda: "flowd_consumer_lag_lines" in scrape(url), "the consumer")
            values = scrape(url, is_open=True)
    own = {name: series for name, series in values.items() if name.startswith("flowd_")}
    assert sorted(own.keys() - CATALOGUE.keys()) == []
    for name, series in own.items():
        assert {tuple(label for label, _ in labels) for labels in series} == {tuple(sorted(CATALOGUE[name].labels))}
    waiting = {name for name, metric in CATALOGUE.items() if metric.is_counter and not all(metric.labels.values())}
    assert (CATALOGUE.keys() - own.keys()) <= waiting
    for metric in CATALOGUE.values():
        for labels in metric.known_series(sink=("out",)):
            assert tuple(sorted(labels)) in own[metric.name]
