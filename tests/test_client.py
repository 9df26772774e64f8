"""flowd.client against real daemons: producers, subscribers, and the admin request."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, running, wait_until

import flowd
from flowd.client import Batch, Consumer, Producer, Subscriber, request
from flowd.client.producer import WAITING_MAX_BYTES
from flowd.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    FlowdError,
    LineTooLong,
    NotAcknowledged,
    Refused,
    Unreachable,
)
from flowd.relay.config import Config
from flowd.wire import Ack, Err, Heartbeat, Hello, Live, Nak, Welcome, encode, parse
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES, PAYLOAD_MAX_BYTES


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    with running(tmp_path) as (_, config):
        yield config


@pytest.fixture
def subscriber(config: Config) -> Iterator[Subscriber]:
    with Subscriber(config.endpoint("live"), timeout_s=DEADLINE_S) as subscriber:
        subscriber.connect()
        yield subscriber


def take(subscriber: Subscriber, size_bytes: int) -> list[Batch]:
    """Batches until they hold so many bytes."""
    batches: list[Batch] = []
    while sum(len(batch.lines) for batch in batches) < size_bytes:
        batches.append(next(subscriber))
    return batches


def stored_batches(daemon: DaemonProcess) -> int:
    return int(daemon.status()["streams"]["flows"]["next"]) - 1


def join(batches: list[Batch]) -> bytes:
    return b"".join(batch.lines for batch in batches)


class DaemonByHand:
    """The other side of an ingest socket, said by hand: what a daemon may say but ours says too rarely to be tested."""

    def __init__(self, directory: Path) -> None:
        self.endpoint = f"ipc://{directory}/by-hand.sock"
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(self.endpoint)

    def hear(self) -> tuple[bytes, object]:
        assert self.socket.poll(DEADLINE_S * 1000), "nothing was heard"
        peer, *frames = self.socket.recv_multipart()
        return peer, parse(frames).header

    def hear_hello(self) -> tuple[bytes, Hello]:
        while True:
            peer, header = self.hear()
            if isinstance(header, Hello):
                return peer, header

    def say(self, peer: bytes, header: Welcome | Ack | Nak | Err) -> None:
        self.socket.send_multipart([peer, *encode(header)])

    def welcome(self, peer: bytes, last: int = 0, cb: int = 1 << 20, cm: int = 8) -> None:
        self.say(peer, Welcome(1, bytes(16), last, cb, cm, PAYLOAD_MAX_BYTES, 1000))


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[DaemonByHand]:
    daemon = DaemonByHand(tmp_path)
    yield daemon
    daemon.socket.close()


def test_what_is_sent_arrives_filtered_in_order(config: Config, subscriber: Subscriber) -> None:
    lines = b"".join(KEPT.replace(b"prod", b"n%d" % n) + DROPPED for n in range(20_000))
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(lines)
        producer.flush()
        assert producer.unacknowledged_lines == 0
    kept = lines.replace(DROPPED, b"")
    batches = take(subscriber, len(kept))
    assert join(batches) == kept
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))
    assert [batch.missed for batch in batches] == [0] * len(batches)


def test_small_sends_share_a_batch_and_leave_by_themselves(config: Config, subscriber: Subscriber) -> None:
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for _ in range(100):
            producer.send(KEPT)
        batches = take(subscriber, 100 * len(KEPT))
        assert join(batches) == 100 * KEPT
        assert len(batches) < 10


def test_line_without_its_newline_gets_one(config: Config, subscriber: Subscriber) -> None:
    with flowd.Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(memoryview(KEPT + KEPT[:-1]))
        producer.send(b"")
        producer.send(KEPT)
    assert join(take(subscriber, 3 * len(KEPT))) == 3 * KEPT


def test_longest_line_arrives_and_a_longer_one_raises(config: Config, subscriber: Subscriber) -> None:
    longest = b"x" * LINE_MAX_BYTES + b"\n"
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT + longest + KEPT)
        with pytest.raises(LineTooLong):
            producer.send(KEPT + b"x" + longest)
    batches = take(subscriber, len(longest) + 2 * len(KEPT))
    assert [len(batch.lines) for batch in batches] == [len(KEPT), len(longest), len(KEPT)]


def test_streams_are_apart(config: Config) -> None:
    with (
        Subscriber(config.endpoint("live"), "dns", timeout_s=DEADLINE_S) as dns,
        Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer,
    ):
        dns.connect()
        producer.send(KEPT, stream="flows")
        producer.send(DROPPED, stream="dns")
        batch = next(dns)
    assert (batch.view, batch.lines, batch.records()) == ("dns", DROPPED, [{"source_namespace": "dev"}])


def test_a_subscriber_knows_whether_its_stream_has_ever_had_a_line(config: Config, subscriber: Subscriber) -> None:
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT)
    take(subscriber, len(KEPT))
    began_empty = []
    for view in ("flows", "flowz"):
        with Subscriber(config.endpoint("live"), view, timeout_s=DEADLINE_S) as later:
            later.connect()
            began_empty.append(later.began_empty)
    assert began_empty == [False, True]


def test_several_threads_may_send(config: Config, subscriber: Subscriber) -> None:
    texts = [b"".join(b'{"t":%d,"n":%d}\n' % (t, n) for n in range(2000)) for t in range(4)]
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        threads = [threading.Thread(target=producer.send, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = join(take(subscriber, sum(map(len, texts)))).splitlines(keepends=True)
    for t, text in enumerate(texts):
        assert b"".join(line for line in lines if line.startswith(b'{"t":%d,' % t)) == text


def test_absent_daemon_raises_only_where_time_is_given(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/absent.sock"
    with Producer(endpoint) as producer:
        producer.send(KEPT)
        with pytest.raises(NotAcknowledged) as caught:
            producer.flush(timeout_s=0.05)
        assert caught.value.count == 1
        producer.close()
    with pytest.raises(NotAcknowledged), Producer(endpoint, timeout_s=0.05) as producer:
        producer.send(KEPT)
    with Producer(endpoint, timeout_s=0.05) as producer:
        with pytest.raises(Unreachable):
            producer.send(KEPT * (2 * WAITING_MAX_BYTES // len(KEPT)))
        producer.close()
    with Subscriber(endpoint, timeout_s=0.05) as subscriber, pytest.raises(Unreachable, match="'flows'"):
        next(subscriber)
    with pytest.raises(Unreachable):
        request(endpoint, "health", timeout_s=0.05)


def test_producer_waits_for_a_daemon_that_comes_later(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    with Producer(daemon.endpoint("ingest")) as producer:
        producer.send(KEPT)
        with daemon:
            producer.flush(DEADLINE_S)
            assert daemon.status()["streams"]["flows"]["lines"] == 1


def test_producer_sends_again_what_a_killed_daemon_had_not_acknowledged(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, Producer(daemon.endpoint("ingest")) as producer:
        producer.send(KEPT * 10)
        producer.flush(DEADLINE_S)
        daemon.kill()
        producer.send(KEPT * 7)
        with pytest.raises(NotAcknowledged) as caught:
            producer.flush(timeout_s=0.2)
        assert caught.value.count == 7
        daemon.start()
        producer.flush(DEADLINE_S)
        assert daemon.status()["streams"]["flows"]["lines"] == 7


@pytest.mark.parametrize("signals", [1, 2])
def test_every_line_is_stored_once_when_the_daemon_is_told_to_end_under_load(tmp_path: Path, signals: int) -> None:
    """One SIGTERM drains it, two end it at once: what was not acknowledged is sent again, and none is stored twice."""
    with DaemonProcess(tmp_path) as daemon, Producer(daemon.endpoint("ingest")) as producer:
        text = [b'{"n":%d,"%s":0}\n' % (n, b"x" * 500) for n in range(60_000)]
        sending = threading.Thread(target=lambda: producer.send(b"".join(text)))
        sending.start()
        for _ in range(3):
            before = stored_batches(daemon)
            wait_until(lambda before=before: stored_batches(daemon) > before or not sending.is_alive(), "some lines")
            assert daemon.process is not None
            for _ in range(signals):
                daemon.process.send_signal(signal.SIGTERM)
            code = daemon.process.wait(DEADLINE_S)
            assert code in ((EXIT_DONE,) if signals == 1 else (EXIT_DONE, EXIT_INTERRUPTED))
            daemon.kill()
            daemon.start()
        sending.join(DEADLINE_S)
        producer.flush(DEADLINE_S)
        endpoint = daemon.endpoint("consume")
        with Consumer(endpoint, start="oldest", until="newest", timeout_s=DEADLINE_S) as consumer:
            assert b"".join(bytes(one.lines) for one in consumer) == b"".join(text)


def test_producer_loses_nothing_over_restarts_under_load(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, Producer(daemon.endpoint("ingest")) as producer:
        text = [b'{"n":%d}\n' % n for n in range(120_000)]
        seen: set[bytes] = set()
        stop = threading.Event()

        def follow() -> None:
            with Subscriber(daemon.endpoint("live")) as subscriber:
                subscriber.connect(DEADLINE_S)
                ready.set()
                while not stop.is_set():
                    batch = subscriber.poll(0.1)
                    seen.update(batch.lines.splitlines(keepends=True) if batch else ())

        ready = threading.Event()
        follower = threading.Thread(target=follow)
        follower.start()
        assert ready.wait(DEADLINE_S)
        for start in range(0, len(text), 40_000):
            producer.send(b"".join(text[start : start + 40_000]))
            daemon.kill()
            daemon.start()
        producer.flush(DEADLINE_S)
        assert producer.unacknowledged_lines == 0
        stop.set()
        follower.join()
        assert seen <= set(text)


def test_id_file_keeps_the_producer_known(config: Config, tmp_path: Path) -> None:
    id_file = tmp_path / "id"
    with Producer(config.endpoint("ingest"), id_file=id_file, timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT)
        first = producer.id
        with pytest.raises(FlowdError, match="another producer"):
            Producer(config.endpoint("ingest"), id_file=id_file)
    with Producer(config.endpoint("ingest"), id_file=id_file, timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT)
        assert producer.id == first
    assert id_file.read_text() == first.hex() + "\n"
    found = request(config.endpoint("admin"), "status")
    assert (found["streams"]["flows"]["lines"], "flowd_duplicate_batches_total" in found["counters"]) == (2, False)


@pytest.mark.parametrize("text", ["nonsense", "00", "zz" * 16])
def test_id_file_that_holds_no_id_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "id").write_text(text)
    with pytest.raises(FlowdError, match="not a producer id"):
        Producer("ipc:///x", id_file=tmp_path / "id")


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FlowdError, match="keys are for tcp"):
        Producer("ipc:///x", server_key="k")
    with pytest.raises(FlowdError, match="TCP needs CURVE keys"):
        Producer("tcp://127.0.0.1:1")
    with pytest.raises(FlowdError, match="no legal name"):
        Subscriber("ipc:///x", "a b")
    with Producer("ipc:///x") as producer, pytest.raises(FlowdError, match="no legal name"):
        producer.send(KEPT, stream="a b")


def test_closed_producer_says_so(config: Config) -> None:
    producer = Producer(config.endpoint("ingest"))
    producer.send(KEPT)
    producer.flush(DEADLINE_S)
    producer.close()
    producer.close()
    with pytest.raises(FlowdError, match="closed"):
        producer.send(KEPT)
    producer.flush()  # all that was sent is acknowledged


def test_flush_of_a_closed_producer_tells_what_was_not_acknowledged(tmp_path: Path) -> None:
    producer = Producer(f"ipc://{tmp_path}/absent.sock")
    producer.send(KEPT + DROPPED + KEPT)
    producer.close()
    with pytest.raises(NotAcknowledged, match="is closed, and 3 lines were not acknowledged") as raised:
        producer.flush()
    assert raised.value.count == 3


@pytest.mark.parametrize("call", ["send", "flush"])
def test_close_ends_a_call_that_blocks_in_another_thread(tmp_path: Path, call: str) -> None:
    batch = b"x" * (BATCH_BYTES - 1) + b"\n"
    producer = Producer(f"ipc://{tmp_path}/absent.sock")
    raised: list[FlowdError] = []
    is_entered = threading.Event()

    def block() -> None:
        try:
            producer.send(KEPT)
            is_entered.set()
            if call == "flush":
                producer.flush()
            while True:
                producer.send(batch)
        except FlowdError as error:
            raised.append(error)

    thread = threading.Thread(target=block, daemon=True)
    thread.start()
    assert is_entered.wait(DEADLINE_S)
    if call == "send":
        wait_until(lambda: producer.unacknowledged_lines > WAITING_MAX_BYTES // BATCH_BYTES, "a full window")
    producer.close()
    thread.join(DEADLINE_S)
    (error,) = raised  # from a flush that began after it, with how many lines were not acknowledged
    assert "the producer is closed" in str(error)


def test_flush_does_not_wait_for_what_others_send_meanwhile(config: Config) -> None:
    is_over = threading.Event()
    with Producer(config.endpoint("ingest")) as producer:

        def keep_sending() -> None:
            while not is_over.is_set():
                producer.send(DROPPED * 5_000)

        thread = threading.Thread(target=keep_sending, daemon=True)
        thread.start()
        try:
            for _ in range(5):
                producer.flush(DEADLINE_S)
        finally:
            is_over.set()
            thread.join()


def test_who_drops_every_connection_is_not_hammered(tmp_path: Path) -> None:
    path = f"{tmp_path}/rude.sock"
    with socket.socket(socket.AF_UNIX) as rude:
        rude.bind(path)
        rude.listen()
        times: list[float] = []
        thread = threading.Thread(target=drop_connections, args=(rude, times), daemon=True)
        thread.start()
        with Producer(f"ipc://{path}") as producer:
            producer.send(KEPT)
            with pytest.raises(NotAcknowledged):
                producer.flush(1)
            producer.close()
        lasted_s = times[-1] - times[0]
        assert 2 <= len(times) < 2 + 40 * lasted_s
        rude.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)


def drop_connections(rude: socket.socket, times: list[float]) -> None:
    with suppress(OSError):
        while True:
            rude.accept()[0].close()
            times.append(time.monotonic())


def test_refusal_is_raised_to_the_caller(by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        by_hand.say(peer, Err("denied", "this key may not produce"))
        with pytest.raises(Refused, match="may not produce") as caught:
            producer.flush(DEADLINE_S)
        assert caught.value.code == "denied"
        producer.close()


@pytest.mark.parametrize("code", ["too_big", "stream"])
def test_batch_that_will_never_be_taken_is_raised(by_hand: DaemonByHand, code: str) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer)
        by_hand.hear()
        by_hand.say(peer, Nak(1, code))
        with pytest.raises(Refused) as caught:
            producer.flush(DEADLINE_S)
        assert caught.value.code == code
        producer.close()


@pytest.mark.parametrize(
    "nak", [Nak(1, "busy", None, 10), Nak(1, "bad"), Nak(2, "gap", 1), Nak(1, "no_space", None, 1)]
)
def test_batch_refused_for_now_is_sent_again(by_hand: DaemonByHand, nak: Nak) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, hello = by_hand.hear_hello()
        assert hello.first is None
        by_hand.welcome(peer)
        assert by_hand.hear()[1].s == 1  # type: ignore[attr-defined]
        by_hand.say(peer, nak)
        assert by_hand.hear()[1].s == 1  # type: ignore[attr-defined]
        by_hand.say(peer, Ack(1, 1 << 20, 8))
        producer.flush(DEADLINE_S)


def test_batch_that_arrives_damaged_thrice_is_raised(by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer)
        for _ in range(3):
            by_hand.hear()
            by_hand.say(peer, Nak(1, "bad"))
        with pytest.raises(Refused, match="bad"):
            producer.flush(DEADLINE_S)
        producer.close()


def test_daemon_that_forgot_the_conversation_is_told_what_is_unacknowledged(by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer, last=6)
        assert by_hand.hear()[1].s == 7  # type: ignore[attr-defined]
        by_hand.say(peer, Err("hello", "say HELLO first"))
        peer, hello = by_hand.hear_hello()
        assert (hello.pid, hello.first) == (producer.id, 7)
        by_hand.welcome(peer, last=7)
        producer.flush(DEADLINE_S)


def test_no_credit_blocks_until_there_is_some(by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT * (BATCH_BYTES // len(KEPT)) * 2)
        peer, _ = by_hand.hear_hello()
        by_hand.welcome(peer, cb=0, cm=0)
        assert not by_hand.socket.poll(100)
        with pytest.raises(NotAcknowledged):
            producer.flush(0.01)
        by_hand.say(peer, Ack(0, (1 << 64) - 1, 1))
        assert by_hand.hear()[1].s == 1  # type: ignore[attr-defined]
        assert not by_hand.socket.poll(50)
        by_hand.say(peer, Ack(1, (1 << 64) - 1, (1 << 64) - 1))
        assert by_hand.hear()[1].s == 2  # type: ignore[attr-defined]
        by_hand.say(peer, Ack((1 << 64) - 1, 0, 0))
        producer.flush(DEADLINE_S)


def test_nonsense_from_a_daemon_is_survived(by_hand: DaemonByHand) -> None:
    with Producer(by_hand.endpoint) as producer:
        producer.send(KEPT)
        peer, _ = by_hand.hear_hello()
        for frames in ([b"x"], [b""] * 5, [b"FLW\1\2\0\0\0", b"\x80"], [b"\xff" * 8, b"\xff"]):
            by_hand.socket.send_multipart([peer, *frames])
        by_hand.welcome(peer)
        by_hand.hear()
        by_hand.say(peer, Ack(1, 1, 1))
        producer.flush(DEADLINE_S)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[tuple[str, zmq.Socket[bytes]]]:
    """A live socket said by hand."""
    endpoint = f"ipc://{tmp_path}/live-by-hand.sock"
    with zmq.Context.instance().socket(zmq.XPUB) as socket:
        socket.linger = 0
        socket.bind(endpoint)
        yield endpoint, socket


def publish(socket: zmq.Socket[bytes], *headers: Live | Heartbeat, topic: bytes = b"flows\0") -> None:
    for header in headers:
        payload = b"x\n" * header.n if isinstance(header, Live) and header.n else None
        socket.send_multipart([topic, *encode(header, payload)])


def test_subscriber_says_what_it_missed(publisher: tuple[str, zmq.Socket[bytes]]) -> None:
    endpoint, socket = publisher
    one, two = bytes(16), bytes([7]) * 16
    with Subscriber(endpoint, timeout_s=0.5) as subscriber:
        assert subscriber.poll(0) is None
        assert socket.recv() == b"\1flows\0"
        publish(socket, Live(one, 5, 3, 100, 0, 1), Live(one, 6, 0, 103, 0, 1), Live(one, 7, 2, 103, 0, 1))
        publish(socket, Live(one, 9, 2, 110, 0, 1), Heartbeat(one, 11, 120, 11), Live(one, 11, 1, 120, 0, 1))
        publish(socket, Live(two, 2, 1, 4, 0, 1))
        socket.send_multipart([b"flows\0", b"nonsense"])
        publish(socket, Live(two, 3, 1, 5, 0, 2))
        heard = list(subscriber)
        assert [(batch.epoch, batch.seq, len(batch.lines), batch.missed) for batch in heard] == [
            (one, 5, 6, 0),
            (one, 7, 4, 0),
            (one, 9, 4, 5),
            (one, 11, 2, 8),
            (two, 2, 2, 4),
            (two, 3, 2, 0),
        ]
        assert (subscriber.missed_lines, subscriber.missed_batches, subscriber.malformed) == (17, 3, 1)
        assert heard[-1].generation == 2


def test_iteration_ends_when_a_daemon_has_nothing_to_say(config: Config) -> None:
    with Subscriber(config.endpoint("live"), timeout_s=1.5) as subscriber:
        assert list(subscriber) == []


def test_slow_subscriber_loses_batches_and_is_told(config: Config) -> None:
    line = b"x" * 4095 + b"\n"
    with (
        Subscriber(config.endpoint("live"), timeout_s=DEADLINE_S) as slow,
        Subscriber(config.endpoint("live"), timeout_s=DEADLINE_S) as quick,
        Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer,
    ):
        slow.connect()
        quick.connect()
        sent = 0
        while sent < 400 * BATCH_BYTES:
            producer.send(line * (BATCH_BYTES // len(line)))
            producer.flush()
            assert len(next(quick).lines) == BATCH_BYTES
            sent += BATCH_BYTES
        got = 0
        deadline_s = time.monotonic() + DEADLINE_S
        while got + slow.missed_lines * len(line) < sent and time.monotonic() < deadline_s:
            batch = slow.poll(0.2)
            got += len(batch.lines) if batch else 0
        assert slow.missed_lines > 0
        assert got + slow.missed_lines * len(line) == sent
        assert quick.missed_lines == 0


def test_subscribers_follow_a_restarted_daemon(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        Subscriber(daemon.endpoint("live")) as subscriber,
        Producer(daemon.endpoint("ingest")) as producer,
    ):
        subscriber.connect(DEADLINE_S)
        producer.send(KEPT)
        before = subscriber.poll(DEADLINE_S)
        producer.flush(DEADLINE_S)  # what is not acknowledged would be published again
        daemon.kill()
        daemon.start()

        def is_back() -> bool:
            assert subscriber.poll(0.01) is None  # a SUB socket subscribes anew while it is read
            return bool(daemon.status()["subscribers"].get("flows"))

        wait_until(is_back, "the subscriber's return")
        producer.send(KEPT * 2)
        after = subscriber.poll(DEADLINE_S)
        producer.flush(DEADLINE_S)
    assert before is not None
    assert after is not None
    assert (before.seq, after.seq, after.lines, after.missed) == (1, 2, KEPT * 2, 0)
    assert before.epoch == after.epoch


def test_request_raises_the_daemons_refusal(config: Config) -> None:
    with pytest.raises(Refused, match="no operation 'helth'") as caught:
        request(config.endpoint("admin"), "helth")
    assert (caught.value.code, caught.value.hint) == ("unknown", "did you mean 'health'?")
