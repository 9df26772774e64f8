"""The Forward sink, between a real daemon and servers in processes of their own: nothing is lost, whoever is killed."""

from __future__ import annotations

from pathlib import Path

from forward_bed import (
    Receiver,
    counted,
    feed,
    forwarding,
    numbered,
    numbers,
    sink_status,
    wait_for_delivery,
)
from relay_bed import wait_until

HEALTHY = {"state": "ok"}


def test_lines_arrive_as_records(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, b'{"source_namespace":"prod","n":1.5}\nnothing\n')
        wait_for_delivery(daemon, 2)
        (chunk,) = receiver.chunks()
        assert chunk["tag"] == "flows"
        assert [record for _, record in chunk["records"]] == [
            {"source_namespace": "prod", "n": 1.5},
            {"message": "nothing"},
        ]
        assert len({tuple(time) for time, _ in chunk["records"]}) == 1
        assert counted(daemon, "sink_batches") == 1
        assert counted(daemon, "sink_acks") == 1
        assert counted(daemon, "sink_plain_lines") == 1
        status = sink_status(daemon)
        assert (status["state"], status["peer"], status["under_way_batches"]) == ("up", receiver.address, 0)
        assert status["servers"] == [
            {
                "server": receiver.address,
                "state": "up",
                "reason": "",
                "weight": 1,
                "standby": False,
                "under_way_chunks": 0,
            }
        ]
        assert daemon.terminate()[0] == 0


def test_a_killed_server_gets_what_it_did_not_acknowledge_when_it_is_back(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, *numbered(0, 20))
        wait_until(lambda: receiver.chunks(), "some chunks")
        receiver.kill()
        feed(daemon, *numbered(20, 40))
        wait_until(lambda: daemon.status()["state"] == "degraded", "the loss of the server")
        (reason,) = daemon.status()["reasons"]
        assert reason.startswith(f"sink out: {receiver.address}: no connection: ")
        assert counted(daemon, "sink_connection_failures", reason="connect") >= 1
        receiver.start()
        wait_for_delivery(daemon, 40)
        assert set(numbers(receiver)) == set(range(40))
        wait_until(lambda: daemon.status()["state"] == "ok", "health")
