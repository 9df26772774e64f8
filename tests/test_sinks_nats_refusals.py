"""A NATS sink that is not let, or whose server stands still or goes: people are told, and a daemon ends in time."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import nats
import pytest
from nats_bed import NatsServer, free_ports
from relay_bed import KEPT, DaemonProcess, wait_until
from test_sinks_nats import feed, is_drained, numbered, read_all, sink

from flowd.relay.sinks.runner import FINISH_S

SLACK_S = 10.0
"""What a busy machine may add to a daemon's end."""
ACCOUNT = """
accounts {{ A {{ jetstream: enabled, users: [
    {{ user: flowd, password: secret, permissions: {{ publish: {{ deny: ["{0}"] }} }} }}
] }} }}
"""


def reason_of(daemon: DaemonProcess) -> str:
    found: str = daemon.status()["sinks"]["cluster"]["reason"]
    return found


@pytest.mark.parametrize("denied", ["flowd.>", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.CREATE.*"])
def test_what_a_user_may_not_do_is_told(tmp_path: Path, denied: str) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    login = {"user": "flowd", "password_file": str(password)}
    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0], more=ACCOUNT.format(denied)) as server,
        DaemonProcess(tmp_path, **sink(server.url, **login)) as daemon,
    ):
        feed(daemon, KEPT)
        wait_until(lambda: "permissions violation" in reason_of(daemon), "the reason")
        assert daemon.status()["sinks"]["cluster"]["state"] == "down"


def test_a_server_that_takes_next_to_nothing_is_told(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0], more="max_payload: 1000") as server,
        DaemonProcess(tmp_path, **sink(server.url)) as daemon,
    ):
        feed(daemon, KEPT)
        wait_until(lambda: "messages of 1000 bytes only" in reason_of(daemon), "the reason")


def test_little_payload_is_enough(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0], more="max_payload: 9000") as server,
        DaemonProcess(tmp_path, **sink(server.url)) as daemon,
    ):
        lines = numbered(0, 1000, 400)
        feed(daemon, lines)
        wait_until(lambda: is_drained(daemon), "the batch")
        assert b"".join(payload for _, _, payload in read_all(server.url)) == lines


def test_a_stream_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    async def delete(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().delete_stream("FLOWD")
        await client.close()

    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0]) as server,
        DaemonProcess(tmp_path, **sink(server.url, duplicate_window_s=1)) as daemon,
    ):
        feed(daemon, KEPT)
        wait_until(lambda: is_drained(daemon), "the first batch")
        asyncio.run(delete(server.url))
        feed(daemon, KEPT, KEPT)
        wait_until(lambda: is_drained(daemon), "the rest")
        assert [head.seq for _, head, _ in read_all(server.url)] == [2, 3]


@pytest.mark.parametrize("trouble", ["stands still", "is dead", "was never there"])
def test_a_daemon_ends_in_time_whatever_the_server_does(tmp_path: Path, trouble: str) -> None:
    server = NatsServer(tmp_path / "nats", free_ports(1)[0])
    with DaemonProcess(tmp_path, **sink(server.url)) as daemon, server:
        feed(daemon, KEPT)
        wait_until(lambda: is_drained(daemon), "the first batch")
        if trouble == "stands still":
            server.pause()
        else:
            server.kill()
        if trouble == "was never there":
            daemon.terminate()
            daemon.start()
        feed(daemon, *[KEPT] * 5)
        began_s = time.monotonic()
        daemon.terminate()
        assert time.monotonic() - began_s < FINISH_S + SLACK_S
        server.kill()
        server.start()
        daemon.start()
        wait_until(lambda: is_drained(daemon), "the rest")
        assert [head.seq for _, head, _ in read_all(server.url)] == [1, 2, 3, 4, 5, 6]


def test_a_journal_that_was_lost_begins_another_epoch(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", free_ports(1)[0]) as server,
        DaemonProcess(tmp_path, **sink(server.url)) as daemon,
    ):
        feed(daemon, KEPT, KEPT)
        wait_until(lambda: is_drained(daemon), "the first epoch")
        daemon.terminate()
        shutil.rmtree(tmp_path / "state" / "journal")
        daemon.start()
        feed(daemon, KEPT, KEPT, KEPT)
        wait_until(lambda: len(read_all(server.url)) == 5, "the second epoch")
        heads = [head for _, head, _ in read_all(server.url)]
    assert [head.seq for head in heads] == [1, 2, 1, 2, 3]
    assert [head.previous for head in heads] == [None, 1, None, 1, 2]
    assert len({head.epoch for head in heads}) == 2
