"""What no collector sends: the Forward source counts it, ends the connection where it must, stays within its memory,
and serves everybody else."""

from __future__ import annotations

import gzip
import random
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
import zstandard
from forward_source_bed import (
    KEPT,
    KEPT_LINE,
    ForwardSender,
    count,
    entry,
    forward_status,
    forwarding,
    pack,
    packed_forward,
    stored_lines,
    wait_for_count,
)
from relay_bed import DaemonProcess, wait_until

from flowd.relay.config import Config
from flowd.relay.forward import connection, room
from flowd.relay.forward.options import Option, read_option

MALFORMED = "flowd_forward_malformed_messages_total"
DROPPED = "flowd_forward_dropped_messages_total"
CHUNK_MAX = 1 << 20


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[tuple[Config, str, ForwardSender]]:
    """A daemon with a small bound for chunks, its address, and a sender that must be served whatever others do."""
    settings = {"max_chunk_bytes": CHUNK_MAX}
    with forwarding(tmp_path, settings=settings) as (_, config, [endpoint]), ForwardSender(endpoint) as witness:
        yield config, endpoint, witness
        witness.send(packed_forward([KEPT], "witness", chunk="witness"))
        assert witness.hear_acks(1) == ["witness"]
        assert stored_lines(config, "witness") == KEPT_LINE
        wait_until(lambda: not forward_status(config)["waiting_bytes"], "all to be stored")
        status = forward_status(config)
        assert (status["is_alive"], status["unfinished_bytes"]) == (True, 0)


NO_MESSAGES = [
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "shape"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "shape"),  # TLS to a port without it
    (b"\xc1", "invalid"),
    (b"\x93\xa5flows\xdd\xff\xff\xff\xff", "too_large"),  # a list of four billion
    (b"\x93\xa5flows\xc6\xff\xff\xff\xff", "too_large"),  # entries of 4 GiB
    (b"\xdd\xff\xff\xff\xff", "too_large"),
    (b"\xdb\xff\xff\xff\xff", "too_large"),
    (b"\x91" * 100_000 + b"\xc0", "shape"),  # lists in lists in lists
    (pack("flows"), "shape"),
    (pack("flows", None), "shape"),
    (pack(1, [[1, KEPT]], {}), "shape"),
    (pack("flows", {"a": 1}, {}), "shape"),
    (pack(*["flows"] * 5), "shape"),
    (msgpack.packb({"tag": "flows"}), "shape"),
]


@pytest.mark.parametrize(("said", "reason"), NO_MESSAGES, ids=range(len(NO_MESSAGES)))
def test_what_is_no_message_ends_its_connection(
    bed: tuple[Config, str, ForwardSender], said: bytes, reason: str
) -> None:
    config, endpoint, _ = bed
    with ForwardSender(endpoint) as sender:
        sender.send(packed_forward([KEPT], "before", chunk="c"))
        assert sender.hear_acks(1) == ["c"]  # what was before it is served
        sender.send(said)
        assert sender.is_closed()
    wait_for_count(config, f'{MALFORMED}{{reason="{reason}"}}', 1)
    assert count(config, 'flowd_forward_closed_connections_total{reason="malformed"}') == 1


BOMB = b"\0" * (64 << 20)


MESSAGES = [
    (pack("flows", entry(KEPT), {"chunk": 1}), "chunk"),
    (pack("flows", entry(KEPT), {"chunk": ""}), "chunk"),
    (pack("flows", entry(KEPT), {"chunk": "x" * 2000}), "chunk"),
    (pack("flows", entry(KEPT), {"chunk": "c", "compressed": 7}), "compression"),
    (pack("flows", entry(KEPT), {"chunk": "c", "compressed": "lzma"}), "compression"),
    (pack("flows", entry(KEPT), {"chunk": "c", "compressed": "gzip"}), "compression"),
    (pack("flows", gzip.compress(entry(KEPT))[:-9], {"chunk": "c", "compressed": "gzip"}), "compression"),
    (pack("flows", gzip.compress(entry(KEPT)) + b"x", {"chunk": "c", "compressed": "gzip"}), "compression"),
    (pack("flows", b"", {"chunk": "c", "compressed": "gzip"}), "compression"),
    (pack("flows", zstandard.compress(entry(KEPT))[:-3], {"chunk": "c", "compressed": "zstd"}), "compression"),
    (pack("flows", zstandard.compress(b"x" * 5000)[:12], {"chunk": "c", "compressed": "zstd"}), "compression"),
    (pack("flows", entry(KEPT), {"chunk": "c", "compressed": "zstd"}), "compression"),
    (pack("flows", gzip.compress(BOMB), {"chunk": "c", "compressed": "gzip"}), "too_large"),
    (pack("flows", zstandard.compress(BOMB), {"chunk": "c", "compressed": "zstd"}), "too_large"),
    (pack("flows", zstandard.ZstdCompressor(write_content_size=False).compress(BOMB),
          {"chunk": "c", "compressed": "zstd"}), "too_large"),
    (pack("flows", entry(KEPT), {"chunk": "c", "fluent_signal": 1}), "signal"),
    (pack("flows", entry(KEPT), ["chunk", "c"]), "option"),
    (pack("flows", entry(KEPT), "chunk"), "option"),
    (pack("flows", entry(KEPT), {"pad": "x" * 100_000}), "option"),
    (pack("flows", entry(KEPT), {"deep": msgpack.Timestamp(1)}) , None),
    (pack("flows", entry(KEPT), None), None),
    (pack("flows", entry(KEPT), {}), None),
    (b"\x93\xa5flows" + msgpack.packb(entry(KEPT)) + b"\x81" + b"\x81\xa1a\x01" + b"\x01", "option"),
    (b"\x93\xa5flows" + msgpack.packb(entry(KEPT)) + b"\x81\xa1a" + b"\x91" * 5000 + b"\x01", "option"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "reason"), MESSAGES, ids=range(len(MESSAGES)))
def test_an_option_that_cannot_be_followed_drops_its_message_alone(
    bed: tuple[Config, str, ForwardSender], message: bytes, reason: str | None
) -> None:
    config, endpoint, _ = bed
    with ForwardSender(endpoint) as sender:
        if len(message) > CHUNK_MAX:
            pytest.fail("the message itself is over the bound")
        sender.send(message, packed_forward([KEPT], chunk="next"))
        assert sender.hear_acks(1) == ["next"]
        assert stored_lines(config) == KEPT_LINE * (1 if reason else 2)
        if reason:
            assert count(config, f'{DROPPED}{{reason="{reason}"}}') == 1


def test_random_bytes_end_their_connections_and_nothing_else(bed: tuple[Config, str, ForwardSender]) -> None:
    _, endpoint, _ = bed
    dice = random.Random(6)
    good = packed_forward([KEPT] * 3, "noise", chunk="c")
    for _ in range(150):
        with ForwardSender(endpoint) as sender:
            said = bytearray(good * 2)
            for _ in range(dice.randrange(1, 8)):
                said[dice.randrange(len(said))] = dice.randrange(256)
            sender.send(bytes(said) if dice.random() < 0.7 else dice.randbytes(300))


def test_a_chunk_over_the_bound_is_refused_before_it_has_come(bed: tuple[Config, str, ForwardSender]) -> None:
    config, endpoint, _ = bed
    with ForwardSender(endpoint) as sender:
        sender.send(b"\x93\xa5flows\xc6" + (CHUNK_MAX + 1).to_bytes(4, "big"))
        assert sender.is_closed()
    wait_for_count(config, f'{MALFORMED}{{reason="too_large"}}', 1)


def test_broken_entries_cost_nobody_elses_records(bed: tuple[Config, str, ForwardSender]) -> None:
    """Messages that wait together share batches, but not their mistakes."""
    config, endpoint, _ = bed
    with ForwardSender(endpoint) as broken, ForwardSender(endpoint) as sound:
        for number in range(200):
            broken.send(pack("flows", b"\x92\x01\xdb\xff\xff", {}))
            sound.send(packed_forward([KEPT], chunk=f"{number}"))
        assert sound.hear_acks(200) == [f"{number}" for number in range(200)]
        assert stored_lines(config) == KEPT_LINE * 200
        wait_for_count(config, 'flowd_forward_malformed_entries_total{reason="truncated"}', 200)


def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    with forwarding(tmp_path, settings={"max_connections": 3}) as (_, config, [endpoint]):
        senders = [ForwardSender(endpoint) for _ in range(3)]
        wait_until(lambda: forward_status(config)["connections"] == 3, "three connections")
        with ForwardSender(endpoint) as late:
            assert late.is_closed()
        assert count(config, 'flowd_forward_refused_connections_total{reason="limit"}') == 1
        senders.pop().socket.close()
        wait_until(lambda: forward_status(config)["connections"] == 2, "one to be gone")
        senders.append(ForwardSender(endpoint))
        senders[-1].send(packed_forward([KEPT], chunk="c"))
        assert senders[-1].hear_acks(1) == ["c"]
        for sender in senders:
            sender.socket.close()


def test_five_hundred_silent_connections_are_in_nobodys_way(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    listen = [f"unix://{tmp_path}/forward.sock"]
    with DaemonProcess(tmp_path, sources__forward={"listen": listen}) as daemon:
        silent = [ForwardSender(listen[0]) for _ in range(500)]
        for number, sender in enumerate(silent):
            sender.send(b"\x93\xa5flows\xc6\x00\x08\x00\x00"[: number % 12])  # an entry of 512 KiB that never comes
        wait_until(lambda: daemon.status()["forward"]["connections"] == 500, "all connections")
        with ForwardSender(listen[0]) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            assert sender.hear_acks(1) == ["c"]
        for sender in silent:
            sender.socket.close()
        wait_until(lambda: daemon.status()["forward"]["connections"] == 0, "all to be gone")
        assert daemon.status()["forward"]["unfinished_bytes"] == 0


def test_messages_that_never_end_do_not_take_all_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where unfinished messages alone fill the memory, the ones of which nothing comes go."""
    monkeypatch.setattr(room, "ROOM_BYTES", 4 << 20)
    with forwarding(tmp_path, settings={"max_chunk_bytes": 4 << 20}) as (_, config, [endpoint]):
        hoarders = [ForwardSender(endpoint) for _ in range(12)]
        begun = b"\x93\xa5flows\xc6" + (3 << 20).to_bytes(4, "big") + bytes(2 << 20)
        for hoarder in hoarders:
            hoarder.socket.settimeout(0.2)
            with suppress(OSError):  # nobody reads it: that is the point
                hoarder.send(begun)
        assert forward_status(config)["unfinished_bytes"] <= (8 << 20) + (4 << 20)
        with ForwardSender(endpoint) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            assert sender.hear_acks(1) == ["c"]
        assert count(config, 'flowd_forward_closed_connections_total{reason="memory"}') > 0
        for hoarder in hoarders:
            hoarder.socket.close()


def test_a_sender_that_takes_no_acknowledgements_is_not_read_for_ever(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (_, config, [endpoint]), ForwardSender(endpoint) as deaf:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.socket.settimeout(1.0)
        name = "x" * 1000
        sent = 0
        try:
            for number in range(60_000):
                deaf.send(packed_forward([], chunk=f"{number}{name}"))
                sent += 1
        except TimeoutError:
            pass
        assert sent < 60_000
        with ForwardSender(endpoint) as sender:
            sender.send(packed_forward([KEPT], chunk="c"))
            assert sender.hear_acks(1) == ["c"]
        assert forward_status(config)["waiting_bytes"] == 0


def test_a_mistake_of_its_own_costs_one_connection(
    bed: tuple[Config, str, ForwardSender], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, endpoint, _ = bed

    def fail(packed: bytes) -> Option:
        if b"unlucky" in packed:
            raise AssertionError("made up")
        return read_option(packed)

    monkeypatch.setattr(connection, "read_option", fail)
    with ForwardSender(endpoint) as sender:
        sender.send(packed_forward([KEPT], chunk="lucky") + packed_forward([KEPT], chunk="unlucky"))
    wait_for_count(config, 'flowd_forward_closed_connections_total{reason="error"}', 1)
    wait_until(lambda: stored_lines(config) == KEPT_LINE, "what was before it")


def test_a_thread_that_failed_degrades_the_daemon(tmp_path: Path) -> None:
    with forwarding(tmp_path) as (daemon, config, [endpoint]):
        assert daemon._forward is not None
        assert daemon._forward._loop is not None

        def fail() -> None:
            raise ValueError("made up")

        daemon._forward._loop.call_soon_threadsafe(fail)
        wait_until(lambda: not daemon._forward.is_alive(), "the thread's end")  # type: ignore[union-attr]
        assert "forward" in str(daemon._overview.health())
        assert not forward_status(config)["is_alive"]
        with pytest.raises(OSError):
            ForwardSender(endpoint)
