"""flowd.Consumer over JetStream: the same code as on a node. Real servers, real sinks; order, cursors, losses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig
from nats_bed import NatsServer, free_ports
from relay_bed import DEADLINE_S

import flowd
import flowd.aio
from flowd.client import Consumer
from flowd.errors import Fenced, FlowdError, NotAcknowledged
from flowd.jetstream.order import HELD_S, Mark, Order
from flowd.wire.jetstream import Acknowledged, Head, SubjectTemplate

ONE, TWO = b"1" * 16, b"2" * 16
TEMPLATE = SubjectTemplate.parse("flowd.{stream}.{node}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats", free_ports(1)[0]) as server:
        asyncio.run(make_stream(server.url))
        yield server


async def make_stream(url: str, **more: Any) -> None:
    client = await nats.connect(url)
    await client.jetstream().add_stream(StreamConfig(name="FLOWD", subjects=["flowd.*.*"], **more))
    await client.close()


def head(seq: int, *, epoch: bytes = ONE, node: str = "a", before: int | None = None, **more: Any) -> Head:
    """Of a batch of one line, its predecessor the one with the number before."""
    found = Head(epoch, "flows", node, seq, 1, 1, 1, seq - 1, seq - 1 or None, Acknowledged(), seq, 1)
    return found._replace(before=seq - 1 if before is None else before, **more)


async def _put(url: str, heads: tuple[Head, ...]) -> None:
    client = await nats.connect(url)
    for found in heads:
        subject = TEMPLATE.subject(found.stream, found.node)
        await client.jetstream().publish(subject, b'{"n":%d}\n' % found.seq, headers=found.as_headers())
    await client.close()


def put(server: NatsServer, *heads: Head) -> None:
    asyncio.run(_put(server.url, heads))


def open_consumer(server: NatsServer, name: str = "siem", **more: Any) -> Consumer:
    return flowd.Consumer(server.url, name=name, **{"timeout_s": DEADLINE_S, **more})


def take(consumer: Consumer, count: int) -> list[int]:
    return [next(consumer).seq for _ in range(count)]


def test_it_goes_on_where_it_committed(server: NatsServer) -> None:
    put(server, head(1), head(2), head(3))
    with open_consumer(server) as consumer:
        first = next(consumer)
        assert (first.epoch, first.seq, first.lines, first.missed) == (ONE, 1, b'{"n":1}\n', 0)
        assert first.records() == [{"n": 1}]
        assert next(consumer).seq == 2
        consumer.commit()
        assert next(consumer).seq == 3
    with open_consumer(server) as consumer:
        assert next(consumer).seq == 3
        consumer.commit()
    put(server, head(4))
    with open_consumer(server) as consumer:
        assert take(consumer, 1) == [4]


def test_a_batch_that_stands_behind_later_ones_comes_in_its_turn(server: NatsServer) -> None:
    put(server, head(1), head(3), head(4), head(2), head(5))
    with open_consumer(server) as consumer:
        assert take(consumer, 5) == [1, 2, 3, 4, 5]


def test_a_commit_among_batches_out_of_order_leaves_exactly_the_others(server: NatsServer) -> None:
    put(server, head(1), head(3), head(4), head(2), head(5))
    with open_consumer(server) as consumer:
        assert take(consumer, 3) == [1, 2, 3]
        consumer.commit()
    with open_consumer(server) as consumer:
        assert take(consumer, 2) == [4, 5]


def test_many_nodes_are_one_stream_each_in_its_order(server: NatsServer) -> None:
    put(server, head(1), head(1, epoch=TWO, node="b"), head(2), head(2, epoch=TWO, node="b"))
    with open_consumer(server) as consumer:
        found = [(batch.epoch, batch.seq) for batch in (next(consumer) for _ in range(4))]
    assert found == [(ONE, 1), (TWO, 1), (ONE, 2), (TWO, 2)]
    with flowd.Consumer(f"{server.url}/FLOWD?node=b", timeout_s=DEADLINE_S) as consumer:
        assert [next(consumer).epoch, next(consumer).epoch] == [TWO, TWO]


def test_starts(server: NatsServer) -> None:
    put(server, head(1), head(2), head(3))
    for start, seq in (("oldest", 1), ((ONE, 2), 2), ((ONE, 0), 1), ((TWO, 5), 1)):
        with open_consumer(server, "", start=start) as consumer:
            assert next(consumer).seq == seq
    with open_consumer(server, "", start="newest") as consumer:
        consumer.connect()
        put(server, head(4))
        assert next(consumer).seq == 4


def test_since_is_where_a_consumer_without_a_cursor_begins(server: NatsServer) -> None:
    put(server, head(1), head(2))
    since_ns = time.time_ns()
    put(server, head(3))
    for _ in range(2):  # the second one has the cursor of the first, which committed nothing
        with open_consumer(server, since_ns=since_ns, until="newest") as consumer:
            assert [batch.seq for batch in consumer] == [3]
        since_ns = 0
    with open_consumer(server, "", since_ns=time.time_ns(), until="newest") as consumer:
        assert list(consumer) == []


def test_until_ends_the_iteration(server: NatsServer) -> None:
    put(server, head(1), head(2), head(3))
    with open_consumer(server, "", until="newest") as consumer:
        assert [batch.seq for batch in consumer] == [1, 2, 3]
    with open_consumer(server, "", until=(ONE, 2)) as consumer:
        assert [batch.seq for batch in consumer] == [1, 2]
    with open_consumer(server, "", stream="dns", until="newest") as consumer:
        assert [batch.seq for batch in consumer] == []


def test_an_end_that_is_not_there_ends_the_iteration_even_so(server: NatsServer) -> None:
    """As with a daemon: what is to come is not waited for, and of an epoch that is gone nothing comes."""
    put(server, head(1), head(2), head(3), head(4))
    with open_consumer(server) as consumer:
        take(consumer, 3)
        consumer.commit()
    for start, until, seqs in (
        ("oldest", (ONE, 9), [1, 2, 3, 4]),
        ("oldest", (TWO, 2), []),
        ((ONE, 3), (ONE, 2), []),
        ("cursor", (ONE, 3), []),
        ("cursor", (ONE, 4), [4]),
    ):
        with flowd.Consumer(server.url, "siem", start=start, until=until) as consumer:  # it waits for ever
            assert [batch.seq for batch in consumer] == seqs
            assert consumer.is_done
            assert seqs == [] or consumer.position == (ONE, 4)


def test_an_end_that_retention_took_ends_before_what_follows_it(server: NatsServer) -> None:
    put(server, head(1), head(1, epoch=TWO, node="b"), head(4, before=1, previous=None), head(2, epoch=TWO, node="b"))
    with flowd.Consumer(server.url, until=(ONE, 3)) as consumer:
        assert [(batch.epoch, batch.seq) for batch in consumer] == [(ONE, 1), (TWO, 1)]
    with flowd.Consumer(server.url, start=(ONE, 4), until=(ONE, 3)) as consumer:
        assert list(consumer) == []


def test_an_end_that_comes_twice_or_late_is_met_once(server: NatsServer) -> None:
    put(server, head(1), head(3), head(3, parts=2), head(2), head(4))
    with flowd.Consumer(server.url, until=(ONE, 2)) as consumer:
        assert [batch.seq for batch in consumer] == [1, 2]


def test_lines_that_are_lost_are_told(server: NatsServer) -> None:
    put(
        server,
        head(1),
        head(2, before=1),
        head(5, before=40, previous=None),
        head(6, before=41, missed=7, gap="retention"),
    )
    with open_consumer(server, "") as consumer:
        found = [(batch.seq, batch.missed, batch.gap) for batch in (next(consumer) for _ in range(4))]
        assert found == [(1, 0, None), (2, 0, None), (5, 38, "retention"), (6, 7, "retention")]
        assert consumer.missed_lines == 45


def test_what_retention_took_while_it_was_away_is_told(server: NatsServer) -> None:
    put(server, head(1), head(2))
    with open_consumer(server) as consumer:
        take(consumer, 2)
        consumer.commit()
    put(server, head(3), head(4), head(5))

    async def purge() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().purge_stream("FLOWD", keep=1)
        await client.close()

    asyncio.run(purge())
    with open_consumer(server) as consumer:
        batch = next(consumer)
        assert (batch.seq, batch.missed, batch.gap) == (5, 2, "retention")


def test_a_node_that_was_silent_for_a_life_of_the_consumer_is_remembered(server: NatsServer) -> None:
    put(server, head(1), head(1, epoch=TWO, node="b"))
    for count in (2, 1):  # the second life has nothing of the other node
        with open_consumer(server) as consumer:
            take(consumer, count)
            consumer.commit()
        put(server, head(2))
    put(server, head(5, epoch=TWO, node="b", before=40, previous=None))
    with open_consumer(server, until="newest") as consumer:
        assert [(batch.epoch, batch.missed) for batch in consumer if batch.epoch == TWO] == [(TWO, 39)]


def test_a_second_consumer_of_the_name_takes_its_place(server: NatsServer) -> None:
    put(server, head(1), head(2))
    with open_consumer(server) as first:
        take(first, 1)
        first.commit()
        with open_consumer(server) as second:
            assert take(second, 1) == [2]
            second.commit()
            take(first, 1)
            with pytest.raises(Fenced, match="siem"):
                first.commit()


def test_a_filter_of_its_own_runs_on_the_consumers_side(server: NatsServer) -> None:
    put(server, head(1), head(2), head(3))
    text = "<filter flows>\n  @type grep\n  <exclude>\n    key n\n    pattern /2/\n  </exclude>\n</filter>\n"
    with open_consumer(server, filter=text) as consumer:
        assert take(consumer, 2) == [1, 3]


def test_parts_are_put_together(server: NatsServer) -> None:
    put(server, head(1, parts=2), head(1, part=2, parts=2), head(2))
    with open_consumer(server) as consumer:
        assert next(consumer).lines == b'{"n":1}\n' * 2
        assert next(consumer).seq == 2


def test_it_waits_for_a_server_and_a_stream_that_are_not_there_yet(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", free_ports(1)[0])
    with flowd.Consumer(server.url, timeout_s=0.2) as consumer, pytest.raises(FlowdError, match="not reached within"):
        next(consumer)
    with flowd.Consumer(server.url) as consumer:
        assert consumer.poll(0.1) is None
        with server:
            assert consumer.poll(0.1) is None
            asyncio.run(make_stream(server.url))
            put(server, head(1))
            batch = consumer.poll(DEADLINE_S)
            assert batch is not None
            assert batch.seq == 1


def test_it_goes_on_over_a_killed_server(server: NatsServer) -> None:
    put(server, head(1), head(2))
    with open_consumer(server) as consumer:
        assert take(consumer, 2) == [1, 2]
        server.kill()
        with pytest.raises(NotAcknowledged):
            consumer.commit(0.2)
        server.start()
        put(server, head(3))
        assert take(consumer, 1) == [3]
        consumer.commit()
    with open_consumer(server, timeout_s=0.5) as consumer:
        assert list(consumer) == []


def test_asyncio_has_the_same(server: NatsServer) -> None:
    put(server, head(1), head(2))

    async def read() -> list[int]:
        found = []
        async with flowd.aio.Consumer(server.url, "siem", until="newest") as consumer:
            async for batch in consumer:
                found.append(batch.seq)
                await consumer.commit()
        return found

    assert asyncio.run(read()) == [1, 2]


def test_a_batch_waits_for_the_one_before_it_and_not_for_ever() -> None:
    order = Order()
    assert [ready.head.seq for ready in order.add(head(1), 1, b"1\n", 0.0)] == [1]
    assert order.add(head(3), 2, b"3\n", 0.0) == []
    assert order.give_up(HELD_S - 1) == []
    (given_up,) = order.give_up(HELD_S)
    assert (given_up.head.seq, given_up.missed, given_up.gap) == (3, 1, "retention")
    (late,) = order.add(head(2), 3, b"2\n", HELD_S + 1)
    assert (late.head.seq, late.lines, late.missed) == (2, b"2\n", 0)
    (again,) = order.add(head(2), 4, b"2\n", HELD_S + 2)
    assert (again.lines, order.duplicates) == (b"", 1)


def test_nothing_waits_for_a_batch_that_was_stored_before_this_one_was_sent() -> None:
    order = Order({ONE: Mark(1, 1)})
    (found,) = order.add(head(3, acknowledged=Acknowledged(7, 2, 2)), 9, b"3\n", 0.0)
    assert (found.head.seq, found.missed) == (3, 1)
