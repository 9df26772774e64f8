"""`make image`: builds the image of deploy/Dockerfile without a daemon, and runs the rendered pods from it.

buildah builds; where no registry can be reached, on a base that mmdebstrap makes of Debian's packages. runc runs every
variant of the manifests: its steps, its daemon, its probes. As root. Three minutes, and nothing is left but the image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli_bed import DEV_FILTER, ROOT, json_line
from forward_bed import make_ca
from image.pods import NODE_NAME, Failed, Pod, require, wait_until
from kubernetes_bed import KUBERNETES, OVERLAYS, render, write_kustomization
from nats_accounts import make_accounts

from flowd import __version__

IMAGE = f"localhost/flowd:{__version__}"
BASE = "docker.io/library/debian:trixie-slim"
STAND_IN = "localhost/flowd-stand-in:trixie"
"""A base made of Debian's packages, where no registry can be reached."""
BUILD = ["buildah", "build", "--isolation", "chroot", "--network", "host", "--format", "docker"]
VARIANTS = (
    (),
    ("root-reader",),
    ("pod-storage",),
    ("tcp",),
    ("root-reader", "tcp"),
    ("pod-storage", "tcp"),
    ("metrics", "nats-sink"),
    ("forward-sink",),
    ("root-reader", "pod-storage", "tcp", "metrics", "nats-sink", "forward-sink"),
)
ASK = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:9468/readyz', timeout=5).status)"
READABLE, ROOTS_ALONE = 0o644, 0o600


def call(*words: str, quiet: bool = True) -> str:
    """Runs a command; what it wrote."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE if quiet else None, check=False)
    if done.returncode:
        said = (done.stderr or b"").decode()
        raise Failed(f"{' '.join(words)}: exit code {done.returncode}\n{said}")
    return done.stdout.decode().strip()


def find_base() -> str:
    """The base from its registry, or the stand-in."""
    pulled = subprocess.run(["timeout", "60", "buildah", "pull", "-q", BASE], capture_output=True, check=False)
    if pulled.returncode == 0:
        return BASE
    print("no registry: the base is made of Debian's packages")
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/base.tar"
        call("mmdebstrap", "-q", "--variant=minbase", "trixie", archive)
        container = call("buildah", "from", "scratch")
        call("buildah", "add", "-q", container, archive, "/")
        trusted = os.environ.get("SSL_CERT_FILE")
        if trusted:  # a network that signs for itself: pip must know by whom
            call("buildah", "copy", "-q", container, trusted, "/opt/trusted.pem")
            call("buildah", "config", "--env", "PIP_CERT=/opt/trusted.pem", container)
        call("buildah", "commit", "-q", container, STAND_IN)
        call("buildah", "rm", container)
    return STAND_IN


def build() -> None:
    began_s = time.monotonic()
    base = find_base()
    call(*BUILD, "-q", "--build-arg", f"BASE={base}", "-f", str(ROOT / "deploy/Dockerfile"), "-t", IMAGE, str(ROOT))
    print(f"{IMAGE}: built on {base} in {time.monotonic() - began_s:.0f} s")


@contextmanager
def mounted() -> Iterator[tuple[Path, dict[str, Any]]]:
    """The image's files, and what it says of itself."""
    container = call("buildah", "from", "--pull-never", IMAGE)
    try:
        root = Path(call("buildah", "mount", container))
        described = json.loads(call("buildah", "inspect", "--type", "image", IMAGE))["Docker"]
        yield root, described
    finally:
        call("buildah", "rm", container)


def make_keys() -> dict[str, dict[str, str]]:
    """The Secret and the ConfigMap that components/tcp names, made as the documents say."""
    with tempfile.TemporaryDirectory() as folder:
        for words in (
            ["server", "--server", "--keys-dir", folder],
            ["siem", "--role", "consume", "--stream", "flows", "--keys-dir", folder, "--allowed-keys-dir", folder],
        ):
            call(sys.executable, "-m", "flowd", "keys", "new", *words)
        read = {name: (Path(folder) / name).read_text() for name in ("server.key_secret", "siem.key")}
    return {
        "flowd-server-key": {"server.key_secret": read["server.key_secret"]},
        "flowd-allowed-keys": {"siem.key": read["siem.key"]},
    }


def try_variant(chosen: tuple[str, ...], root: Path, image: dict[str, Any]) -> str:
    """One variant on a node of its own: lines come, an edit is loaded, the journal stays. Says who ran it."""
    overlay = "fluentd-filters"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as written:
        kustomization = write_kustomization(Path(written), KUBERNETES / "overlays" / overlay, OVERLAYS[overlay], chosen)
        resources = render(kustomization)
        node = Path(folder)
        log = node / "var/log/calico/flowlogs/flows.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(json_line("dev") + json_line("shop"))
        log.chmod(ROOTS_ALONE)
        secrets = {"flowd-nats": {"nats.creds": make_accounts().creds}, "flowd-forward": make_forward_secret()}
        texts = {overlay: {"flow": DEV_FILTER}, **secrets, **make_keys()}
        pod = Pod(resources, root, image, node, texts)
        with pod.running() as child:
            pod.wait_until_started(child)
            require([pod.probe("readinessProbe"), pod.probe("livenessProbe")] == [0, 0], "a probe fails")
            if "root-reader" not in chosen:
                wait_until(lambda: "permission" in str(pod.status()["counters"]), "the refused file")
                log.chmod(READABLE)
            wait_until(lambda: lines_of(pod) == (2, 1), "the first lines")
            if "metrics" in chosen:
                require(pod.execute("python3", "-c", ASK).stdout == b"200\n", "nobody answers over HTTP")
            if "nats-sink" in chosen:
                try_nats(pod)
            if "forward-sink" in chosen:
                try_forward(pod)
            pod.edit("filters", {"flow": DEV_FILTER.replace("dev", "shop")})
            wait_until(lambda: pod.status()["generation"] == 2, "the new filters")
            with log.open("ab") as more:
                more.write(json_line("dev") + json_line("shop"))
            wait_until(lambda: lines_of(pod) == (4, 2), "the other lines")
            anonymous_bytes = anonymous_memory(pod)
            owned = ownership(pod)
            require(pod.end(child) == 0, "the end was not in order")
        with Pod(resources, root, image, node, texts).running() as child:
            pod.wait_until_started(child)
            kept = pod.execute("flowd", "observe", "--last", "10", "-q").stdout
            stays = "pod-storage" not in chosen
            require((json_line("shop") + json_line("dev") == kept) is stays, f"the journal: {kept!r}")
            require(pod.end(child) == 0, "the end was not in order")
    return f"{owned}, {anonymous_bytes / 1e6:.0f} MB of its own"


def make_forward_secret() -> dict[str, str]:
    """The Secret that components/forward-sink names."""
    with tempfile.TemporaryDirectory() as folder:
        return {"shared.key": "a key of all\n", "ca.pem": make_ca(Path(folder))[0].read_text()}


def try_nats(pod: Pod) -> None:
    """The image has what the sink needs, and the pod can read its Secret; no server is in reach, which ends nothing."""
    found = pod.execute("python3", "-c", "import os, nats, nkeys; print(os.environ['NODE_NAME'])").stdout
    require(found == f"{NODE_NAME}\n".encode(), f"the sink's libraries and the node's name: {found!r}")
    require_unresolved(pod, "cluster")


def try_forward(pod: Pod) -> None:
    """The daemon alone can read the copies of the Secret, which are no file of a disk."""
    found = pod.execute("sh", "-c", "id -u; stat -c '%n %u %a' /etc/flowd/forward/*").stdout.decode()
    user, *copies = found.splitlines()
    wanted = [f"/etc/flowd/forward/{name} {user} 400" for name in ("ca.pem", "shared.key")]
    require(copies == wanted, f"the Secret's copies: {found!r}")
    require_unresolved(pod, "aggregator")


def require_unresolved(pod: Pod, sink: str) -> None:
    """The sink has got as far as to look for its server's address."""
    wait_until(lambda: pod.status()["sinks"][sink]["state"] == "down", "a sink without a server")
    reason = pod.status()["sinks"][sink]["reason"]
    require("name resolution" in reason, f"the sink's reason: {reason}")


def lines_of(pod: Pod) -> tuple[int, int]:
    """Lines of flows so far, and how many were kept."""
    flows = pod.status()["streams"].get("flows", {"lines": 0, "kept_lines": 0})
    return flows["lines"], flows["kept_lines"]


def anonymous_memory(pod: Pod) -> int:
    """What memory the daemon has of its own, in bytes."""
    words = pod.execute("sh", "-c", "grep RssAnon /proc/1/status").stdout.split()
    return int(words[1]) * 1024


def ownership(pod: Pod) -> str:
    """Who the daemon is, and whose its sockets are."""
    listed = pod.execute("sh", "-c", "id -u; stat -c '%u:%g %a' /run/flowd/live.sock /run/flowd/admin.sock").stdout
    user, live, admin = listed.decode().splitlines()
    require((live, admin) == (f"{user}:10001 660", f"{user}:10001 600"), f"the sockets: {listed!r}")
    return f"user {user}"


def main() -> int:
    try:
        build()
        with mounted() as (root, image):
            for chosen in VARIANTS:
                said = try_variant(chosen, root, image)
                print(f"{'+'.join(chosen) or 'plain'}: steps, probes, lines, reload, restart: well ({said})")
    except Failed as failure:
        print(f"failed: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
