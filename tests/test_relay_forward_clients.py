"""The Forward source with clients that others have written: PyPI's fluent-logger, in every way it can send."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

from fluent import asynchandler, asyncsender, handler, sender
from forward_source_bed import forwarding, stored_batches, stored_lines
from relay_bed import DEADLINE_S, DaemonProcess, wait_until

from flowd.client import Consumer


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def read_records(lines: bytes) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines()]


def test_events_of_a_sender_become_lines(tmp_path: Path) -> None:
    settings = {"streams": {"calico.**": "flows"}}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]):
        client = sender.FluentSender("calico", host="127.0.0.1", port=port_of(endpoint))
        events = [{"source_namespace": "prod", "n": n, "list": [1, None, "ü"], "part": {"x": 1.5}} for n in range(20)]
        for event in events:
            assert client.emit("flows", event)
        assert client.emit("flows", {"source_namespace": "dev"})
        client.close()
        wait_until(lambda: stored_lines(config).count(b"\n") == 20, "all events")
        assert read_records(stored_lines(config)) == events


def test_times_of_a_sender_come_with_their_nanoseconds(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]):
        client = sender.FluentSender("flows", host="127.0.0.1", port=port_of(endpoint), nanosecond_precision=True)
        assert client.emit_with_time(None, 1_700_000_000.5, {"source_namespace": "prod"})
        client.close()
        [batch] = wait_until(lambda: stored_batches(config), "the event")
        assert batch.record_times_ns == (1_700_000_000_500_000_000, 1_700_000_000_500_000_000)


def test_a_sender_reaches_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    with forwarding(tmp_path, [f"unix://{path}"]) as (_, config, _):
        client = sender.FluentSender("flows", host=f"unix://{path}")
        assert client.emit(None, {"n": 1})
        client.close()
        wait_until(lambda: read_records(stored_lines(config)) == [{"n": 1}], "the event")


def test_log_records_come_through_a_handler(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]):
        logger = logging.getLogger("flowd.test.forward")
        logger.propagate = False
        for kind in (handler.FluentHandler, asynchandler.FluentHandler):
            through = kind("flows", host="127.0.0.1", port=port_of(endpoint))
            through.setFormatter(handler.FluentRecordFormatter({"level": "%(levelname)s", "where": "%(name)s"}))
            logger.addHandler(through)
            logger.warning({"source_namespace": "prod", "kind": kind.__module__})
            logger.removeHandler(through)
            through.close()
        wait_until(lambda: stored_lines(config).count(b"\n") == 2, "both records")
        found = read_records(stored_lines(config))
        assert {record["kind"] for record in found} == {"fluent.handler", "fluent.asynchandler"}
        assert {(record["level"], record["where"]) for record in found} == {("WARNING", "flowd.test.forward")}


def test_many_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    def send(number: int, port: int) -> None:
        client = asyncsender.FluentSender("flows", host="127.0.0.1", port=port, queue_maxsize=10_000)
        for n in range(200):
            assert client.emit(None, {"s": number, "n": n})
        client.close()

    with forwarding(tmp_path) as (_, config, [endpoint]):
        threads = [threading.Thread(target=send, args=(number, port_of(endpoint))) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: stored_lines(config).count(b"\n") == 4000, "all events")
        found: dict[int, list[int]] = {}
        for record in read_records(stored_lines(config)):
            found.setdefault(record["s"], []).append(record["n"])
        assert found == {number: [*range(200)] for number in range(20)}


def test_a_sender_goes_on_with_the_next_daemon(tmp_path: Path) -> None:
    """What it could not send it keeps, and sends with the next event."""
    path = tmp_path / "forward.sock"
    with DaemonProcess(tmp_path, sources__forward={"listen": [f"unix://{path}"]}) as daemon:
        client = sender.FluentSender("flows", host=f"unix://{path}")
        assert client.emit(None, {"n": 1})
        wait_until(lambda: daemon.status()["streams"]["flows"]["lines"] == 1, "the first event")
        assert daemon.terminate()[0] == 0
        assert not client.emit(None, {"n": 2})
        daemon.start()
        assert client.emit(None, {"n": 3})
        client.close()
        lines = b""
        with Consumer(daemon.endpoint("consume"), start="oldest", timeout_s=DEADLINE_S) as consumer:
            while lines.count(b"\n") < 3:
                lines += next(consumer).lines
        assert read_records(lines) == [{"n": 1}, {"n": 2}, {"n": 3}]
