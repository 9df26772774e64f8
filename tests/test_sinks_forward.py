"""The Forward sink, between a real daemon and servers in processes of their own: nothing is lost, whoever is killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from forward_bed import Receiver, counted, feed, forwarding, numbered, numbers, sink_status, wait_for_delivery
from relay_bed import DaemonProcess, wait_until, with_views

from flowd.cli.status_tables import render_status

MANY = 100


def states(daemon: DaemonProcess) -> list[str]:
    return [server["state"] for server in sink_status(daemon).get("servers", [])]


def wait_for_states(daemon: DaemonProcess, *wanted: str) -> None:
    wait_until(lambda: states(daemon) == list(wanted), f"servers that are {wanted}, not {states(daemon)}")


def wait_until_down(daemon: DaemonProcess) -> str:
    """Until the sink is down; returns why the daemon says so."""
    wait_until(lambda: daemon.status()["state"] == "degraded", "the sink's being down")
    (reason,) = daemon.status()["reasons"]
    return str(reason)


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
        wait_until(receiver.chunks, "some chunks")
        receiver.kill()
        feed(daemon, *numbered(20, 40))
        refused = f"sink out: {receiver.address}: no connection: Connection refused"
        wait_until(lambda: wait_until_down(daemon) == refused, "the reason that nobody listens")
        assert counted(daemon, "sink_connection_failures", reason="connect") >= 1
        receiver.start()
        wait_for_delivery(daemon, 40)
        assert set(numbers(receiver)) == set(range(40))
        wait_until(lambda: daemon.status()["state"] == "ok", "health")


def test_a_killed_daemon_loses_nothing(tmp_path: Path) -> None:
    with Receiver(tmp_path, ack="backwards") as receiver, forwarding(tmp_path, receiver) as daemon:
        for turn in range(3):
            feed(daemon, *numbered(10 * turn, 10 * turn + 10))
            wait_until(lambda turn=turn: len(receiver.chunks()) > 10 * turn, "a chunk of this turn")
            daemon.kill()
            daemon.start()
        wait_until(lambda: set(numbers(receiver)) == set(range(30)), "every line")
        ids = {tuple(record["n"] for _, record in chunk["records"]): chunk["chunk"] for chunk in receiver.chunks()}
        for chunk in receiver.chunks():  # a repeated chunk has the same id
            assert ids[tuple(record["n"] for _, record in chunk["records"])] == chunk["chunk"]
        assert len(set(ids.values())) == 30


def test_acknowledgements_may_come_in_any_order(tmp_path: Path) -> None:
    with Receiver(tmp_path, ack="backwards") as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, *numbered(0, 10))
        wait_for_delivery(daemon, 10)
        assert daemon.terminate()[0] == 0
        daemon.start()
        feed(daemon, *numbered(10, 11))
        wait_for_delivery(daemon, 1)
        assert numbers(receiver) == list(range(11))


def test_a_drain_finishes_what_is_under_way(tmp_path: Path) -> None:
    with Receiver(tmp_path, ack="backwards") as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, *numbered(0, 3))
        wait_until(lambda: len(receiver.chunks()) == 3, "chunks that wait for their acknowledgements")
        assert daemon.terminate()[0] == 0
        daemon.start()
        feed(daemon, *numbered(3, 4))
        wait_for_delivery(daemon, 1)
        assert numbers(receiver) == [0, 1, 2, 3]


def test_a_server_that_never_acknowledges_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with (
        Receiver(tmp_path, "mute", ack="never") as mute,
        forwarding(tmp_path, mute, sink__ack_timeout_s=0.3) as daemon,
    ):
        feed(daemon, *numbered(0, 3))
        assert wait_until_down(daemon) == f"sink out: {mute.address}: no acknowledgement within 0.3 s"
        wait_until(lambda: counted(daemon, "sink_repeated_chunks") >= 2, "chunks that are sent again")
        assert counted(daemon, "sink_connection_failures", reason="ack_timeout") >= 1
        assert counted(daemon, "sink_lines") == 0
        mute.kill()
        with Receiver(tmp_path, "talking", listen=mute.told["listen"]) as talking:
            wait_for_delivery(daemon, 3)
            assert set(numbers(talking)) == {0, 1, 2}
            wait_until(lambda: daemon.status()["state"] == "ok", "health")


def test_a_server_in_doubt_holds_up_nobody(tmp_path: Path) -> None:
    with (
        Receiver(tmp_path, "mute", ack="never") as mute,
        Receiver(tmp_path, "well") as well,
        forwarding(tmp_path, mute, well, sink__ack_timeout_s=0.5) as daemon,
    ):
        wait_for_states(daemon, "up", "up")
        feed(daemon, *numbered(0, 4))
        wait_for_delivery(daemon, 4)
        feed(daemon, *numbered(4, MANY))
        wait_for_delivery(daemon, MANY)
        assert set(numbers(well)) == set(range(MANY))
        assert daemon.status()["state"] == "ok"
        mute.kill()
        with Receiver(tmp_path, "talking", listen=mute.told["listen"]) as talking:
            feed(daemon, *numbered(MANY, MANY + 1))

            def is_trusted_again() -> bool:
                feed(daemon, b'{"n":0}\n')
                return states(daemon) == ["up", "up"] and len(talking.chunks()) >= 2

            wait_until(is_trusted_again, "the server's being trusted again")


def test_a_standby_server_serves_while_the_others_do_not_acknowledge(tmp_path: Path) -> None:
    with Receiver(tmp_path, "mute", ack="never") as mute, Receiver(tmp_path, "spare") as spare:
        servers = mute.address, {"address": spare.address, "standby": True}
        with forwarding(tmp_path, *servers, sink__ack_timeout_s=0.3) as daemon:
            feed(daemon, *numbered(0, 20))
            wait_for_delivery(daemon, 20)
            assert set(numbers(spare)) == set(range(20))
            wait_until(lambda: sink_status(daemon)["peer"] == spare.address, "the standby server's being told")
            assert daemon.status()["state"] == "ok"


def test_a_daemon_ends_without_a_server_and_the_next_one_delivers(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver, forwarding(tmp_path, receiver) as daemon:
        receiver.kill()
        wait_until_down(daemon)
        feed(daemon, *numbered(0, 5))
        assert daemon.terminate()[0] == 0
        receiver.start()
        daemon.start()
        wait_for_delivery(daemon, 5)
        assert numbers(receiver) == list(range(5))


def test_nonsense_instead_of_an_acknowledgement_is_told(tmp_path: Path) -> None:
    with Receiver(tmp_path, ack="nonsense") as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, *numbered(0, 1))
        assert wait_until_down(daemon) == f"sink out: {receiver.address}: its answer is no acknowledgement: 72"
        assert counted(daemon, "sink_connection_failures", reason="protocol") >= 1


def test_servers_share_the_chunks_by_weight(tmp_path: Path) -> None:
    with ExitStack() as stack:
        receivers = [stack.enter_context(Receiver(tmp_path, name)) for name in ("one", "two", "three")]
        weighted = zip(receivers, (60, 30, 10), strict=True)
        servers = [{"address": receiver.address, "weight": weight} for receiver, weight in weighted]
        daemon = stack.enter_context(forwarding(tmp_path, *servers, sink__window=MANY))
        wait_for_states(daemon, "up", "up", "up")
        feed(daemon, *numbered(0, MANY))
        wait_for_delivery(daemon, MANY)
        assert [len(receiver.chunks()) for receiver in receivers] == [60, 30, 10]
        receivers[0].kill()
        wait_until(lambda: "down" in states(daemon), "the loss of one server")
        feed(daemon, *numbered(MANY, MANY + 40))
        wait_for_delivery(daemon, MANY + 40)
        assert daemon.status()["state"] == "ok"
        assert numbers(*receivers) == list(range(MANY + 40))
        assert [len(receiver.chunks()) for receiver in receivers] == [60, 60, 20]


def test_a_standby_server_serves_while_all_others_are_down(tmp_path: Path) -> None:
    with Receiver(tmp_path, "first") as first, Receiver(tmp_path, "spare") as spare:
        servers = first.address, {"address": spare.address, "standby": True}
        with forwarding(tmp_path, *servers) as daemon:
            wait_for_states(daemon, "up", "standby")
            feed(daemon, *numbered(0, 5))
            wait_for_delivery(daemon, 5)
            first.kill()
            wait_for_states(daemon, "down", "up")
            feed(daemon, *numbered(5, 10))
            wait_for_delivery(daemon, 10)
            assert (daemon.status()["state"], sink_status(daemon)["peer"]) == ("ok", spare.address)
            first.start()
            wait_for_states(daemon, "up", "standby")
            feed(daemon, *numbered(10, 15))
            wait_for_delivery(daemon, 15)
            assert numbers(spare) == list(range(5, 10))
            assert numbers(first) == [*range(5), *range(10, 15)]


def test_what_retention_took_is_counted(tmp_path: Path) -> None:
    line = b'{"n":%d,"text":"' + b"x" * 100_000 + b'"}\n'
    sent = 300
    with Receiver(tmp_path) as receiver, forwarding(tmp_path, receiver, journal__max_bytes=1 << 20) as daemon:
        receiver.kill()
        wait_until_down(daemon)
        feed(daemon, *(line % number for number in range(sent)))  # 30 MB, of which 12 MiB at most are read ahead
        receiver.start()

        def all_are_accounted_for() -> bool:
            lost = counted(daemon, "sink_missed_lines", reason="retention")
            return counted(daemon, "sink_lines") + lost == sent

        wait_until(all_are_accounted_for, "every line, delivered or counted")
        assert counted(daemon, "sink_missed_lines", reason="retention") >= sent // 3
        assert len(set(numbers(receiver))) == counted(daemon, "sink_lines")
        assert "lines of flows were lost to it: retention" in daemon.terminate()[1]


def test_chunks_are_cut_and_compressed(tmp_path: Path) -> None:
    path = str(tmp_path / "f.sock")
    with (
        Receiver(tmp_path, listen=path) as receiver,
        forwarding(tmp_path, receiver, sink__compress="gzip", sink__chunk_bytes="4KiB") as daemon,
    ):
        feed(daemon, b"".join(numbered(0, 2000)))
        wait_for_delivery(daemon, 2000)
        chunks = receiver.chunks()
        assert {chunk["compressed"] for chunk in chunks} == {"gzip"}
        assert len(chunks) == len({chunk["chunk"] for chunk in chunks}) >= 6
        assert receiver.records() == [{"n": number} for number in range(2000)]
        assert counted(daemon, "sink_batches") == 1
        assert counted(daemon, "sink_acks") == len(chunks)
        assert sink_status(daemon)["peer"] == f"unix://{path}"


def test_streams_and_views_have_their_tags_and_times(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"sink__tag": "calico.{stream}", "sink__time_key": "start_time"}
    with (
        Receiver(tmp_path) as receiver,
        forwarding(tmp_path, receiver, sink__stream=["flows", "dns"], **settings) as daemon,
    ):
        feed(daemon, b'{"start_time":1700000000}\n{"start_time":null}\n')
        feed(daemon, b'{"start_time":"2023-11-14T22:13:20.25Z"}\n', stream="dns")
        wait_for_delivery(daemon, 3)
        times = {chunk["tag"]: [time for time, _ in chunk["records"]] for chunk in receiver.chunks()}
        assert times.keys() == {"calico.flows", "calico.dns"}
        assert times["calico.flows"][0] == [1700000000, 0]
        assert times["calico.flows"][1][0] > 1700000000  # the batch's
        assert times["calico.dns"] == [[1700000000, 250_000_000]]
        assert daemon.terminate()[0] == 0
    views = with_views(
        tmp_path, odd="<filter flows>\n@type grep\n<regexp>\nkey n\npattern /[13579]$/\n</regexp>\n</filter>"
    )
    with (
        Receiver(tmp_path, "other") as receiver,
        forwarding(tmp_path, receiver, sink__view="odd", **views) as daemon,
    ):
        feed(daemon, b"".join(numbered(0, 10)))
        wait_for_delivery(daemon, 5)
        assert [chunk["tag"] for chunk in receiver.chunks()] == ["odd"]
        assert numbers(receiver) == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("asked", ["each", "backwards"])
def test_much_arrives_once_and_whole(tmp_path: Path, asked: str) -> None:
    with Receiver(tmp_path, ack=asked) as receiver, forwarding(tmp_path, receiver) as daemon:
        feed(daemon, *(b"".join(numbered(first, first + 20_000)) for first in range(0, 200_000, 20_000)))
        wait_for_delivery(daemon, 200_000)
        assert numbers(receiver) == list(range(200_000))


def test_the_status_shows_sinks_to_people(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver, forwarding(tmp_path, receiver) as daemon:
        wait_for_states(daemon, "up")
        shown = render_status(daemon.status())
        assert f"SINK  TYPE     STATE  PEER\nout   forward  up     {receiver.address}\n" in shown
