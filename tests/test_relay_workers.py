"""flowd.relay.deciding.workers: order, whatever batches take; and real daemons whose batches are decided by workers."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zmq
from faults_bed import FaultyDaemon, small_disk
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, DaemonProcess, Peer, batch, running, settings, wait_until
from tail_bed import LogFile, lines_of, numbered

import flowd
from flowd.client import Consumer, Producer, request
from flowd.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO
from flowd.filterset import Borrowed, FilterSet
from flowd.relay.carrier import ENTRY_BYTES, UNDER_WAY_BYTES
from flowd.relay.config import Config, load_config
from flowd.relay.config.checks import WORKERS_MAX
from flowd.relay.daemon import Daemon
from flowd.relay.deciding.workers import Work, Workers
from flowd.wire import Ack, Nak
from flowd.wire.limits import BATCH_BYTES, CREDIT_MESSAGES
from flowd.wire.sockets import Wake

DROP_SLOWLY = DROP_DEV.replace("/^dev$/", r"/^(x+)+\1y$/")
"""Meets the step limit on each new value of `slow_lines`, which takes some 20 ms."""
DROP_PROD = DROP_DEV.replace("dev", "prod")
FULL = 'flowd_refused_batches_total{reason="no_space"}'


@pytest.fixture(params=[2, 4])
def workers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def slow_lines(first: int, count: int) -> bytes:
    """Lines whose values nobody has seen before, where nobody had the same numbers."""
    return b"".join(b'{"source_namespace":"%s%d"}\n' % (b"x" * 40, n) for n in range(first, first + count))


SLOW = slow_lines(0, 10)


class Filtering(Work):
    """A batch of lines, filtered."""

    def __init__(self, filters: FilterSet, lines: bytes) -> None:
        super().__init__()
        self.filters = filters
        self.lines = lines
        self.decided: Borrowed

    def decide(self) -> None:
        self.decided = self.filters.apply_borrowing(self.lines)


class Pool:
    """Workers, with a poller that hears their bell."""

    def __init__(self, number: int) -> None:
        self.wake = Wake()
        self.workers = Workers(number, self.wake)
        self.workers.start()
        self._poller = zmq.Poller()
        self._poller.register(self.wake.fd, zmq.POLLIN)

    def take_all(self, number: int) -> list[Filtering]:
        """So many, each waited for by the bell alone."""
        taken: list[Filtering] = []
        while len(taken) < number:
            work = self.workers.take()
            if work is None:
                assert self._poller.poll(DEADLINE_S * 1000), "no ring"
                self.wake.clear()
            else:
                assert isinstance(work, Filtering)
                taken.append(work)
        return taken

    def close(self) -> None:
        self.workers.end()
        self.wake.close()


@pytest.fixture
def pool(workers: int) -> Iterator[Pool]:
    with closing(Pool(workers)) as pool:
        yield pool


def uneven(random: Random, first: int, count: int) -> list[bytes]:
    """Batches of numbered lines, most of one line and some of many: many are decided before the one before them."""
    batches = []
    for _ in range(count):
        size = random.choice((1, 1, 1, 50, 6_000))
        batches.append(numbered(first, first + size - 1))
        first += size
    return batches


def stored(config: Config | DaemonProcess, stream: str = "flows") -> list[flowd.Batch]:
    """Every batch of a stream in the journal of which anything is kept."""
    endpoint = config.endpoint("consume")
    with Consumer(endpoint, stream=stream, start="oldest", until="newest", timeout_s=DEADLINE_S) as consumer:
        return list(consumer)


def lines_in(config: Config | DaemonProcess, stream: str = "flows") -> bytes:
    return b"".join(bytes(one.lines) for one in stored(config, stream))


def status(config: Config) -> dict[str, Any]:
    return request(config.endpoint("admin"), "status", DEADLINE_S)


def pipeline(peer: Peer, batches: list[bytes], first: int = 1) -> None:
    """Sends batches as far as credit lasts, without waiting for each; returns when all are acknowledged."""
    stored = first - 1
    for sequence, lines in enumerate(batches, first):
        peer.say(batch(sequence, lines), lines)
        while sequence - stored >= CREDIT_MESSAGES:
            stored = peer.hear().s
    while stored < first + len(batches) - 1:
        stored = peer.hear().s


# Workers by themselves


def test_a_slow_batch_is_not_overtaken(pool: Pool) -> None:
    slow, quick = flowd.compile(DROP_SLOWLY), flowd.compile(DROP_DEV)
    works = [Filtering(slow, SLOW), *(Filtering(quick, numbered(n, n)) for n in range(50))]
    for work in works:
        pool.workers.submit(work)
    wait_until(lambda: pool.workers._back.qsize() == 50, "all but the slow one")
    assert pool.workers.take() is None
    taken = pool.take_all(len(works))
    assert taken == works
    assert [work.decided.kept for work in taken] == [work.lines for work in works]
    assert taken[0].decided.errors == 10


def test_batches_of_all_sizes_come_back_in_order(pool: Pool) -> None:
    filters = flowd.compile(DROP_DEV).twin(5)
    random = Random(7)
    for _ in range(20):
        works = [Filtering(filters, lines) for lines in uneven(random, 0, 40)]
        for work in works:
            pool.workers.submit(work)
        assert pool.take_all(len(works)) == works
    assert pool.workers.take() is None


def test_what_is_waited_for_is_decided(pool: Pool) -> None:
    work = Filtering(flowd.compile(DROP_SLOWLY), SLOW)
    pool.workers.submit(work)
    assert pool.workers.take(is_patient=True) is work
    assert pool.workers.take(is_patient=True) is None


def test_what_deciding_raises_is_raised_in_its_turn(pool: Pool) -> None:
    filters = flowd.compile(DROP_DEV)
    before, broken, behind = Filtering(filters, KEPT), Filtering(filters, 7), Filtering(filters, KEPT)  # type: ignore[arg-type]
    for work in (before, broken, behind):
        pool.workers.submit(work)
    assert pool.take_all(1) == [before]
    with pytest.raises(TypeError, match="bytes-like"):
        pool.take_all(1)
    assert pool.take_all(1) == [behind]


def test_an_end_does_not_wait_for_what_nobody_began(pool: Pool) -> None:
    slow = flowd.compile(DROP_SLOWLY)
    works = [Filtering(slow.twin(), SLOW) for _ in range(200)]
    for work in works:
        pool.workers.submit(work)
    pool.workers.end()
    assert not any(thread.is_alive() for thread in pool.workers._threads)
    assert pool.workers._back.qsize() < 50


def test_a_standstill_is_seen(pool: Pool) -> None:
    before_s = pool.workers.moved_s
    assert wait_until(lambda: pool.workers.moved_s > before_s, "an idle pool moves on") is True
    pool.workers.submit(Filtering(flowd.compile(DROP_SLOWLY), SLOW))
    handed_over_s = pool.workers.moved_s
    pool.take_all(1)
    assert pool.workers.moved_s > handed_over_s


# Daemons


def test_batches_are_acknowledged_and_stored_in_order(tmp_path: Path, workers: int) -> None:
    batches = uneven(Random(workers), 0, 400)
    with running(tmp_path, runtime__workers=workers) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        pipeline(peer, batches)
        assert [bytes(one.lines) for one in stored(config)] == batches
        found = status(config)
        assert (found["workers"], found["streams"]["flows"]["lines"]) == (workers, b"".join(batches).count(b"\n"))


def test_all_workers_may_use_a_streams_filters_at_once(tmp_path: Path) -> None:
    cores = os.cpu_count() or 1
    number = min(WORKERS_MAX, cores + 2)
    least = [max(number + 1, cores)] * 2
    with running(tmp_path, runtime__workers=number) as (daemon, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        assert isinstance(peer.send(1, KEPT, "dns"), Ack)
        for op, arguments in (("reload", {"force": True}), ("bypass", {"on": True})):
            (tmp_path / "flow").write_text(DROP_PROD)
            sets = [stream.filter_set for stream in daemon._streams.all()]
            assert [filters.evaluator.contexts for filters in sets] == least
            request(config.endpoint("admin"), op, DEADLINE_S, **arguments)
        sets = [stream.filter_set for stream in daemon._streams.all()]
        assert [filters.evaluator.contexts for filters in sets] == least


def test_what_is_dropped_is_dropped_and_counted(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, runtime__workers=workers) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        pipeline(peer, [KEPT + DROPPED, DROPPED, b"", KEPT * 3, b"{\n"])
        assert [bytes(one.lines) for one in stored(config)] == [KEPT, KEPT * 3, b"{\n"]
        flows = status(config)["streams"]["flows"]
        assert (flows["batches"], flows["lines"], flows["kept_lines"], flows["malformed_lines"]) == (5, 7, 5, 1)
        assert sum(rule["lines"] for rule in flows["rules"]) == 7


def test_each_producer_and_stream_keeps_its_order(tmp_path: Path, workers: int) -> None:
    names = [(producer, stream) for producer in "abc" for stream in ("flows", "dns")]
    texts = {(producer, stream): numbered(1, 40_000, f"{producer}-{stream}") for producer, stream in names}
    with running(tmp_path, runtime__workers=workers) as (_, config):

        def produce(name: str) -> None:
            with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
                lines = {stream: lines_of(texts[name, stream]) for stream in ("flows", "dns")}
                for first in range(0, 40_000, 1_000):
                    for stream, text in lines.items():
                        producer.send(b"".join(line + b"\n" for line in text[first : first + 1_000]), stream)
                producer.flush()

        producers = [threading.Thread(target=produce, args=(name,)) for name in "abc"]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
        for stream in ("flows", "dns"):
            found = lines_in(config, stream).splitlines(keepends=True)
            for name in "abc":
                own = [line for line in found if line.startswith(f"{name}-".encode())]
                assert b"".join(own) == texts[name, stream]


def test_filters_change_between_two_batches(tmp_path: Path, workers: int) -> None:
    """Each batch is decided whole by one generation and says which, generations never go back, and no hit is lost."""
    kept_by = {1: KEPT, 0: DROPPED}
    sizes = Random(3).choices((1, 20, 4_000), k=600)
    with (
        running(tmp_path, filters__watch=False, runtime__workers=workers) as (_, config),
        Peer(config.endpoint("ingest")) as peer,
    ):
        peer.hello()
        is_over = threading.Event()

        def keep_reloading() -> None:
            texts = [DROP_DEV, DROP_PROD]
            while not is_over.is_set():
                texts.reverse()
                (tmp_path / "flow").write_text(texts[0])
                request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)

        reloading = threading.Thread(target=keep_reloading)
        reloading.start()
        try:
            pipeline(peer, [(KEPT + DROPPED) * size for size in sizes])
        finally:
            is_over.set()
            reloading.join(DEADLINE_S)
        found = stored(config)
        assert [bytes(one.lines) for one in found] == [
            kept_by[one.generation % 2] * size for one, size in zip(found, sizes, strict=True)
        ]
        generations = [one.generation for one in found]
        assert generations == sorted(generations)
        assert len(set(generations)) > 2
        flows = status(config)["streams"]["flows"]
        assert (flows["lines"], flows["kept_lines"]) == (2 * sum(sizes), sum(sizes))
        assert sum(rule["lines"] for rule in flows["rules"]) == 2 * sum(sizes)


def test_bypass_begins_and_ends_between_two_batches(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, runtime__workers=workers) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        for first, is_on in ((1, True), (41, False)):
            for sequence in range(first, first + 20):
                peer.say(batch(sequence, DROPPED), DROPPED)
            peer.hear_ack(first + 19)
            assert request(config.endpoint("admin"), "bypass", DEADLINE_S, on=is_on)["bypass"] is is_on
            pipeline(peer, [DROPPED] * 20, first + 20)
        kept = stored(config)  # batches of which nothing is kept go to nobody
        assert [(one.seq, one.generation, bytes(one.lines)) for one in kept] == [
            (sequence, 2, DROPPED) for sequence in range(21, 61)
        ]
        rules = {rule["name"]: rule["lines"] for rule in status(config)["streams"]["flows"]["rules"]}
        assert rules["bypass"] == 40


@pytest.mark.parametrize("end", ["kill", "one signal", "two signals"])
def test_no_line_is_lost_or_stored_twice_over_restarts_under_load(tmp_path: Path, workers: int, end: str) -> None:
    text = numbered(0, 1_500_000)
    with (
        DaemonProcess(tmp_path, runtime__workers=workers) as daemon,
        Producer(daemon.endpoint("ingest")) as producer,
    ):
        sending = threading.Thread(target=lambda: producer.send(text))
        sending.start()
        for _ in range(4):
            before = daemon.status()["streams"]["flows"]["next"]
            wait_until(
                lambda before=before: daemon.status()["streams"]["flows"]["next"] > before or not sending.is_alive(),
                "some lines",
            )
            assert daemon.process is not None
            if end == "kill":
                daemon.kill()
            else:
                for _ in range(1 if end == "one signal" else 2):
                    daemon.process.terminate()
                assert daemon.process.wait(DEADLINE_S) in (
                    (EXIT_DONE,) if end == "one signal" else (EXIT_DONE, EXIT_INTERRUPTED)
                )
                daemon.kill()
            daemon.start()
        sending.join(DEADLINE_S)
        producer.flush(DEADLINE_S)
        assert lines_in(daemon) == text


def test_drain_finishes_what_workers_have(tmp_path: Path, workers: int) -> None:
    with DaemonProcess(tmp_path, runtime__workers=workers, runtime__drain_s=120) as daemon:
        Path(daemon.settings["filters.path"]).write_text(DROP_SLOWLY)
        request(daemon.endpoint("admin"), "reload", DEADLINE_S, force=True)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            batches = [slow_lines(n * 5, 5) for n in range(CREDIT_MESSAGES)]
            for sequence, lines in enumerate(batches, 1):
                peer.say(batch(sequence, lines), lines)
            wait_until(lambda: daemon.status()["streams"]["flows"]["batches"], "the first")
            code, said = daemon.terminate()
            peer.hear_ack(len(batches))
        assert (code, "WARNING" in said) == (EXIT_DONE, False)
        daemon.start()
        assert [bytes(one.lines) for one in stored(daemon)] == batches


def test_drain_is_bounded_where_workers_are_slow(tmp_path: Path, workers: int) -> None:
    with DaemonProcess(tmp_path, runtime__workers=workers, runtime__drain_s=0.3) as daemon:
        Path(daemon.settings["filters.path"]).write_text(DROP_SLOWLY)
        request(daemon.endpoint("admin"), "reload", DEADLINE_S, force=True)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            for sequence in range(1, CREDIT_MESSAGES + 1):
                lines = slow_lines(sequence * 20, 20)
                peer.say(batch(sequence, lines), lines)
            wait_until(lambda: daemon.status()["streams"]["flows"]["batches"], "the first")
            code, said = daemon.terminate()
        assert code == EXIT_DONE
        assert "producers still had batches under way; they will send them again" in said


@pytest.mark.parametrize("is_raw", [False, True])
def test_a_full_disk_refuses_and_order_is_kept(tmp_path: Path, workers: int, is_raw: bool) -> None:
    """What was with the workers when the refusal came does not overtake what was refused."""
    raw = f"ipc://{tmp_path / 'raw.sock'}"
    text = [numbered(n * 20_000, n * 20_000 + 19_999) for n in range(160)]  # 40 MB: more than there is room for
    with (
        small_disk(tmp_path / "disk", 96 << 20) as disk,
        FaultyDaemon(
            tmp_path,
            prefix=disk.prefix,
            runtime__state_dir=disk.path,
            runtime__workers=workers,
            sources__raw__bind=[raw],
        ) as daemon,
    ):
        filler = disk.fill(left_bytes=5 << 20)

        def produce() -> None:
            with Producer(daemon.endpoint("ingest"), timeout_s=4 * DEADLINE_S) as producer:
                for lines in text:
                    producer.send(lines)
                producer.flush()

        def push() -> None:
            with zmq.Context.instance().socket(zmq.PUSH) as pusher:
                pusher.connect(raw)
                for lines in text:
                    pusher.send(lines)

        sending = threading.Thread(target=push if is_raw else produce)
        sending.start()
        wait_until(lambda: daemon.status()["journal"]["is_full"], "the disk to be full")
        if not is_raw:
            wait_until(lambda: daemon.status()["counters"].get(FULL), "a refusal")
        filler.unlink()
        lines = 160 * 20_000
        wait_until(lambda: daemon.status()["journal"]["is_full"] is False, "room")
        wait_until(lambda: daemon.status()["streams"]["flows"]["lines"] == lines, "all lines")
        sending.join(DEADLINE_S)
        assert daemon.terminate()[0] == EXIT_DONE
        with daemon:
            assert lines_in(daemon) == b"".join(text)


def test_what_workers_had_when_it_was_refused_is_not_decided_again(tmp_path: Path, workers: int) -> None:
    """A slow batch finds no room, those behind it are decided already: all are refused, kept, and stored in order."""
    with running(tmp_path, runtime__workers=workers, filters__watch=False) as (daemon, config):
        (tmp_path / "flow").write_text(DROP_SLOWLY)
        request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)
        with Peer(config.endpoint("ingest")) as peer:
            peer.hello()
            batches = [slow_lines(0, 50), *uneven(Random(5), 0, CREDIT_MESSAGES - 1)]
            for sequence, lines in enumerate(batches, 1):
                peer.say(batch(sequence, lines), lines)
            taken_bytes = sum(map(len, batches)) + len(batches) * ENTRY_BYTES
            wait_until(lambda: daemon._lanes._carrier.under_way_bytes == taken_bytes, "all to be taken")
            daemon._writer._retry_s = math.inf
            daemon._writer.is_full = True  # what the journal says, and does, while it has no room
            assert peer.hear() == Nak(1, "no_space", None, 1000)
            daemon._writer._retry_s = 0.0
            wait_until(lambda: not daemon._writer.is_full, "room")
            for sequence, lines in enumerate(batches, 1):
                assert peer.send(sequence, lines).s == sequence
        assert [bytes(one.lines) for one in stored(config)] == batches
        flows = status(config)["streams"]["flows"]
        assert (flows["batches"], flows["lines"]) == (len(batches), b"".join(batches).count(b"\n"))


def test_raw_lines_keep_their_order(tmp_path: Path, workers: int) -> None:
    raw = f"ipc://{tmp_path / 'raw.sock'}"
    frames = uneven(Random(1), 0, 300)
    with (
        running(tmp_path, runtime__workers=workers, sources__raw__bind=[raw]) as (_, config),
        zmq.Context.instance().socket(zmq.PUSH) as pusher,
    ):
        pusher.connect(raw)
        for frame in frames:
            pusher.send(frame)
        lines = b"".join(frames).count(b"\n")
        wait_until(lambda: status(config)["streams"]["flows"]["lines"] == lines, "all lines")
        wait_until(lambda: len(lines_in(config)) == len(b"".join(frames)), "their storing")
        assert lines_in(config) == b"".join(frames)


def test_followed_files_keep_their_order_over_rotations_and_kills(tmp_path: Path, workers: int) -> None:
    log = LogFile(tmp_path / "flows.log")
    daemon = DaemonProcess(tmp_path, runtime__workers=workers, sources__tail={"flows": [str(tmp_path / "flows.log*")]})
    with daemon:
        first = 0
        for _ in range(3):
            for _ in range(2):
                log.write(numbered(first, first + 149_999))
                log.rotate()
                log.write(numbered(first + 150_000, first + 150_000))
                first += 150_001
            wait_until(lambda: daemon.status()["streams"]["flows"]["lines"], "some lines")
            daemon.kill()
            daemon.start()
        wait_until(lambda: lines_in(daemon).count(b"\n") == first, "all lines")
        assert lines_in(daemon) == numbered(0, first - 1)


def test_what_is_under_way_is_bounded(tmp_path: Path, workers: int) -> None:
    """A raw sender has no credit: what waits behind a slow batch waits in the queues when the bound is met."""
    raw = f"ipc://{tmp_path / 'raw.sock'}"
    seen: list[int] = []
    with (
        running(tmp_path, runtime__workers=workers, sources__raw__bind=[raw], filters__watch=False) as (daemon, config),
        Peer(config.endpoint("ingest")) as peer,
        zmq.Context.instance().socket(zmq.PUSH) as pusher,
    ):
        (tmp_path / "flow").write_text(DROP_SLOWLY)
        request(config.endpoint("admin"), "reload", DEADLINE_S, force=True)
        peer.hello()
        lines = slow_lines(0, 50)
        peer.say(batch(1, lines), lines)
        pusher.connect(raw)
        frames = [numbered(n * 20_000, n * 20_000 + 19_999) for n in range(160)]
        pushing = threading.Thread(target=lambda: [pusher.send(frame) for frame in frames])
        pushing.start()

        def look() -> bool:
            seen.append(daemon._lanes._carrier.under_way_bytes)
            return bool(status(config)["streams"]["flows"]["lines"] == 160 * 20_000 + 50)

        wait_until(look, "all lines")
        pushing.join(DEADLINE_S)
        assert max(seen) < UNDER_WAY_BYTES + 2 * BATCH_BYTES
        wait_until(lambda: not daemon._lanes._carrier.under_way_bytes, "their storing")


def break_filters(filter_set: FilterSet) -> Callable[[], None]:
    """Makes a filter set raise, as only a mistake in flowd could."""
    return lambda: setattr(filter_set, "_format", "broken")


def test_an_error_in_a_worker_ends_the_daemon(tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(None, settings(tmp_path, runtime__workers=workers), {})
    daemon = Daemon(config)
    with Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        assert isinstance(peer.send(1, KEPT), Ack)
        stream = daemon._streams.get("flows")
        assert stream is not None
        daemon._lanes.tasks.run(break_filters(stream.filter_set))
        for sequence in range(2, 10):
            peer.say(batch(sequence, KEPT), KEPT)
        assert daemon.join() == EXIT_NO
    assert "the thread that carries lines failed" in caplog.text
    assert not any(thread.name.startswith("flowd-decide") for thread in threading.enumerate())
    with running(tmp_path, runtime__workers=workers) as (_, config):
        assert [bytes(one.lines) for one in stored(config)] == [KEPT]
