"""What is shipped for Kubernetes renders, the schemas take it, and its parts fit together."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from cli_bed import DEADLINE_S, ROOT, flowd
from docs_bed import read_blocks, read_commands
from kubernetes_bed import (
    BASE,
    KUBERNETES,
    OVERLAYS,
    Resource,
    choices,
    configuration_of,
    containers_of,
    daemon_of,
    kubectl,
    one,
    pod_of,
    render,
    try_to_render,
    write_kustomization,
)
from kubernetes_node import Node

VERSIONS = ("1.28", "1.33", kubernetes_validate.latest_version())
"""Releases of Kubernetes whose schemas must take what is shipped: an old one, one in use, the newest that is known."""
OPERATORS = "monitoring.coreos.com/v1"
"""Resources that are no part of Kubernetes: they have no schema here."""
READ_ONLY = ("config", "filters", "logs", "server-key", "allowed-keys", "nats", "forward-secret")
COPIED = ("keys", "forward")
"""Filled by a step of the pod, and read-only for the daemon."""


def shipped() -> list[tuple[str, Path, str]]:
    """What can be applied: a name, a folder, and the namespace that all of it is in."""
    overlays = [(name, KUBERNETES / "overlays" / name, namespace) for name, namespace in OVERLAYS.items()]
    return [("base", BASE, "flowd"), *overlays]


@pytest.fixture(params=shipped(), ids=lambda one: one[0], scope="module")
def origin(request: pytest.FixtureRequest) -> tuple[str, Path, str]:
    found: tuple[str, Path, str] = request.param
    return found


@cache
def check_schemas(resource: str) -> None:
    """Fails where a release does not take the resource. Combinations have most of theirs in common."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(resource), version, strict=True)


@cache
def rendered(folder: Path, namespace: str, chosen: tuple[str, ...]) -> list[Resource]:
    """A combination of components over one of ours. Nobody changes it."""
    with TemporaryDirectory() as own:
        return render(write_kustomization(Path(own), folder, namespace, chosen))


@pytest.fixture(params=choices(), ids=lambda chosen: "+".join(chosen) or "plain", scope="module")
def resources(request: pytest.FixtureRequest, origin: tuple[str, Path, str]) -> list[Resource]:
    """Every combination that the documents offer, rendered."""
    _, folder, namespace = origin
    return rendered(folder, namespace, request.param)


def test_schemas_take_it_and_all_is_in_one_namespace(resources: list[Resource], origin: tuple[str, Path, str]) -> None:
    for resource in resources:
        if resource["apiVersion"] != OPERATORS:
            check_schemas(json.dumps(resource))
    inside = [r for r in resources if r["kind"] != "Namespace"]
    assert {r["metadata"].get("namespace") for r in inside} == {origin[2]}
    assert [r["metadata"]["name"] for r in resources if r["kind"] == "Namespace"] == (
        ["flowd"] if origin[0] == "base" else []
    )


def test_containers_are_bounded_and_have_no_rights(resources: list[Resource]) -> None:
    for container, context in containers_of(resources):
        name, _, tag = container["image"].partition(":")
        assert (name, tag not in ("", "latest")) == ("flowd", True)
        assert container["resources"]["limits"]["memory"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["capabilities"]["drop"] == ["ALL"]
        added = context["capabilities"].get("add", [])
        assert added == (["CHOWN", "FOWNER"] if container["name"] == "folders" else [])
        assert context["runAsNonRoot"] is (context["runAsUser"] != 0)
    pod = pod_of(resources)
    assert pod["automountServiceAccountToken"] is False
    assert not any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))


def test_what_is_mounted_exists_and_whole_folders_only(resources: list[Resource]) -> None:
    volumes = {volume["name"]: volume for volume in pod_of(resources)["volumes"]}
    used = set()
    for container, _ in containers_of(resources):
        for mount in container["volumeMounts"]:
            used.add(mount["name"])
            assert not mount.keys() & {"subPath", "subPathExpr"}, "an edit would never arrive"
            assert mount.get("readOnly", False) is (
                mount["name"] in READ_ONLY or (mount["name"] in COPIED and container["name"] == "flowd")
            )
    assert used == set(volumes)
    assert all(len(volume) == 2 for volume in volumes.values()), "one source for each volume"


def test_nothing_goes_in_or_out_but_what_a_component_opens(resources: list[Resource]) -> None:
    closed = one(resources, "NetworkPolicy", "flowd")["spec"]
    assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
    assert not closed.keys() & {"ingress", "egress"}
    opened = [r["spec"] for r in resources if r["kind"] == "NetworkPolicy" and r["metadata"]["name"] != "flowd"]
    into = [rule for policy in opened for rule in policy.get("ingress", [])]
    out = [rule for policy in opened for rule in policy.get("egress", [])]
    ports = {port["name"] for port in daemon_of(resources).get("ports", [])}
    assert {port["port"] for rule in into for port in rule["ports"]} == ports
    assert all(rule["from"] for rule in into)
    sinks = tomllib.loads(configuration_of(resources)).get("sinks", {})
    servers = {urlsplit(f"//{server.rpartition('/')[2]}").port for sink in sinks.values() for server in sink["servers"]}
    assert {port["port"] for rule in out for port in rule["ports"]} == (servers | {53} if servers else set())
    assert all(rule["to"] for rule in out)
    for policy in opened:
        assert {kind.lower() for kind in policy["policyTypes"]} == policy.keys() & {"ingress", "egress"}
    labels = one(resources, "DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert all(policy["podSelector"]["matchLabels"].items() <= labels.items() for policy in (closed, *opened))


def test_times_fit_together(resources: list[Resource]) -> None:
    settings = tomllib.loads(configuration_of(resources))
    assert pod_of(resources)["terminationGracePeriodSeconds"] > settings["runtime"]["drain_s"]
    daemon = daemon_of(resources)
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        command = daemon[name]["exec"]["command"]
        assert daemon[name]["timeoutSeconds"] > int(command[command.index("--timeout") + 1])
    startup = daemon["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 15 * 60, "as TimeoutStartSec of the unit"


def test_the_existing_configmap_is_mounted(origin: tuple[str, Path, str]) -> None:
    name, folder, _ = origin
    (filters,) = [v for v in pod_of(render(folder))["volumes"] if v["name"] == "filters"]
    assert filters["configMap"] == {"name": "flowd-filters" if name == "base" else name}


def test_components_in_a_wrong_order_are_refused(tmp_path: Path) -> None:
    done = try_to_render(write_kustomization(tmp_path, BASE, "flowd", ("pod-storage", "root-reader")))
    assert done.returncode != 0
    assert "initContainers" in done.stderr


def test_another_configuration_is_another_name(tmp_path: Path) -> None:
    folder = write_kustomization(tmp_path, BASE, "flowd")
    before = one(render(folder), "ConfigMap")["metadata"]["name"]
    (tmp_path / "flowd.toml").write_text((BASE / "flowd.toml").read_text() + "# another\n")
    text = yaml.safe_load((folder / "kustomization.yaml").read_text())
    text["configMapGenerator"] = [{"name": "flowd", "behavior": "merge", "files": ["flowd.toml"]}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    resources = render(folder)
    assert one(resources, "ConfigMap")["metadata"]["name"] != before
    assert configuration_of(resources).endswith("# another\n")


def test_a_component_adds_to_the_configuration_and_changes_nothing(resources: list[Resource]) -> None:
    plain = tomllib.loads((BASE / "flowd.toml").read_text())
    more = tomllib.loads(configuration_of(resources))
    assert {key: more[key] for key in plain} == plain
    ports = [port["containerPort"] for port in daemon_of(resources).get("ports", [])]
    found = [*more.get("live", {}).get("bind", []), *more.get("consume", {}).get("bind", [])]
    found += [more["http"]["listen"]] if "http" in more else []
    assert sorted(int(listen.rpartition(":")[2]) for listen in found) == sorted(ports)
    parts = [r for r in resources if r["kind"] == "ConfigMap"]
    assert len(parts) == 1, "a component's part is applied as a resource of its own"


def test_components_add_to_a_flowd_toml_of_ones_own(tmp_path: Path) -> None:
    folder = write_kustomization(tmp_path, BASE, "flowd", ("tcp", "metrics", "nats-sink", "forward-sink"))
    own = (BASE / "flowd.toml").read_text().replace("4GiB", "1GiB").rstrip("\n")
    (tmp_path / "flowd.toml").write_text(own)
    text = yaml.safe_load((folder / "kustomization.yaml").read_text()) | documented("configMapGenerator")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    found = tomllib.loads(configuration_of(render(folder)))
    assert found["journal"]["max_bytes"] == "1GiB"
    assert {"live", "consume", "curve", "http", "sinks"} <= found.keys()
    assert found["sinks"].keys() == {"cluster", "aggregator"}


def test_prometheus_finds_the_port(tmp_path: Path) -> None:
    resources = render(write_kustomization(tmp_path, BASE, "flowd", ("metrics", "pod-monitor")))
    daemon_set = one(resources, "DaemonSet")["spec"]["template"]["metadata"]
    (port,) = daemon_of(resources)["ports"]
    told = {key.partition("/")[2]: value for key, value in daemon_set["annotations"].items() if "prometheus.io" in key}
    assert told == {"scrape": "true", "port": str(port["containerPort"]), "path": "/metrics"}
    monitor = one(resources, "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert monitor["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": "flowd"}
    assert daemon_set["labels"][monitor["spec"]["jobLabel"]] == "flowd", "the job that alerts look for"


def documented(beginning: str) -> Resource:
    """The block of YAML in the documents that begins with this text."""
    blocks = [block for block in read_blocks(ROOT / "docs" / "kubernetes.md") if block.language == "yaml"]
    (found,) = [text for block in blocks if (text := "\n".join(block.lines)).startswith(beginning)]
    return dict(yaml.safe_load(found))


def test_the_documented_kustomization_renders(tmp_path: Path) -> None:
    written = documented("apiVersion: kustomize")
    for key in ("resources", "components"):
        written[key] = [os.path.relpath(ROOT / path.removeprefix("../"), tmp_path.resolve()) for path in written[key]]
    written |= documented("configMapGenerator")
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(written))
    (tmp_path / "flowd.toml").write_text((BASE / "flowd.toml").read_text())
    resources = render(tmp_path)
    images = {container["image"] for container, _ in containers_of(resources)}
    assert images == {"registry.example/flowd:0.1.0"}
    assert {resource["metadata"]["namespace"] for resource in resources} == {"tigera-operator"}
    for resource in resources:
        kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)


def test_the_documented_patch_lets_another_namespace_in(tmp_path: Path) -> None:
    folder = write_kustomization(tmp_path, BASE, "flowd", ["metrics"])
    text = yaml.safe_load((folder / "kustomization.yaml").read_text()) | documented("patches:")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    (rule,) = one(render(folder), "NetworkPolicy", "flowd-metrics")["spec"]["ingress"]
    (selected,) = rule["from"]
    assert selected == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}
    assert rule["ports"] == [{"port": "metrics"}]


def test_documented_resources_fit_the_schemas() -> None:
    policy = documented("apiVersion: networking")
    spec = documented("spec:")["spec"]
    spec["containers"][0]["image"] = "siem:1"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "siem"}, "spec": spec}
    for version in VERSIONS:
        kubernetes_validate.validate(policy, version, strict=True)
        kubernetes_validate.validate(pod, version, strict=True)
    selected = policy["spec"]["podSelector"]["matchLabels"]
    assert selected == one(render(BASE), "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    (mounted,) = spec["volumes"]
    (runtime,) = [volume for volume in pod_of(render(BASE))["volumes"] if volume["name"] == "runtime"]
    assert mounted["hostPath"]["path"] == runtime["hostPath"]["path"]


def test_examples_of_filters_fit_into_the_mount(tmp_path: Path) -> None:
    node = Node(tmp_path, render(BASE))
    node.mount("/etc/flowd/filters", {name: (ROOT / "examples/filters" / name).read_text() for name in ("flow", "dns")})
    done = flowd("check", node.place("/etc/flowd/filters"))
    assert done.returncode == 0, done.stderr


def documented_creations() -> list[list[str]]:
    """The commands of docs/kubernetes.md that make what components mount, without their namespace."""
    blocks = [block for block in read_blocks(ROOT / "docs" / "kubernetes.md") if block.language == "console"]
    found = [command.text.split() for block in blocks for command in read_commands(block) if " create " in command.text]
    return [words[words.index("create") :] for words in found]


def test_what_is_created_as_documented_is_what_the_components_mount(tmp_path: Path) -> None:
    """A cluster is not there to be written to; that `kubectl create` takes the commands is seen without one."""
    for file in ("keys/server.key_secret", "allowed/siem.key", "nats.creds", "shared.key", "ca.pem"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("content\n")
    made = set()
    for words in documented_creations():
        command = [kubectl(), *words, "--dry-run=client", "-o", "yaml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
        resource = yaml.safe_load(done.stdout)
        made.add((resource["kind"], resource["metadata"]["name"]))
    folder = write_kustomization(tmp_path, BASE, "flowd", ("tcp", "nats-sink", "forward-sink"))
    volumes = pod_of(render(folder))["volumes"]
    mounted = {("Secret", volume["secret"]["secretName"]) for volume in volumes if "secret" in volume}
    mounted |= {("ConfigMap", volume["configMap"]["name"]) for volume in volumes if volume["name"] == "allowed-keys"}
    assert made == mounted
