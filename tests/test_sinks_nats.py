"""The NATS JetStream sink of a real daemon, with real nats-servers: every batch once, whatever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats_bed import NatsServer, free_ports
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, counters, wait_until

from flowd.client import Producer, request
from flowd.wire.jetstream import Head


def sink(url: str | list[str], **more: Any) -> dict[str, Any]:
    servers = [url] if isinstance(url, str) else url
    return {
        "sinks.cluster": {
            "type": "nats",
            "servers": servers,
            "node": "node-a.example",
            "max_bytes": "512MiB",
            **more,
        }
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", free_ports(1)[0]) as server:
        yield server


async def _read_all(url: str, stream: str) -> list[tuple[str, Head, bytes]]:
    client = await nats.connect(url)
    try:
        jetstream = client.jetstream()
        info = await jetstream.stream_info(stream)
        found = []
        for seq in range(info.state.first_seq, info.state.last_seq + 1):
            message = await jetstream.get_msg(stream, seq, direct=False)
            found.append((message.subject, Head.parse(message.headers), message.data))
        return found
    finally:
        await client.close()


def read_all(url: str, stream: str = "FLOWD") -> list[tuple[str, Head, bytes]]:
    return asyncio.run(_read_all(url, stream))


def numbered(begin: int, end: int, padding: int = 0) -> bytes:
    return b"".join(b'{"n":%d,"p":"%s"}\n' % (n, b"x" * padding) for n in range(begin, end))


def feed(daemon: DaemonProcess, *batches: bytes, stream: str = "flows") -> None:
    with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines, stream)
            producer.flush()


def cursor(daemon: DaemonProcess, stream: str = "flows") -> dict[str, Any] | None:
    for consumer in request(daemon.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]:
        if consumer["consumer"] == "sink.cluster" and consumer["stream"] == stream:
            return consumer
    return None


def test_batches_are_messages_with_their_names_in_the_headers(tmp_path: Path, server: NatsServer) -> None:
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon:
        feed(daemon, KEPT + DROPPED + KEPT, DROPPED, KEPT)
        wait_until(lambda: counters(daemon).get('flowd_sink_batches_total{sink="cluster"}') == 2, "both batches")
        epoch = bytes.fromhex(daemon.status()["epoch"])
        assert daemon.status()["sinks"]["cluster"]["state"] == "up"
    (one, two) = read_all(server.url)
    assert [one[0], two[0]] == ["flowd.flows.node-a~example"] * 2
    assert [one[2], two[2]] == [2 * KEPT, KEPT]
    assert one[1].message_id == f"{epoch.hex()}/flows/1"
    assert (one[1].epoch, one[1].stream, one[1].node, one[1].seq) == (epoch, "flows", "node-a.example", 1)
    assert (one[1].lines, one[1].before, one[1].previous) == (2, 0, None)
    assert (two[1].seq, two[1].lines, two[1].before, two[1].previous) == (3, 1, 2, 1)
