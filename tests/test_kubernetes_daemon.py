"""A real daemon runs with the configuration, arguments, variables and probes of the rendered manifests."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, DEV_FILTER, flowd, json_line, started, wait_until
from forward_bed import Receiver, make_ca, make_certificate
from http_bed import ask, scrape, value_of, wait_for
from kubernetes_bed import COMPONENTS, KUBERNETES, OVERLAYS, render, write_kustomization
from kubernetes_node import NAME, Node
from nats_accounts import make_accounts
from nats_bed import NatsServer, free_ports

from flowd.client import Consumer
from flowd.errors import EXIT_UNREACHABLE

FLUENT_BIT_FILTER = "- name: grep\n  exclude: source_namespace ^dev$\n"
OVERLAY = "fluentd-filters"
VALID = b"the configuration is valid: 1 rule for flows, 0 rules for dns\n"


def make_node(
    tmp_path: Path, *components: str | Path, overlay: str = "fluentd-filters", text: str = DEV_FILTER
) -> Node:
    """A node with these components, a log of one line to drop and one to keep, and mounted filters."""
    folder = tmp_path / "kustomization"
    folder.mkdir()
    resources = render(write_kustomization(folder, KUBERNETES / "overlays" / overlay, OVERLAYS[overlay], components))
    node = Node(tmp_path / "n", resources)
    node.mount("/etc/flowd/filters", {"flow": text})
    node.log.write_bytes(json_line("dev") + json_line("shop"))
    return node


@contextmanager
def serving(node: Node) -> Iterator[None]:
    """A daemon that the pod's probes call started; it ends in order at the end of the block."""
    arguments = node.arguments()
    checked = flowd(*arguments, "--check", extra=node.variables())
    assert (checked.returncode, checked.stdout) == (0, VALID), checked.stderr
    assert node.probe("startupProbe") == EXIT_UNREACHABLE
    with started(*arguments, extra=node.variables()) as child:
        wait_until(lambda: node.probe("startupProbe") == 0, "the start")
        assert (node.probe("readinessProbe"), node.probe("livenessProbe")) == (0, 0)
        wait_until(lambda: node.counts() == (2, 1), "the first lines")
        yield
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("chosen", [(), ("tcp",)], ids=["plain", "tcp"])
@pytest.mark.parametrize("name", sorted(OVERLAYS))
def test_a_daemon_runs_with_it(name: str, chosen: tuple[str, ...], tmp_path: Path) -> None:
    text = DEV_FILTER if name == "fluentd-filters" else FLUENT_BIT_FILTER
    node = make_node(tmp_path, *chosen, overlay=name, text=text)
    if chosen:
        prepare_keys(node)
    with serving(node):
        if chosen:
            assert consume_over_tcp(node) == json_line("shop")
        node.mount("/etc/flowd/filters", {"flow": text.replace("dev", "shop")})
        wait_until(lambda: node.status()["generation"] == 2, "the new filters")
        with node.log.open("ab") as log:
            log.write(json_line("dev") + json_line("shop") + json_line("web"))
        wait_until(lambda: node.counts() == (5, 3), "the other lines")


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


def test_metrics_and_health_are_told_where_they_are_looked_for(tmp_path: Path) -> None:
    node = make_node(tmp_path, "metrics")
    with serving(node):
        page = scrape(node.url())
        assert value_of(page, "flowd_up") == 1
        for path, probe in (("/readyz", "readinessProbe"), ("/healthz", "livenessProbe")):
            answer = ask(node.url(), path)
            assert (answer.status, answer.json()["state"]) == (200, "ok")
            assert node.probe(probe) == 0


def test_the_sink_delivers_what_is_kept_under_the_nodes_name(tmp_path: Path) -> None:
    accounts = make_accounts()
    with NatsServer(tmp_path / "nats", free_ports(1)[0], accounts.config, max_file="16G") as server:
        changed = copied(tmp_path, "nats-sink", ("nats://nats.nats:4222", server.url), ("replicas = 3", "replicas = 1"))
        node = make_node(tmp_path, "metrics", changed)
        node.mount("/etc/flowd/nats", {"nats.creds": accounts.creds})
        creds = node.place("/etc/flowd/nats/nats.creds")
        with serving(node):
            wait_for(node.url(), "flowd_sink_lines_total", 1, sink="cluster")
            with Consumer(f"{server.url}?node={NAME}", "siem", "flows", secret_file=creds) as consumer:
                batch = consumer.poll(DEADLINE_S)
            assert batch is not None
            assert batch.lines == json_line("shop")
            assert value_of(scrape(node.url()), "flowd_sink_up", sink="cluster", type="nats") == 1


def copied(tmp_path: Path, component: str, *changes: tuple[str, str]) -> Path:
    """A sink's component as a user copies it, with changes of its sink.toml."""
    copy = tmp_path / "my-sink"
    shutil.copytree(KUBERNETES / "components" / component, copy)
    text = (copy / "sink.toml").read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (copy / "sink.toml").write_text(text)
    return copy


def test_the_forward_sink_delivers_what_is_kept_over_tls(tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    certificate, key = make_certificate(tmp_path, "aggregator", "IP:127.0.0.1", ca)
    told = {"shared_key": "a key of all", "certificate": str(certificate), "key": str(key)}
    with Receiver(tmp_path, **told) as receiver:
        changed = copied(tmp_path, "forward-sink", ("aggregator.logging:24224", receiver.address))
        node = make_node(tmp_path, "metrics", changed)
        prepare_forward(node, told["shared_key"], ca[0].read_text())
        with serving(node):
            wait_for(node.url(), "flowd_sink_lines_total", 1, sink="aggregator")
            assert value_of(scrape(node.url()), "flowd_sink_up", sink="aggregator", type="forward") == 1
        assert [chunk["tag"] for chunk in receiver.chunks()] == ["calico.flows"]
        assert receiver.records() == [json.loads(json_line("shop"))]


def prepare_forward(node: Node, shared_key: str, ca: str = "") -> None:
    """The Secret that components/forward-sink names, as the pod's step copies it."""
    copies = node.place("/etc/flowd/forward")
    copies.mkdir(parents=True)
    for name, text in (("shared.key", f"{shared_key}\n"), ("ca.pem", ca)):
        (copies / name).write_text(text)
        (copies / name).chmod(0o400)


def test_a_forward_sink_without_its_secret_is_refused_with_its_place(tmp_path: Path) -> None:
    node = make_node(tmp_path, "forward-sink")
    done = flowd(*node.arguments(), "--check", extra=node.variables())
    assert done.returncode == 78
    assert b"forward/ca.pem: no CA certificates: No such file" in done.stderr
    assert b"forward/shared.key: No such file" in done.stderr


def test_a_sink_without_its_secret_is_refused_with_its_place(tmp_path: Path) -> None:
    node = make_node(tmp_path, "nats-sink")
    done = flowd(*node.arguments(), "--check", extra=node.variables())
    assert done.returncode == 78
    assert b"nats.creds cannot be read" in done.stderr
    node.mount("/etc/flowd/nats", {"nats.creds": make_accounts().creds})
    assert flowd(*node.arguments(), "--check", extra=node.variables()).returncode == 0


def test_all_components_together_are_valid(tmp_path: Path) -> None:
    node = make_node(tmp_path, *COMPONENTS)
    prepare_keys(node)
    node.mount("/etc/flowd/nats", {"nats.creds": make_accounts().creds})
    prepare_forward(node, "a key", make_ca(tmp_path)[0].read_text())
    with serving(node):
        health = ask(node.url(), "/readyz")
        assert health.status == 200
