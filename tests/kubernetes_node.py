"""A node's folders as a pod of the rendered manifests sees them, so that a daemon runs with what is rendered."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from cli_bed import flowd
from kubernetes_bed import Resource, configuration_of, daemon_of

NAME = "ip-10-0-1-20.example.internal"
"""As clouds name nodes: with dots."""


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
        text = re.sub(r"tcp://0\.0\.0\.0:\d+", "tcp://127.0.0.1:*", text)
        text = re.sub(r'"0\.0\.0\.0:\d+"', '"127.0.0.1:0"', text)
        self.place("/etc/flowd/config/flowd.toml").write_text(text)

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

    def arguments(self) -> list[str]:
        """Those of the daemon."""
        return self.command(daemon_of(self.resources)["args"])

    def variables(self) -> dict[str, str]:
        """What the daemon's environment has beside the image's; the cluster gives the node's name."""
        given = {}
        for variable in daemon_of(self.resources).get("env", []):
            source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            assert source in (None, "spec.nodeName")
            given[variable["name"]] = NAME if source else variable["value"]
        return given

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

    def url(self) -> str:
        """Where the daemon answers over HTTP."""
        (found,) = self.status()["endpoints"]["http"]
        return str(found)

    def counts(self) -> tuple[int, int]:
        """Lines of the followed log so far, and how many of them were kept."""
        flows = self.status()["streams"]["flows"]
        return flows["lines"], flows["kept_lines"]
