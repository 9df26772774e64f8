"""What is shipped for Kubernetes renders, the schemas take it, its parts fit together, and a daemon runs with it."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cli_bed import DEADLINE_S, DEV_FILTER, ROOT, flowd, json_line, started, wait_until
from docs_bed import read_blocks
from kubernetes_bed import (
    BASE,
    COMPONENTS,
    KUBERNETES,
    OVERLAYS,
    Resource,
    configuration_of,
    containers_of,
    daemon_of,
    one,
    pod_of,
    render,
    try_to_render,
    write_kustomization,
)

from flowd.errors import EXIT_UNREACHABLE

VERSIONS = ("1.28", "1.33", kubernetes_validate.latest_version())
"""Releases of Kubernetes whose schemas must take what is shipped: an old one, one in use, the newest that is known."""
CHOICES = [chosen for n in range(len(COMPONENTS) + 1) for chosen in itertools.combinations(COMPONENTS, n)]
FLUENT_BIT_FILTER = "- name: grep\n  exclude: source_namespace ^dev$\n"


def shipped() -> list[tuple[str, Path, str]]:
    """What can be applied: a name, a folder, and the namespace that all of it is in."""
    overlays = [(name, KUBERNETES / "overlays" / name, namespace) for name, namespace in OVERLAYS.items()]
    return [("base", BASE, "flowd"), *overlays]


@pytest.fixture(params=shipped(), ids=lambda one: one[0])
def origin(request: pytest.FixtureRequest) -> tuple[str, Path, str]:
    found: tuple[str, Path, str] = request.param
    return found


@pytest.fixture(params=CHOICES, ids=lambda chosen: "+".join(chosen) or "plain")
def resources(request: pytest.FixtureRequest, origin: tuple[str, Path, str], tmp_path: Path) -> list[Resource]:
    """Every combination that the documents offer, rendered."""
    _, folder, namespace = origin
    return render(write_kustomization(tmp_path, folder, namespace, request.param))


def test_schemas_take_it_and_all_is_in_one_namespace(resources: list[Resource], origin: tuple[str, Path, str]) -> None:
    for resource in resources:
        for version in VERSIONS:
            kubernetes_validate.validate(resource, version, strict=True)
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
                mount["name"] in ("config", "filters", "logs", "server-key", "allowed-keys")
                or (mount["name"], container["name"]) == ("keys", "flowd")
            )
    assert used == set(volumes)
    assert all(len(volume) == 2 for volume in volumes.values()), "one source for each volume"


def test_nothing_goes_in_or_out_but_what_a_component_opens(resources: list[Resource]) -> None:
    closed = one(resources, "NetworkPolicy", "flowd")["spec"]
    assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
    assert not closed.keys() & {"ingress", "egress"}
    opened = [r["spec"] for r in resources if r["kind"] == "NetworkPolicy" and r["metadata"]["name"] != "flowd"]
    ports = {port["name"] for port in daemon_of(resources).get("ports", [])}
    assert {port["port"] for policy in opened for rule in policy["ingress"] for port in rule["ports"]} == ports
    assert all(rule["from"] for policy in opened for rule in policy["ingress"])
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


def test_the_configuration_with_tcp_is_the_other_one_and_more() -> None:
    plain = tomllib.loads((BASE / "flowd.toml").read_text())
    more = tomllib.loads((KUBERNETES / "components" / "tcp" / "flowd.toml").read_text())
    assert {key: more[key] for key in plain} == plain
    assert sorted(more.keys() - plain.keys()) == ["consume", "curve", "live"]


class Node:
    """A folder that has what the pod sees: the ConfigMap mounted as the kubelet does, logs, and folders to write to."""

    def __init__(self, folder: Path, resources: list[Resource]) -> None:
        self.folder = folder
        self.resources = resources
        self._copies = 0
        self.log = self.place("/var/log/calico/flowlogs/flows.log")
        self.log.parent.mkdir(parents=True)
        self.place("/etc/flowd/config").mkdir(parents=True)
        text = re.sub(r'"/(etc|var|run)/', rf'"{folder}/\1/', configuration_of(resources))
        self.place("/etc/flowd/config/flowd.toml").write_text(re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:*", text))

    def place(self, path: str) -> Path:
        """Where a path of the pod is."""
        return self.folder / path.lstrip("/")

    def mount(self, path: str, texts: dict[str, str]) -> None:
        """A ConfigMap's mount comes into being, or gets other contents: `..data` is swapped."""
        place = self.place(path)
        self._copies += 1
        copy = place / f"..2026_{self._copies}"
        copy.mkdir(parents=True)
        for name, text in texts.items():
            (copy / name).write_text(text)
            if not (place / name).is_symlink():
                (place / name).symlink_to(f"..data/{name}")
        (place / "..data_tmp").symlink_to(copy.name)
        os.replace(place / "..data_tmp", place / "..data")

    def command(self, words: list[Any]) -> list[str]:
        """A command of the manifest, in this folder."""
        return [re.sub(r"^/(?=etc|var|run)", f"{self.folder}/", str(word)) for word in words]

    def probe(self, name: str) -> int:
        """What a probe's command exits with."""
        program, *words = daemon_of(self.resources)[name]["exec"]["command"]
        assert program == "flowd"
        return flowd(*words, extra={"FLOWD_RUNTIME_DIR": str(self.place("/run/flowd"))}).returncode

    def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        done = flowd("status", "--runtime-dir", self.place("/run/flowd"), "-o", "json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def counts(self) -> tuple[int, int]:
        """Lines of the followed log so far, and how many of them were kept."""
        flows = self.status()["streams"]["flows"]
        return flows["lines"], flows["kept_lines"]


@pytest.mark.parametrize("chosen", [(), ("tcp",)], ids=["plain", "tcp"])
@pytest.mark.parametrize("name", sorted(OVERLAYS))
def test_a_daemon_runs_with_it(name: str, chosen: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "kustomization"
    folder.mkdir()
    origin = KUBERNETES / "overlays" / name
    node = Node(tmp_path / "n", render(write_kustomization(folder, origin, OVERLAYS[name], chosen)))
    text = DEV_FILTER if name == "fluentd-filters" else FLUENT_BIT_FILTER
    node.mount("/etc/flowd/filters", {"flow": text})
    if chosen:
        prepare_keys(node)
    node.log.write_bytes(json_line("dev") + json_line("shop"))
    arguments = node.command(daemon_of(node.resources)["args"])
    checked = flowd(*arguments, "--check")
    valid = b"the configuration is valid: 1 rule for flows, 0 rules for dns\n"
    assert (checked.returncode, checked.stdout) == (0, valid), checked.stderr
    assert node.probe("startupProbe") == EXIT_UNREACHABLE
    with started(*arguments) as child:
        wait_until(lambda: node.probe("startupProbe") == 0, "the start")
        assert (node.probe("readinessProbe"), node.probe("livenessProbe")) == (0, 0)
        wait_until(lambda: node.counts() == (2, 1), "the first lines")
        if chosen:
            assert consume_over_tcp(node) == json_line("shop")
        node.mount("/etc/flowd/filters", {"flow": text.replace("dev", "shop")})
        wait_until(lambda: node.status()["generation"] == 2, "the new filters")
        with node.log.open("ab") as log:
            log.write(json_line("dev") + json_line("shop") + json_line("web"))
        wait_until(lambda: node.counts() == (5, 3), "the other lines")
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0


def prepare_keys(node: Node) -> None:
    """The Secret and the ConfigMap that components/tcp names, made as documented; the pod's step copies the key."""
    made = node.folder / "made"
    for words in (["server", "--server"], ["siem", "--role", "consume", "--stream", "flows"]):
        extra = [] if "--server" in words else ["--allowed-keys-dir", made / "allowed"]
        assert flowd("keys", "new", *words, "--keys-dir", made, *extra).returncode == 0
    keys = node.place("/etc/flowd/keys")
    keys.mkdir(parents=True)
    (keys / "server.key_secret").write_bytes((made / "server.key_secret").read_bytes())
    (keys / "server.key_secret").chmod(0o400)
    node.mount("/etc/flowd/allowed", {"siem.key": (made / "allowed" / "siem.key").read_text()})


def consume_over_tcp(node: Node) -> bytes:
    """What the client whose key is let in reads of the journal."""
    (endpoint,) = [found for found in node.status()["endpoints"]["consume"] if found.startswith("tcp://")]
    made = node.folder / "made"
    keys = ("--server-key", made / "server.key", "--secret-file", made / "siem.key_secret")
    done = flowd("observe", "--consumer", "siem", "--endpoint", endpoint, *keys)
    assert done.returncode == 0, done.stderr
    return done.stdout


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
