"""flowd.Consumer and what Subscriber has of it, against real daemons: every line once, whatever breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, counters, running, wait_until

import flowd.aio
from flowd.client import Batch, Consumer, Producer, Subscriber, recovery, request
from flowd.errors import Fenced, FilterError, FlowdError, NotAcknowledged, Refused, Unreachable
from flowd.relay.config import Config

KEEP_ONES = "<filter flows>\n  @type grep\n  <regexp>\n    key n\n    pattern /1$/\n  </regexp>\n</filter>\n"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with running(tmp_path) as (_, config):
        yield config


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as daemon:
        yield daemon


def numbered(begin: int, end: int) -> bytes:
    return b"".join(b'{"n":%d}\n' % n for n in range(begin, end))


def feed(ingest: str, *batches: bytes, stream: str = "flows") -> None:
    with Producer(ingest, timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines, stream)
            producer.flush()


def join(batches: list[Batch]) -> bytes:
    return b"".join(batch.lines for batch in batches)


def test_consumer_goes_on_where_it_committed(config: Config) -> None:
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), numbered(0, 10), numbered(10, 20), numbered(20, 30))
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        assert [next(consumer).seq, next(consumer).seq] == [1, 2]
        consumer.commit()
        assert next(consumer).lines == numbered(20, 30)
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        assert next(consumer).lines == numbered(20, 30)
        consumer.commit()
        consumer.commit()
    with Consumer(endpoint, "siem", until="newest") as consumer:
        assert list(consumer) == []
    with Consumer(endpoint, "other", until="newest") as consumer:
        assert join(list(consumer)) == numbered(0, 30)


def test_starts_and_ends(config: Config) -> None:
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), *(numbered(n, n + 1) for n in range(5)))
    with Consumer(endpoint, "", start="oldest", until="newest") as consumer:
        batches = list(consumer)
    epoch = batches[0].epoch
    assert [batch.seq for batch in batches] == [1, 2, 3, 4, 5]
    assert all((batch.epoch, batch.missed, batch.gap, batch.view) == (epoch, 0, None, "flows") for batch in batches)
    with Consumer(endpoint, "", start=(epoch, 2), until=(epoch, 4)) as consumer:
        assert join(list(consumer)) == numbered(1, 4)
    with Consumer(endpoint, "", start="newest", timeout_s=DEADLINE_S) as consumer:
        consumer.connect()
        feed(config.endpoint("ingest"), numbered(7, 9))
        assert next(consumer).lines == numbered(7, 9)
    with Consumer(endpoint, "", last_lines=3, until="newest") as consumer:
        assert join(list(consumer)) == numbered(4, 5) + numbered(7, 9)
    with Consumer(endpoint, "", since_ns=batches[3].time_ns, until="newest") as consumer:
        assert next(consumer).seq in (4, 5)
    far = 1 << 100
    for wanted, count in (({"last_lines": far}, 6), ({"since_ns": -far}, 6), ({"since_ns": far}, 0)):
        with Consumer(endpoint, "", until="newest", credit_bytes=far, **wanted) as consumer:
            assert len(list(consumer)) == count


def test_an_end_that_is_not_there_ends_the_iteration_even_so(config: Config) -> None:
    """What is to come is not waited for, and of an epoch that is gone nothing comes."""
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), *(numbered(n, n + 1) for n in range(4)))
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        batches = [next(consumer) for _ in range(3)]
        consumer.commit()
    epoch = batches[0].epoch
    for start, until, seqs in (
        ("oldest", (epoch, 9), [1, 2, 3, 4]),
        ("oldest", (b"x" * 16, 2), []),
        ((epoch, 3), (epoch, 2), []),
        ("cursor", (epoch, 3), []),
        ("cursor", (epoch, 4), [4]),
    ):
        with Consumer(endpoint, "siem", start=start, until=until) as consumer:
            assert [batch.seq for batch in consumer] == seqs
            assert consumer.is_done


def test_iteration_ends_when_nothing_comes(config: Config) -> None:
    feed(config.endpoint("ingest"), KEPT, DROPPED, KEPT)
    with Consumer(config.endpoint("consume"), "siem", timeout_s=0.2) as consumer:
        assert [batch.seq for batch in consumer] == [1, 3]
        assert consumer.is_caught_up
        assert (consumer.taken_batches, consumer.missed_lines) == (3, 0)


def test_stream_is_waited_for(config: Config) -> None:
    with Consumer(config.endpoint("consume"), "siem", "audit", timeout_s=DEADLINE_S) as consumer:
        consumer.connect()
        feed(config.endpoint("ingest"), KEPT, stream="audit")
        assert next(consumer).lines == KEPT


def test_absent_daemon_raises_only_where_time_is_given(tmp_path: Path) -> None:
    with Consumer(f"ipc://{tmp_path}/absent.sock", "siem", timeout_s=0.3) as consumer:
        with pytest.raises(Unreachable, match="no daemon answered within"):
            next(consumer)
        with pytest.raises(Unreachable):
            consumer.connect()
        assert consumer.poll(0.01) is None
        consumer.commit()  # nothing was yielded: nothing to wait for


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"stream": "a b"},
        {"start": "soon"},
        {"start": None},
        {"start": 5},
        {"start": (bytes(15), 1)},
        {"start": (bytes(16), -1)},
        {"start": (bytes(16), 1 << 64)},
        {"start": (bytes(16), "1")},
        {"start": ("0" * 16, 1)},
        {"until": "soon"},
        {"until": "oldest"},
        {"until": (bytes(16),)},
        {"view": "v", "filter": "x"},
        {"credit_bytes": 0},
        {"server_key": "k"},
    ],
)
def test_wrong_arguments_raise_at_once(options: dict[str, object]) -> None:
    with pytest.raises(FlowdError):
        Consumer("ipc:///x", **options)  # type: ignore[arg-type]


def test_commit_of_a_batch_yielded_before_leaves_the_later_ones(config: Config) -> None:
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), numbered(0, 10), numbered(10, 20), numbered(20, 30))
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        first, _, third = next(consumer), next(consumer), next(consumer)
        assert third.seq == 3
        consumer.commit(batch=first)
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        assert next(consumer).seq == 2


def test_commit_soon_does_not_wait_and_says_when_it_is_stored(config: Config) -> None:
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), numbered(0, 10), numbered(10, 20))
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        first = next(consumer)
        assert not consumer.commit_soon(first)
        assert next(consumer).seq == 2
        wait_until(lambda: consumer.commit_soon(first) or consumer.poll(0.05), "the commit")
        assert consumer.commit_soon(first)
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as consumer:
        assert next(consumer).seq == 2


def test_nameless_consumer_cannot_commit(config: Config) -> None:
    feed(config.endpoint("ingest"), KEPT)
    with Consumer(config.endpoint("consume"), timeout_s=DEADLINE_S) as consumer:
        next(consumer)
        with pytest.raises(FlowdError, match="without a name"):
            consumer.commit()


def test_second_consumer_of_a_name_takes_its_place(config: Config) -> None:
    endpoint = config.endpoint("consume")
    feed(config.endpoint("ingest"), KEPT)
    with (
        Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as first,
        Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as second,
    ):
        next(first)
        assert next(second).seq == 1
        with pytest.raises(Fenced, match="'siem' has attached to 'flows'"):
            first.poll(DEADLINE_S)
        second.commit()


def test_fenced_consumer_keeps_nothing_and_says_so_again(config: Config) -> None:
    """A batch that had come and was not yielded is the other's, as all later ones."""
    endpoint, admin = config.endpoint("consume"), config.endpoint("admin")
    feed(config.endpoint("ingest"), KEPT, KEPT)
    with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as first:
        assert next(first).seq == 1
        wait_until(lambda: request(admin, "status")["consumers"][0]["sent_batches"] == 2, "both batches on their way")
        with Consumer(endpoint, "siem", timeout_s=DEADLINE_S) as second:
            assert next(second).seq == 1
            with pytest.raises(Fenced):
                first.commit()
            assert not first.is_attached
            for _ in range(2):
                with pytest.raises(Fenced):
                    first.poll(DEADLINE_S)
            second.commit()


def test_fenced_consumer_does_not_come_back_by_itself(daemon: DaemonProcess) -> None:
    """It was fenced while it had no connection: when it comes back, it is told, and takes nothing away."""
    feed(daemon.endpoint("ingest"), KEPT)
    with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as first:
        next(first)
        assert daemon.process is not None
        first._pull._link.close()
        with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as second:
            next(second)
            with pytest.raises(Fenced):
                first.poll(DEADLINE_S)
            second.commit()


def test_every_line_comes_once_through_kills_of_the_daemon(daemon: DaemonProcess) -> None:
    """Producer and consumer live through it; batches are stored once, and yielded once."""
    total = 30_000
    failures: list[BaseException] = []

    def produce() -> None:
        try:
            with Producer(daemon.endpoint("ingest")) as producer:
                for begin in range(0, total, 100):
                    producer.send(numbered(begin, begin + 100))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=produce)
    got: list[Batch] = []
    lines = 0
    with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
        thread.start()
        for kills in range(4):
            while lines < (kills + 1) * total // 6:
                got.append(next(consumer))
                lines += got[-1].lines.count(b"\n")
                consumer.commit()
            daemon.kill()
            daemon.start()
        while lines < total:
            got.append(next(consumer))
            lines += got[-1].lines.count(b"\n")
        consumer.commit()
        thread.join(DEADLINE_S)
    assert failures == []
    assert join(got) == numbered(0, total)
    assert [batch.seq for batch in got] == list(range(1, len(got) + 1))
    assert len({batch.epoch for batch in got}) == 1
    assert not any(batch.missed for batch in got)


CONSUME = """
import os, sys
from flowd.client import Consumer
with Consumer(sys.argv[1], "siem") as consumer:
    for batch in consumer:
        os.write(1, b"%d %d\\n" % (batch.seq, len(batch.lines)))
        if batch.seq % 3 == 0:
            consumer.commit()
            os.write(1, b"committed %d\\n" % batch.seq)
"""


def test_killed_consumer_gets_its_uncommitted_batches_again(config: Config) -> None:
    feed(config.endpoint("ingest"), *(numbered(n, n + 3) for n in range(10)))
    committed = 0
    for _ in range(3):  # what it commits between two looks counts, too: at least so far it got
        child = subprocess.Popen(
            [sys.executable, "-c", CONSUME, config.endpoint("consume")],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert child.stdout is not None
        first = int(child.stdout.readline().split()[0])
        assert first % 3 == 1
        assert first > committed
        if first == 10:
            child.kill()
        else:
            assert any(line.startswith(b"committed") for line in iter(child.stdout.readline, b""))
            child.kill()
        said = [line.split() for line in child.stdout.read().splitlines()]
        committed = max([first - 1, *(int(words[1]) for words in said if words[0] == b"committed")])
        child.wait()
        child.stdout.close()
    (found,) = request(config.endpoint("admin"), "consumers")["consumers"]
    assert found["next"] in (4, 7, 10)


def test_commit_goes_on_through_a_restart(daemon: DaemonProcess) -> None:
    feed(daemon.endpoint("ingest"), KEPT)
    with Consumer(daemon.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
        next(consumer)
        daemon.kill()
        with pytest.raises(NotAcknowledged):
            consumer.commit(0.2)
        starting = threading.Thread(target=daemon.start)
        starting.start()
        consumer.commit()
        starting.join()
        (found,) = request(daemon.endpoint("admin"), "consumers")["consumers"]
        assert found["next"] == 2


def test_slow_consumer_past_retention_is_told(tmp_path: Path) -> None:
    with running(tmp_path, journal__max_bytes=1 << 20) as (_, config):
        batches = [numbered(n * 1000, (n + 1) * 1000) for n in range(200)]
        with Consumer(config.endpoint("consume"), "siem", timeout_s=DEADLINE_S, credit_batches=2) as consumer:
            consumer.connect()
            feed(config.endpoint("ingest"), *batches)
            got = [next(consumer)]
            while got[-1].seq < 200:
                got.append(next(consumer))
            missed = 200_000 - join(got).count(b"\n")
            assert missed > 50_000
            assert sum(batch.missed for batch in got) == consumer.missed_lines == missed
            assert {batch.gap for batch in got if batch.missed} == {"retention"}
            assert consumer.missed_batches == 200 - len(got)


def test_stopped_consumer_disturbs_nobody_and_goes_on(config: Config) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CONSUME, config.endpoint("consume")],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    try:
        wait_until(lambda: request(config.endpoint("admin"), "status")["consumers"], "the consumer")
        child.send_signal(signal.SIGSTOP)
        lines = numbered(0, 20_000)
        with Consumer(config.endpoint("consume"), "other", timeout_s=DEADLINE_S) as other:
            feed(config.endpoint("ingest"), *[lines] * 100)
            assert sum(len(next(other).lines) for _ in range(100)) == 100 * len(lines)
        child.send_signal(signal.SIGCONT)

        def is_done() -> bool:
            found = request(config.endpoint("admin"), "consumers")["consumers"]
            return any(one["consumer"] == "siem" and one["next"] == 100 for one in found)

        wait_until(is_done, "the stopped consumer to catch up")
    finally:
        child.kill()
        child.wait()


def test_view_passes_over_what_it_does_not_keep_and_its_cursor_follows(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowd.client.reader.PASSED_BATCHES", 3)
    feed(config.endpoint("ingest"), *(numbered(n, n + 1) for n in range(20)))
    with Consumer(config.endpoint("consume"), "ones", filter=KEEP_ONES, timeout_s=DEADLINE_S) as consumer:
        batch = next(consumer)
        assert (batch.seq, batch.lines) == (2, numbered(1, 2))
        consumer.commit()
        batch = next(consumer)
        assert (batch.seq, batch.lines) == (12, numbered(11, 12))
        consumer.commit()
        assert consumer.poll(0.3) is None

        def is_moved() -> bool:
            assert consumer.poll(0.01) is None
            (found,) = request(config.endpoint("admin"), "consumers")["consumers"]
            return bool(found["next"] >= 19)

        wait_until(is_moved, "the cursor to follow")


def test_filter_that_cannot_be_compiled_is_told(config: Config) -> None:
    broken = KEEP_ONES.replace("/1$/", "/(/")
    with Consumer(config.endpoint("consume"), "x", filter=broken) as consumer, pytest.raises(Refused) as caught:
        next(consumer)
    assert (caught.value.code, caught.value.exit_code) == ("filter", FilterError.exit_code)
    assert "<filter>:5:13: end pattern with unmatched parenthesis" in caught.value.message
    live, consume = config.endpoint("live"), config.endpoint("consume")
    with Subscriber(live, filter=broken, consume=consume) as subscriber, pytest.raises(Refused):
        subscriber.connect(DEADLINE_S)
    with pytest.raises(FlowdError, match="registered on the consume socket"):
        Subscriber(live, filter=KEEP_ONES)


def test_subscriber_with_a_filter_hears_its_view(config: Config) -> None:
    live, consume = config.endpoint("live"), config.endpoint("consume")
    with (
        Subscriber(live, filter=KEEP_ONES, consume=consume, timeout_s=DEADLINE_S) as ones,
        Subscriber(live, timeout_s=DEADLINE_S) as everything,
    ):
        ones.connect()
        everything.connect()
        feed(config.endpoint("ingest"), numbered(0, 10), numbered(10, 30), KEPT)
        assert [next(everything).lines for _ in range(3)] == [numbered(0, 10), numbered(10, 30), KEPT]
        batch = next(ones)
        assert (batch.seq, batch.lines, batch.missed) == (1, numbered(1, 2), 0)
        batch = next(ones)
        assert (batch.seq, batch.lines, batch.missed) == (2, numbered(11, 12) + numbered(21, 22), 0)
        assert ones.missed_lines == 0


def test_subscribers_view_is_made_again_by_a_restarted_daemon(daemon: DaemonProcess) -> None:
    live, consume = daemon.endpoint("live"), daemon.endpoint("consume")
    with Subscriber(live, filter=KEEP_ONES, consume=consume) as ones:
        ones.connect(DEADLINE_S)
        daemon.kill()
        daemon.start()

        def is_back() -> bool:
            assert ones.poll(0.05) is None
            return any(view["subscribers"] for view in daemon.status()["views"].values())

        wait_until(is_back, "the view")
        feed(daemon.endpoint("ingest"), numbered(0, 2))
        batch = ones.poll(DEADLINE_S)
        assert batch is not None
        assert batch.lines == numbered(1, 2)


def test_unused_view_is_forgotten(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowd.relay.deciding.views.UNUSED_S", 0.1)
    with Consumer(config.endpoint("consume"), filter=KEEP_ONES) as consumer:
        consumer.connect(DEADLINE_S)
        assert len(request(config.endpoint("admin"), "status")["views"]) == 1
    wait_until(lambda: not request(config.endpoint("admin"), "status")["views"], "the view to be forgotten")


def test_subscriber_fetches_what_it_missed(daemon: DaemonProcess) -> None:
    """The daemon is killed and goes on while the subscriber has no connection: the gap is filled from the journal."""
    with (
        Subscriber(daemon.endpoint("live"), consume=daemon.endpoint("consume"), timeout_s=DEADLINE_S) as whole,
        Subscriber(daemon.endpoint("live"), timeout_s=DEADLINE_S) as holed,
    ):
        whole.connect()
        holed.connect()
        feed(daemon.endpoint("ingest"), numbered(0, 10))
        assert next(whole).seq == next(holed).seq == 1
        lines = numbered(0, 10_000)
        feed(daemon.endpoint("ingest"), *[lines] * 300)  # nobody reads: the high-water mark drops most of it
        feed(daemon.endpoint("ingest"), numbered(0, 5))
        got = [next(whole)]
        while got[-1].seq < 302:
            got.append(next(whole))
        assert [batch.seq for batch in got] == list(range(2, 303))
        assert join(got) == lines * 300 + numbered(0, 5)
        assert (whole.missed_lines, whole.missed_batches, {batch.missed for batch in got}) == (0, 0, {0})

        def has_missed() -> int:
            holed.poll(0.01)
            return holed.missed_lines

        wait_until(has_missed, "the other one to notice its loss")


def test_subscriber_fetches_several_gaps_in_one_wait(daemon: DaemonProcess) -> None:
    """Nobody reads while two daemons are killed: what each published before it was heard is a gap of its own."""
    with Subscriber(daemon.endpoint("live"), consume=daemon.endpoint("consume"), timeout_s=DEADLINE_S) as subscriber:
        subscriber.connect()
        for n in range(3):
            feed(daemon.endpoint("ingest"), numbered(10 * n, 10 * n + 5), numbered(10 * n + 5, 10 * n + 10))
            daemon.kill()
            daemon.start()
        feed(daemon.endpoint("ingest"), numbered(30, 31))
        got = [next(subscriber)]
        while got[-1].seq < 7:
            got.append(next(subscriber))
        assert [batch.seq for batch in got] == list(range(1, 8))
        assert join(got) == numbered(0, 31)
        assert (subscriber.missed_lines, subscriber.missed_batches) == (0, 0)


def test_a_gap_that_nobody_fills_is_given_up_and_told(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consume socket is nobody's: short waits do not put off for ever what a long one would give up."""
    monkeypatch.setattr(recovery, "PATIENCE_S", 0.5)
    with Subscriber(daemon.endpoint("live"), consume=f"ipc://{tmp_path}/nobody.sock") as subscriber:
        subscriber.connect(DEADLINE_S)
        lines = numbered(0, 10_000)
        feed(daemon.endpoint("ingest"), *[lines] * 300)  # nobody reads: the high-water mark drops most of it
        got: list[Batch] = []

        def has_ended() -> bool:
            batch = subscriber.poll(0.05)
            got.extend([batch] if batch is not None else [])
            return subscriber.missed_lines + join(got).count(b"\n") == 3_000_000

        wait_until(has_ended, "all lines to be there or told")
        assert subscriber.missed_lines > 0


def test_subscriber_counts_what_cannot_be_fetched(tmp_path: Path) -> None:
    with (
        running(tmp_path, journal__max_bytes=1 << 20) as (_, config),
        Subscriber(config.endpoint("live"), consume=config.endpoint("consume")) as subscriber,
    ):
        subscriber.connect(DEADLINE_S)
        lines = numbered(0, 10_000)
        feed(config.endpoint("ingest"), *[lines] * 300)
        got: list[Batch] = []
        while not got or got[-1].seq < 300:
            batch = subscriber.poll(DEADLINE_S)
            assert batch is not None
            got.append(batch)
        assert 0 < subscriber.missed_lines == 3_000_000 - join(got).count(b"\n")
        assert sum(batch.missed for batch in got) == subscriber.missed_lines


def test_consumers_for_asyncio(config: Config) -> None:
    async def consume() -> tuple[list[int], list[int]]:
        feed(config.endpoint("ingest"), *(numbered(n, n + 1) for n in range(4)))
        async with flowd.aio.Consumer(config.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
            await consumer.connect()
            first = []
            async for batch in consumer:
                first.append(batch.seq)
                if batch.seq == 2:
                    await consumer.commit()
                    break
            assert consumer.missed_lines == 0
        async with flowd.aio.Consumer(config.endpoint("consume"), "siem", until="newest") as consumer:
            return first, [batch.seq async for batch in consumer]

    assert asyncio.run(consume()) == ([1, 2], [3, 4])


def test_asyncio_consumer_of_an_absent_daemon_raises(tmp_path: Path) -> None:
    async def consume() -> None:
        async with flowd.aio.Consumer(f"ipc://{tmp_path}/absent.sock", timeout_s=0.3) as consumer:
            async for _ in consumer:
                pass

    with pytest.raises(Unreachable):
        asyncio.run(consume())


def test_credit_bounds_what_a_slow_program_holds(config: Config) -> None:
    lines = numbered(0, 20_000)
    with Consumer(config.endpoint("consume"), "slow", credit_bytes=1 << 20, credit_batches=64) as consumer:
        consumer.connect(DEADLINE_S)
        feed(config.endpoint("ingest"), *[lines] * 50)
        assert next(consumer).seq == 1
        (attached,) = request(config.endpoint("admin"), "status")["consumers"]
        assert attached["sent_bytes"] <= (1 << 20) + len(lines)
        assert attached["lag_batches"] > 40


def test_time_to_catch_up_ends_in_following(config: Config) -> None:
    """Catching up and following are one way: nothing is lost or doubled where one becomes the other."""
    done = threading.Event()
    sent = 0

    def produce() -> None:
        nonlocal sent
        with Producer(config.endpoint("ingest")) as producer:
            began_s = time.monotonic()
            while time.monotonic() - began_s < 1.0:
                producer.send(numbered(sent, sent + 50))
                sent += 50
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    got = []
    with Consumer(config.endpoint("consume"), "siem") as consumer:
        while not ((is_last := done.is_set()) and join(got[-1:]).endswith(numbered(sent - 1, sent))):
            batch = consumer.poll(DEADLINE_S if is_last else 0.05)
            if batch is not None:
                got.append(batch)
            assert batch is not None or not is_last, "something does not come"
    thread.join()
    assert join(got) == numbered(0, sent)
    assert counters(config).get("flowd_fenced_attachments_total") is None
