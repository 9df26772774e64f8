"""The Forward source in real daemons: every mode, times, tags, acknowledgements, repeats, room, and its end."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from faults_bed import FaultyDaemon, small_disk
from forward_source_bed import (
    DROPPED,
    KEPT,
    KEPT_LINE,
    SECOND_NS,
    ForwardSender,
    count,
    entry,
    event_time,
    forward_status,
    forwarding,
    pack,
    packed_forward,
    stored_batches,
    stored_lines,
    wait_for_count,
)
from relay_bed import DEADLINE_S, DROP_DEV, DaemonProcess, Listener, counters, wait_until

from flowd.client import Consumer, request
from flowd.relay.forward.room import ROOM_BYTES

MODES = {
    "message": pack("flows", 7, KEPT, {"chunk": "c"}),
    "forward": pack("flows", [[7, KEPT]], {"chunk": "c"}),
    "forward, counted": pack("flows", [[7, KEPT]], {"chunk": "c", "size": 1, "unknown": [1, {"a": None}]}),
    "packed": packed_forward([KEPT], time=7, chunk="c"),
    "packed as text": b"\x93" + msgpack.packb("flows") + msgpack.packb(entry(KEPT, 7), use_bin_type=False)
    + msgpack.packb({"chunk": "c"}),
    "gzip": pack("flows", gzip.compress(entry(KEPT, 7)), {"chunk": "c", "compressed": "gzip"}),
    "gzip in pieces": pack("flows", gzip.compress(entry(KEPT, 7)[:5]) + gzip.compress(b"")
                           + gzip.compress(entry(KEPT, 7)[5:]), {"chunk": "c", "compressed": "gzip"}),
    "zstd": pack("flows", zstandard.compress(entry(KEPT, 7)), {"chunk": "c", "compressed": "zstd"}),
    "zstd in pieces": pack("flows", zstandard.compress(entry(KEPT, 7)[:5]) + zstandard.compress(entry(KEPT, 7)[5:]),
                           {"chunk": "c", "compressed": "zstd"}),
    "called text": pack("flows", entry(KEPT, 7), {"chunk": "c", "compressed": "text"}),
    "chunk in bytes": pack("flows", entry(KEPT, 7), {b"chunk": b"c"}),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_a_record_of_every_mode_becomes_a_line_and_is_acknowledged(tmp_path: Path, mode: str) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(MODES[mode])
        assert sender.hear() == {"ack": "c"}
        [batch] = stored_batches(config)
        assert (batch.lines, batch.record_times_ns) == (KEPT_LINE, (7 * SECOND_NS, 7 * SECOND_NS))


def test_a_message_may_come_a_byte_at_a_time(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for message in MODES.values():
            for place in range(len(message)):
                sender.send(message[place : place + 1])
            assert sender.hear() == {"ack": "c"}
        assert stored_lines(config) == KEPT_LINE  # the others repeat its chunk


@pytest.mark.parametrize(
    ("moment", "time_ns"),
    [
        (1, SECOND_NS),
        (1_700_000_000, 1_700_000_000 * SECOND_NS),
        (1_700_000_000.25, 1_700_000_000_250_000_000),
        (event_time(1_700_000_000, 123_456_789), 1_700_000_000_123_456_789),
        (event_time(4_294_967_295, 999_999_999), 4_294_967_295_999_999_999),
    ],
)
def test_times_come_through_in_the_header_and_under_the_time_key(tmp_path: Path, moment: Any, time_ns: int) -> None:
    settings = {"time_key": "at"}
    with (
        forwarding(tmp_path, settings=settings) as (_, config, [endpoint]),
        Listener(config.endpoint("live")) as listener,
        ForwardSender(endpoint) as sender,
    ):
        sender.send(pack("flows", moment, KEPT, {"chunk": "c"}))
        sender.send(pack("flows", moment, {**KEPT, "at": 5}, {"chunk": "d"}))
        assert sender.hear_acks(2) == ["c", "d"]
        assert listener.hear_live().header.ft == (time_ns, time_ns)
        batches = stored_batches(config)
        assert {batch.record_times_ns for batch in batches} == {(time_ns, time_ns)}
        assert all(abs(batch.time_ns - time.time_ns()) < 3600 * SECOND_NS for batch in batches)  # the daemon's own
        first, second = b"".join(batch.lines for batch in batches).splitlines()
        assert json.loads(first).keys() == {"source_namespace", "at"}
        assert json.loads(second)["at"] == 5  # what the record says itself stands


def test_a_batch_tells_the_span_of_its_records_times(tmp_path: Path) -> None:
    entries = [[event_time(30), KEPT], [event_time(10, 5), KEPT], [20, KEPT]]
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(pack("flows", entries, {"chunk": "c"}))
        assert sender.hear_acks(1) == ["c"]
        [batch] = stored_batches(config)
        assert batch.record_times_ns == (10 * SECOND_NS + 5, 30 * SECOND_NS)
        with Consumer(config.endpoint("consume"), start="oldest", until="newest", timeout_s=DEADLINE_S) as consumer:
            [same] = consumer
            assert same.record_times_ns == batch.record_times_ns


def test_records_are_filtered_and_what_is_dropped_is_acknowledged_too(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(packed_forward([DROPPED] * 3, chunk="a"), packed_forward([DROPPED, KEPT, DROPPED], chunk="b"))
        assert sender.hear_acks(2) == ["a", "b"]
        assert stored_lines(config) == KEPT_LINE
        flows = request(config.endpoint("admin"), "status", DEADLINE_S)["streams"]["flows"]
        assert (flows["lines"], flows["kept_lines"]) == (6, 1)
        decided = request(config.endpoint("admin"), "decided", DEADLINE_S, stream="flows")
        assert "filter1.exclude1" in str(decided)


def test_explain_and_reload_see_records_as_lines(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (daemon, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(packed_forward([KEPT] * 50 + [DROPPED] * 50, chunk="a"))
        sender.hear_acks(1)
        stream = daemon._streams.get("flows")
        assert stream is not None
        assert set(stream.sample.lines()) <= {KEPT_LINE, b'{"source_namespace":"dev"}\n'}
        assert stream.sample.lines()
        [span] = stream.dropped.describe()
        assert span["dropped_lines"] == 50
        assert set(span["lines"]) == {b'{"source_namespace":"dev"}\n'}
        (tmp_path / "flow").write_text(DROP_DEV.replace("dev", "prod"))
        answer = request(config.endpoint("admin"), "reload", DEADLINE_S, dry=True)
        assert "flows" in str(answer)


def test_tags_name_streams_and_may_be_mapped(tmp_path: Path) -> None:
    settings = {"streams": {"calico.flows": "flows", "kube.**": "audit", "a.* b.*": "both"}}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        for tag in ("calico.flows", "kube.x.y", "a.1", "b.2", "dns", "no/name", "", "x" * 129, "y" * 5000):
            sender.send(packed_forward([{"tag": tag[:10]}], tag, chunk=tag[:10] or "none"))
        sender.send(packed_forward([KEPT], chunk="last"))
        # What has no stream is not acknowledged, and not in the way. Streams are in no order among each other.
        assert sorted(sender.hear_acks(6)) == ["a.1", "b.2", "calico.flo", "dns", "kube.x.y", "last"]
        assert stored_lines(config, "audit") == b'{"tag":"kube.x.y"}\n'
        assert stored_lines(config, "both") == b'{"tag":"a.1"}\n{"tag":"b.2"}\n'
        assert stored_lines(config, "dns") == b'{"tag":"dns"}\n'
        assert stored_lines(config) == b'{"tag":"calico.flo"}\n' + KEPT_LINE
        assert count(config, 'flowd_forward_dropped_messages_total{reason="tag"}') == 4


def test_there_are_no_more_streams_than_there_may_be(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        for number in range(70):
            sender.send(packed_forward([KEPT], f"stream{number}", chunk=f"{number}"))
        sender.send(packed_forward([KEPT], chunk="last"))
        acks = sender.hear_acks(64)
        assert sorted(acks) == sorted([*map(str, range(63)), "last"])  # flows is one of the 64
        wait_for_count(config, 'flowd_forward_dropped_messages_total{reason="stream"}', 7)


def test_entries_that_are_no_records_are_counted_and_the_others_kept(tmp_path: Path) -> None:
    broken = entry(KEPT) + pack(1) + entry("text") + entry(KEPT) + b"\xc1" + entry(KEPT)
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(pack("flows", broken, {"chunk": "c"}), packed_forward([KEPT], chunk="d"))
        assert sender.hear_acks(2) == ["c", "d"]  # to send it again would not make it better
        assert stored_lines(config) == KEPT_LINE * 3
        for reason in ("shape", "record", "invalid"):
            assert count(config, f'flowd_forward_malformed_entries_total{{reason="{reason}"}}') == 1
        assert count(config, 'flowd_forward_unread_bytes_total{reason="malformed"}') > 0


def test_fluent_bits_marks_of_groups_are_counted_apart(tmp_path: Path) -> None:
    entries = [[[-1, {"a": 1}], {"group": 1}], [[5, {"m": 1}], KEPT], [[-2, {}], {}]]
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(pack("flows", b"".join(map(msgpack.packb, entries)), {"chunk": "c"}))
        assert sender.hear_acks(1) == ["c"]
        [batch] = stored_batches(config)
        assert (batch.lines, batch.record_times_ns) == (KEPT_LINE, (5 * SECOND_NS, 5 * SECOND_NS))
        assert count(config, "flowd_forward_group_markers_total") == 2
        assert not any("malformed" in name for name in counters(config))


def test_small_messages_share_batches_and_keep_their_order(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        messages = [pack("flows", number, {"n": number}) for number in range(5000)]
        sender.send(*messages, pack("flows", 0, {"n": 5000}, {"chunk": "last"}))
        sender.hear_acks(1)
        batches = stored_batches(config)
        assert [json.loads(line)["n"] for batch in batches for line in batch.lines.splitlines()] == [*range(5001)]
        assert len(batches) < 2500


@pytest.mark.parametrize("workers", [0, 2])
def test_large_chunks_become_batches_of_the_usual_size(tmp_path: Path, workers: int) -> None:
    records = [{"n": number, "pad": "x" * 1000} for number in range(12_000)]
    with (
        forwarding(tmp_path, runtime__workers=workers) as (_, config, [endpoint]),
        ForwardSender(endpoint) as sender,
    ):
        sender.send(packed_forward(records, chunk="large"), packed_forward([{"n": 12_000}], chunk="small"))
        assert sender.hear_acks(2) == ["large", "small"]
        batches = stored_batches(config)
        assert [json.loads(line)["n"] for batch in batches for line in batch.lines.splitlines()] == [*range(12_001)]
        assert max(len(batch.lines) for batch in batches) < 512 << 10


def test_a_line_that_no_payload_holds_is_dropped_and_counted(tmp_path: Path) -> None:
    records = [{"n": 1}, {"n": 2, "pad": "x" * (5 << 20)}, {"n": 3, "pad": "y" * ((4 << 20) - 100)}, {"n": 4}]
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(packed_forward(records, chunk="c"))
        assert sender.hear_acks(1) == ["c"]
        assert [json.loads(line)["n"] for line in stored_lines(config).splitlines()] == [1, 3, 4]
        assert count(config, 'flowd_forward_malformed_entries_total{reason="line_size"}') == 1


def test_a_repeated_chunk_is_acknowledged_and_stored_once(tmp_path: Path) -> None:
    message = packed_forward([KEPT], chunk="c")
    with forwarding(tmp_path) as (_, config, [endpoint]):
        for _ in range(3):
            with ForwardSender(endpoint) as sender:
                sender.send(message, message)
                assert sender.hear_acks(2) == ["c", "c"]
        with ForwardSender(endpoint) as sender:
            sender.send(packed_forward([KEPT], "dns", chunk="c"))  # another tag's
            assert sender.hear_acks(1) == ["c"]
        assert stored_lines(config) == KEPT_LINE
        assert stored_lines(config, "dns") == KEPT_LINE
        assert count(config, "flowd_forward_repeated_chunks_total") == 5
        assert forward_status(config)["remembered_chunks"] == 2


def test_with_no_memory_of_chunks_each_is_stored(tmp_path: Path) -> None:
    message = packed_forward([KEPT], chunk="c")
    settings = {"remembered_chunks": 0}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(message, message)
        assert sender.hear_acks(2) == ["c", "c"]
        assert stored_lines(config) == KEPT_LINE * 2


def test_heartbeats_are_passed_over(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(b"\xc0", packed_forward([KEPT], chunk="c"), b"\xc0\xc0")
        assert sender.hear_acks(1) == ["c"]
        wait_for_count(config, "flowd_forward_heartbeats_total", 3)


def test_all_addresses_are_listened_to(tmp_path: Path) -> None:
    path = tmp_path / "forward.sock"
    listen = ["127.0.0.1:0", "[::1]:0", f"unix://{path}"]
    with forwarding(tmp_path, listen) as (_, config, endpoints):
        assert os.stat(path).st_mode & 0o777 == 0o660
        for number, endpoint in enumerate(endpoints):
            with ForwardSender(endpoint) as sender:
                sender.send(packed_forward([KEPT], chunk=f"{number}"))
                assert sender.hear_acks(1) == [f"{number}"]
        assert stored_lines(config) == KEPT_LINE * 3
    assert not path.exists()


def test_a_half_closed_connection_still_hears_its_acknowledgements(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, _, [endpoint]), ForwardSender(endpoint) as sender:
        sender.send(packed_forward([KEPT], chunk="c"))
        sender.socket.shutdown(socket.SHUT_WR)
        assert sender.hear_acks(1) == ["c"]
        assert sender.is_closed()


def test_bursts_of_many_senders_lose_nothing(tmp_path: Path) -> None:
    senders, chunks, records = 20, 25, 40

    def send(number: int, endpoint: str) -> None:
        with ForwardSender(endpoint) as sender:
            for chunk in range(chunks):
                numbers = range(chunk * records, (chunk + 1) * records)
                sender.send(packed_forward([{"s": number, "n": n} for n in numbers], chunk=f"{number}.{chunk}"))
            heard = sender.hear_acks(chunks)
            assert heard == [f"{number}.{chunk}" for chunk in range(chunks)]

    with forwarding(tmp_path) as (_, config, [endpoint]):
        threads = [threading.Thread(target=send, args=(number, endpoint)) for number in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found: dict[int, list[int]] = {}
        for line in stored_lines(config).splitlines():
            record = json.loads(line)
            found.setdefault(record["s"], []).append(record["n"])
        assert found == {number: [*range(chunks * records)] for number in range(senders)}


def test_a_killed_daemon_has_what_it_acknowledged(tmp_path: Path) -> None:
    """kill -9 while chunks come: whoever sends what was not acknowledged again, loses nothing."""
    daemon = DaemonProcess(tmp_path, sources__forward={"listen": [f"unix://{tmp_path}/forward.sock"]})
    endpoint = f"unix://{tmp_path}/forward.sock"
    acknowledged: set[int] = set()
    with daemon:
        sender = ForwardSender(endpoint)
        try:
            for number in range(100_000):
                sender.send(packed_forward([{"n": number}] * 100, chunk=f"{number}"))
                if number == 300:
                    threading.Timer(0, daemon.kill).start()
        except OSError:
            pass
        try:
            while True:
                acknowledged.add(int(sender.hear()["ack"]))
        except (OSError, AssertionError):
            pass
        sender.socket.close()
        daemon.start()
        with ForwardSender(endpoint) as again:
            rest = [number for number in range(500) if number not in acknowledged]
            for number in rest:
                again.send(packed_forward([{"n": number}] * 100, chunk=f"{number}"))
            again.hear_acks(len(rest))
        found = Counter(json.loads(line)["n"] for line in process_lines(daemon).splitlines())
    assert found.keys() >= {*range(500)}
    assert all(lines % 100 == 0 for lines in found.values())  # a chunk is stored whole, or not at all


def process_lines(daemon: DaemonProcess) -> bytes:
    with Consumer(daemon.endpoint("consume"), start="oldest", until="newest", timeout_s=DEADLINE_S) as consumer:
        return b"".join(batch.lines for batch in consumer)


def test_an_end_finishes_and_acknowledges_what_was_received(tmp_path: Path) -> None:
    listen = [f"unix://{tmp_path}/forward.sock"]
    with DaemonProcess(tmp_path, sources__forward={"listen": listen}) as daemon, ForwardSender(listen[0]) as sender:
        for number in range(50):
            sender.send(packed_forward([{"n": number}] * 10, chunk=f"{number}"))
        first = sender.hear_acks(1)
        code, _ = daemon.terminate()
        assert code == 0
        heard = [*first]
        try:
            while True:
                heard += sender.hear_acks(1)
        except (AssertionError, ConnectionError):
            pass
        with daemon:
            lines = [json.loads(line)["n"] for line in process_lines(daemon).splitlines()]
            assert lines == [n for n in range(len(heard)) for _ in range(10)]
            assert heard == [f"{number}" for number in range(len(heard))]


def test_a_journal_without_room_acknowledges_nothing_and_then_everything(tmp_path: Path) -> None:
    """Senders wait meanwhile, and what is received is bounded: their writes do not end."""
    chunks, pad = 120, "x" * 1000
    messages = [
        packed_forward([{"n": number * 300 + n, "pad": pad} for n in range(300)], chunk=f"{number}")
        for number in range(chunks)
    ]
    listen = [f"unix://{tmp_path}/forward.sock"]
    with (
        small_disk(tmp_path / "disk", 96 << 20) as disk,
        FaultyDaemon(
            tmp_path, prefix=disk.prefix, runtime__state_dir=disk.path, sources__forward={"listen": listen}
        ) as daemon,
        ForwardSender(listen[0]) as sender,
    ):
        filler = disk.fill(left_bytes=5 << 20)
        thread = threading.Thread(target=sender.send, args=messages)
        thread.start()
        wait_until(lambda: daemon.status()["journal"]["is_full"], "the disk to be full")
        stored = daemon.status()["journal"]["used_bytes"]
        forward = daemon.status()["forward"]
        assert forward["waiting_bytes"] <= ROOM_BYTES
        filler.unlink()
        assert sender.hear_acks(chunks) == [f"{number}" for number in range(chunks)]
        thread.join()
        assert stored < sum(map(len, messages))
        numbers = [json.loads(line)["n"] for line in process_lines(daemon).splitlines()]
        assert numbers == [*range(chunks * 300)]


def test_what_is_stored_is_forgotten(tmp_path: Path) -> None:
    """Ten times the daemon's room goes through it, and its own memory stays within it."""
    listen = [f"unix://{tmp_path}/forward.sock"]
    settings = {"journal.sync": "off", "journal.max_bytes": 64 << 20}
    with (
        DaemonProcess(tmp_path, sources__forward={"listen": listen}, **settings) as daemon,
        ForwardSender(listen[0]) as sender,
    ):
        records = [{"n": number, "pad": "x" * 4000} for number in range(1000)]
        for number in range(160):
            sender.send(packed_forward(records, chunk=f"{number}"))
            if number >= 4:
                sender.hear_acks(1)
        sender.hear_acks(4)
        assert daemon.process is not None
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        own_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))
        assert own_kib < 250 << 10
