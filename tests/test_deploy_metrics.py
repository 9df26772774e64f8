"""deploy/prometheus and deploy/grafana name only what there is, and are what their programs understand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_bed import DEADLINE_S, ROOT
from docs_bed import read_blocks
from http_bed import ANYWHERE, PROMTOOL, ask, find_url
from kubernetes_bed import BASE, one, render, write_kustomization
from prometheus_client import ProcessCollector
from relay_bed import DROPPED, KEPT, feed, running
from test_docs import anchors_of

from flowd.relay.catalogue import CATALOGUE

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text())
TESTS = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "flowd.json").read_text())
PROCESS = {sample.name for family in ProcessCollector(registry=None).collect() for sample in family.samples}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus gives to everything that it scrapes."""
NAMED = {("flowd_degraded", "concern"): {"sink .+", "sink cluster"}}
"""Values of labels with a user's name in them, as rules and their tests write them."""
VARIABLES = {"$__rate_interval": "5m", "$job": ".*", "$instance": ".*"}
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not there (`tools/unpacked-packages build/prometheus prometheus`)"
)

_NAME = re.compile(r"(?<![\w:.\"$])(?P<name>(?:flowd|process)_[a-z_]+|up)\b(?P<matchers>\{[^}]*\})?")
_RECORDED = re.compile(r"\bflowd:[\w:]+")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_LEGEND = re.compile(r"\{\{\s*(?:with )?\$?(?:labels\.)?(\w+)")


def labels_of(name: str) -> set[str]:
    """A metric's labels. A name that there is not fails the test."""
    if name == "up" or name in PROCESS:
        return set(SCRAPED)
    assert name in CATALOGUE, f"{name} is no metric of flowd"
    return SCRAPED | CATALOGUE[name].labels.keys()


def recorded_labels(name: str) -> set[str]:
    """What a recording rule of ours is given."""
    rules = [rule for rule in rules_of("record") if rule["record"] == name]
    assert rules, f"no rule records {name}"
    found = [check_expression(rule["expr"]) & grouped(rule["expr"]) | rule["labels"].keys() for rule in rules]
    assert all(labels == found[0] for labels in found)
    return found[0]


def grouped(expression: str) -> set[str]:
    return {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}


def check_expression(expression: str) -> set[str]:
    """The labels that the result may have, once every name and label in it was found to exist."""
    known: set[str] = set()
    for found in _NAME.finditer(expression):
        labels = labels_of(found["name"])
        used = set(_MATCHER.findall(found["matchers"] or ""))
        assert used <= labels, f"{found['name']} has no label {sorted(used - labels)}"
        values = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"$]*)"', found["matchers"] or "")
        for label, value in values:
            texts = CATALOGUE[found["name"]].labels.get(label, ()) if found["name"] in CATALOGUE else ()
            texts = {*texts, *NAMED.get((found["name"], label), ())} if texts else texts
            assert not texts or set(value.split("|")) <= set(texts), f"{label} of {found['name']} is never {value}"
        known |= labels
    for name in _RECORDED.findall(expression):
        known |= recorded_labels(name)
    assert known, f"no metric in {expression}"
    assert grouped(expression) <= known, f"{expression}: {sorted(grouped(expression) - known)}"
    return known


def rules_of(kind: str) -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"] if kind in rule]


def panels() -> list[dict[str, Any]]:
    return list(DASHBOARD["panels"])


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target


def promtool(*arguments: str | Path, words: bytes = b"") -> str:
    """What promtool says; its failing fails the test."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], input=words, capture_output=True, timeout=DEADLINE_S, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


@pytest.mark.parametrize("alert", rules_of("alert"), ids=lambda alert: alert["alert"])
def test_an_alert_names_what_there_is_and_where_to_read_on(alert: dict[str, Any]) -> None:
    known = check_expression(alert["expr"])
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook"}
    assert alert["labels"]["severity"] in ("warning", "critical")
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(annotations.values())))
    assert named <= known, sorted(named - known)
    page, _, anchor = annotations["runbook"].partition("#")
    assert (page, anchor) == ("docs/operations.md", alert["alert"].lower())
    assert anchor in anchors_of(ROOT / page)


@pytest.mark.parametrize("rule", rules_of("record"), ids=lambda rule: rule["expr"])
def test_a_recording_rule_names_what_there_is(rule: dict[str, Any]) -> None:
    assert recorded_labels(rule["record"]) == {"job", "instance", "reason", "kind"}


def test_every_alert_is_tried_both_ways() -> None:
    names = [rule["alert"] for rule in rules_of("alert")]
    assert sorted(test["name"] for test in TESTS) == sorted(
        f"{name} {what}" for name in names for what in ("fires", "is silent")
    )
    for test in TESTS:
        (asked,) = test["alert_rule_test"]
        assert asked["alertname"] == test["name"].partition(" ")[0]
        assert bool(asked["exp_alerts"]) == test["name"].endswith("fires")


def test_what_the_alerts_are_tried_on_exists() -> None:
    for test in TESTS:
        for series in test["input_series"]:
            check_expression(series["series"])


@pytest.mark.parametrize(("title", "target"), list(targets()), ids=lambda part: part if isinstance(part, str) else "")
def test_a_panel_shows_what_there_is(title: str, target: dict[str, Any]) -> None:
    known = check_expression(target["expr"])
    assert "$job" in target["expr"], f"{title} does not heed the chosen job"
    assert set(_LEGEND.findall(target["legendFormat"])) <= known
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_dashboard_is_in_order() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in panels()}) == len(ids)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "job", "instance"}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    for name in ("job", "instance"):
        check_expression(re.sub(r"^label_values\((.*), \w+\)$", r"\1", variables[name]["query"]["query"]))
    assert {"schemaVersion", "uid", "title", "panels", "time", "refresh"} <= DASHBOARD.keys()
    for panel in panels():
        assert panel["type"] in ("row", "timeseries", "stat", "table")
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert panel["type"] == "row" or references
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24


def test_no_panel_lies_on_another() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in panels()]
    for (first, a), (second, b) in combinations(places, 2):
        is_apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert is_apart, f"{first} lies on {second}"


def test_a_name_that_there_is_not_would_be_found() -> None:
    with pytest.raises(AssertionError, match="flowd_no_total is no metric"):
        check_expression("rate(flowd_no_total[5m])")
    with pytest.raises(AssertionError, match="has no label"):
        check_expression('flowd_up{stream="x"}')
    with pytest.raises(AssertionError, match="is never"):
        check_expression('flowd_degraded{concern="weather"}')
    with pytest.raises(AssertionError, match="reason"):
        check_expression("sum by (reason) (flowd_up)")


@needs_promtool
def test_promtool_understands_the_rules_and_the_configuration() -> None:
    rules = len(rules_of("alert")) + len(rules_of("record"))
    assert f"SUCCESS: {rules} rules found" in promtool("check", "rules", "--lint-fatal", PROMETHEUS / "alerts.yaml")
    assert "SUCCESS" in promtool("check", "config", PROMETHEUS / "prometheus.yaml")


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / "alerts_test.yaml")


@needs_promtool
def test_promtool_understands_what_panels_ask(tmp_path: Path) -> None:
    asked = [target["expr"] for _, target in targets()]
    for variable, value in VARIABLES.items():
        asked = [expression.replace(variable, value) for expression in asked]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", path)


@needs_promtool
def test_promtool_finds_nothing_wrong_with_a_page_of_metrics(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        feed(config, KEPT + DROPPED)
        page = ask(find_url(config), "/metrics").body
    assert promtool("check", "metrics", words=page) == ""


@pytest.mark.parametrize(("folder", "file"), [("grafana", "flowd.json"), ("prometheus", "alerts.yaml")])
def test_it_can_be_loaded_as_a_configmap(folder: str, file: str) -> None:
    (resource,) = render(ROOT / "deploy" / folder)
    assert resource["data"] == {file: (ROOT / "deploy" / folder / file).read_text()}
    assert len(json.dumps(resource)) < 256 << 10, "what kubectl keeps in an annotation of a resource"


def test_the_documented_command_makes_a_rule_of_the_operators(tmp_path: Path) -> None:
    blocks = read_blocks(ROOT / "docs" / "kubernetes.md")
    (block,) = [block for block in blocks if any("PrometheusRule" in line for line in block.lines)]
    commands = [line.removeprefix("$ ") for line in block.lines if line.startswith("$ ") and "kubectl" not in line]
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["sh", "-ec", "\n".join(commands)], cwd=tmp_path, timeout=DEADLINE_S, check=True)
    rule = yaml.safe_load((tmp_path / "rule.yaml").read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == RULES


def test_what_prometheus_looks_for_in_a_cluster_is_what_pods_have(tmp_path: Path) -> None:
    """Debian's promtool is built without Kubernetes, so it cannot be asked."""
    (job,) = yaml.safe_load((PROMETHEUS / "kubernetes.yaml").read_text())["scrape_configs"]
    kept, named = job["relabel_configs"]
    template = one(render(write_kustomization(tmp_path, BASE, "flowd", ["metrics"])), "DaemonSet")["spec"]["template"]
    (port,) = template["spec"]["containers"][0]["ports"]
    prefix = "__meta_kubernetes_pod_"
    found = {
        f"{prefix}label_app_kubernetes_io_name": template["metadata"]["labels"]["app.kubernetes.io/name"],
        f"{prefix}container_port_name": port["name"],
    }
    assert kept["action"] == "keep"
    assert ";".join(found[label] for label in kept["source_labels"]) == kept["regex"]
    assert (job["job_name"], named["target_label"]) == ("flowd", "instance")
