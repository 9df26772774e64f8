"""A rendered pod, run by runc as a kubelet has it run: users, rights, mounts, limits, probes are the manifest's.

Needs root and runc. Only what flowd's manifests use is understood; what else they may come to use is refused.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubernetes_bed import Resource, configuration_of, daemon_of, pod_of

DEADLINE_S = 60.0
NODE_NAME = "node-1.example"
UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


class Failed(Exception):
    """Something is not as it must be."""


def require(condition: object, what: str) -> None:
    """Raises Failed with `what` where the condition does not hold."""
    if not condition:
        raise Failed(what)


class Pod:
    """One pod on one node. `node` is the node's file system as far as the pod sees it, `texts` the contents of the
    ConfigMaps and Secrets that the manifest does not bring itself, by their names."""

    def __init__(
        self, resources: list[Resource], root: Path, image: dict[str, Any], node: Path, texts: dict[str, dict[str, str]]
    ) -> None:
        self.resources = resources
        self._root = root
        self._image = image
        self.node = node
        self._pod = pod_of(resources)
        self._swaps = 0
        self._volumes: dict[str, Path] = {}
        self.name = f"flowd-try-{os.getpid()}"
        for volume in self._pod["volumes"]:
            self._volumes[volume["name"]] = self._make_volume(volume, texts)

    def _make_volume(self, volume: Resource, texts: dict[str, dict[str, str]]) -> Path:
        name = volume["name"]
        if "hostPath" in volume:
            require(volume["hostPath"]["type"] == "DirectoryOrCreate", f"{name}: unknown type")
            place = self.node / volume["hostPath"]["path"].lstrip("/")
            place.mkdir(parents=True, exist_ok=True)  # as the kubelet: root's, 0755
            return place
        place = self.node / "kubelet" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        group = self._pod["securityContext"].get("fsGroup", 0)
        if "emptyDir" in volume:
            os.chown(place, 0, group)
            place.chmod(0o2777 if group else 0o777)
        elif "configMap" in volume:
            place.chmod(0o777)
            wanted = volume["configMap"]["name"]
            found = {"flowd.toml": configuration_of(self.resources)} if name == "config" else texts[wanted]
            self._swap(place, found, 0o644, group)
        else:
            place.chmod(0o777)
            self._swap(place, texts[volume["secret"]["secretName"]], volume["secret"]["defaultMode"], group)
        return place

    def _swap(self, place: Path, texts: dict[str, str], mode: int, group: int) -> None:
        self._swaps += 1
        copy = place / f"..{self._swaps}"
        copy.mkdir()
        for name, text in texts.items():
            (copy / name).write_text(text)
            os.chown(copy / name, 0, group)
            (copy / name).chmod(mode)
            if not (place / name).is_symlink():
                (place / name).symlink_to(f"..data/{name}")
        (place / "..new").symlink_to(copy.name)
        (place / "..new").replace(place / "..data")

    def edit(self, volume: str, texts: dict[str, str]) -> None:
        """A mounted ConfigMap is edited."""
        self._swap(self._volumes[volume], texts, 0o644, self._pod["securityContext"].get("fsGroup", 0))

    def _bundle(self, container: Resource) -> Path:
        """What runc starts a container from."""
        context = self._pod["securityContext"] | container["securityContext"]
        settings = self._image["config"]
        variables = [*settings["Env"], *map(_write_variable, container.get("env", []))]
        words = container.get("command") or [*settings["Entrypoint"], *container.get("args", [])]
        rights = [f"CAP_{name}" for name in context["capabilities"].get("add", [])] if context["runAsUser"] == 0 else []
        limit = container["resources"]["limits"]["memory"]
        bundle = self.node / "bundles" / container["name"]
        shutil.rmtree(bundle, ignore_errors=True)
        bundle.mkdir(parents=True)
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        spec = json.loads((bundle / "config.json").read_text())
        spec["root"] = {"path": str(self._root), "readonly": context["readOnlyRootFilesystem"]}
        spec["hostname"] = "node"
        spec["process"] |= {
            "terminal": False,
            "args": words,
            "env": variables,
            "cwd": settings["WorkingDir"],
            "user": {
                "uid": context["runAsUser"],
                "gid": context["runAsGroup"],
                "additionalGids": [context["fsGroup"]] if "fsGroup" in context else [],
            },
            "noNewPrivileges": not context["allowPrivilegeEscalation"],
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), rights),
        }
        spec["mounts"] += [
            {
                "destination": mount["mountPath"],
                "source": str(self._volumes[mount["name"]]),
                "type": "none",
                "options": ["rbind", "ro" if mount.get("readOnly") else "rw"],
            }
            for mount in container["volumeMounts"]
        ]
        spec["linux"]["resources"]["memory"] = {"limit": int(limit[:-2]) * UNITS[limit[-2:]]}
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The pod's steps, one after the other, then the daemon; killed at the end of the block where it still runs."""
        for container in self._pod.get("initContainers", []):
            name = f"{self.name}-{container['name']}"
            done = subprocess.run(
                ["runc", "run", "--bundle", str(self._bundle(container)), name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE_S,
                check=False,
            )
            require(done.returncode == 0, f"step {container['name']}: {done.stderr.decode()}")
        with (self.node / "log").open("ab") as log:
            child = subprocess.Popen(
                ["runc", "run", "--bundle", str(self._bundle(daemon_of(self.resources))), self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield child
        finally:
            if child.poll() is None:
                subprocess.run(["runc", "kill", self.name, "KILL"], capture_output=True, check=False)
                child.wait(DEADLINE_S)

    def execute(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """A command in the daemon's container, as `kubectl exec` and probes run it."""
        return subprocess.run(
            ["runc", "exec", self.name, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def probe(self, name: str) -> int:
        """What a probe exits with."""
        return self.execute(*daemon_of(self.resources)[name]["exec"]["command"]).returncode

    def status(self) -> dict[str, Any]:
        """What the daemon says of itself."""
        done = self.execute("flowd", "status", "-o", "json")
        require(done.returncode == 0, done.stderr.decode())
        return dict(json.loads(done.stdout))

    def wait_until_started(self, child: subprocess.Popen[bytes]) -> None:
        """Until the start-up probe succeeds."""

        def is_started() -> bool:
            require(child.poll() is None, f"the daemon ended: {(self.node / 'log').read_text()}")
            return self.probe("startupProbe") == 0

        wait_until(is_started, "the start")

    def end(self, child: subprocess.Popen[bytes]) -> int:
        """SIGTERM, as a kubelet sends it; the exit code."""
        os.kill(int(json.loads(self._state())["pid"]), signal.SIGTERM)
        return child.wait(DEADLINE_S)

    def _state(self) -> bytes:
        return subprocess.run(["runc", "state", self.name], capture_output=True, check=True).stdout


def _write_variable(variable: Resource) -> str:
    """A container's variable; what the cluster would give is the node's name alone."""
    source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
    require(source in (None, "spec.nodeName"), f"{variable['name']}: unknown source")
    return f"{variable['name']}={NODE_NAME if source else variable['value']}"


def wait_until(condition: Any, what: str) -> None:
    """Waits for a condition; Failed with `what` where it does not come."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        require(time.monotonic() < deadline_s, f"waited in vain: {what}")
        time.sleep(0.05)
