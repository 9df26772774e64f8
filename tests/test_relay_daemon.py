"""flowd.relay.daemon in a process of its own: start, signals, kills, locks; and the live and admin lanes."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from relay_bed import (
    DEADLINE_S,
    DROPPED,
    KEPT,
    DaemonProcess,
    Listener,
    Peer,
    batch,
    counters,
    running,
    settings,
    wait_until,
)

from flowd.client import Consumer, Producer, Subscriber, request
from flowd.errors import EXIT_CONFIG, EXIT_DONE, EXIT_INTERRUPTED, FilterError, FlowdError
from flowd.relay.admin import AdminLane
from flowd.relay.config import load_config
from flowd.relay.daemon import Daemon
from flowd.relay.deciding.rulebook import read_rulebook
from flowd.relay.directories import AlreadyRunning
from flowd.relay.metrics import Counters
from flowd.relay.reception import (
    DISCARDED_MAX,
    IGNORED_S,
    OFFENCE_WINDOW_S,
    OFFENCES_MAX,
    Offenders,
    Reception,
)
from flowd.wire import Ack, Data, Nak, Reply, Request, checksum, encode, parse
from flowd.wire.limits import CREDIT_MESSAGES

PRODUCE = """
import sys
from flowd.client import Producer
with Producer(sys.argv[1]) as producer:
    while True:
        producer.send(b"x\\n" * 50000)
"""
SUBSCRIBE = """
import sys
from flowd.client import Subscriber
with Subscriber(sys.argv[1]) as subscriber:
    for batch in subscriber:
        pass
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as daemon:
        yield daemon


def spawn(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script, *arguments], env={**os.environ, "PYTHONPATH": os.getcwd()})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_and_sockets_have_their_modes(daemon: DaemonProcess) -> None:
    assert {path.name: oct(mode_of(path)) for path in daemon.run_dir.iterdir()} == {
        "admin.sock": "0o600",
        "consume.sock": "0o660",
        "flowd.lock": "0o600",
        "ingest.sock": "0o660",
        "live.sock": "0o660",
    }
    assert oct(mode_of(daemon.run_dir)) == "0o2750"
    assert oct(mode_of(Path(daemon.settings["runtime.state_dir"]))) == "0o750"


def test_status_says_what_was_carried(daemon: DaemonProcess) -> None:
    with Producer(daemon.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(KEPT * 3 + DROPPED * 2)
        producer.flush()
        status = daemon.status()
        assert status["producers"] == 1
    assert status["state"] == "ok"
    assert status["process_id"] == daemon.process.pid  # type: ignore[union-attr]
    flows = status["streams"]["flows"]
    rules = flows.pop("rules")
    assert flows == {
        "batches": 1,
        "lines": 5,
        "bytes": 3 * len(KEPT) + 2 * len(DROPPED),
        "kept_lines": 3,
        "kept_bytes": 3 * len(KEPT),
        "malformed_lines": 0,
        "error_lines": 0,
        "oldest": 1,
        "next": 2,
        "generation": 1,
        "subscribers": 0,
        "rules_left_off": 0,
        "lines_left_off": 0,
        "bytes_left_off": 0,
    }
    assert [(rule["lines"], rule["bytes"]) for rule in rules] == [(2, 2 * len(DROPPED)), (3, 3 * len(KEPT))]
    assert rules[-1]["name"] == "default"
    health = request(daemon.endpoint("admin"), "health")
    assert (health.pop("turned_ago_s") >= 0, health) == (True, {"state": "ok"})
    assert request(daemon.endpoint("admin"), "version")["libzmq"] == zmq.zmq_version()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_daemon_cleanly(daemon: DaemonProcess, number: signal.Signals) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(number)
    assert daemon.process.wait(DEADLINE_S) == EXIT_DONE
    assert {path.name for path in daemon.run_dir.iterdir()} == {"flowd.lock"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_heard_from_the_first_moment_on(tmp_path: Path, number: signal.Signals) -> None:
    daemon = DaemonProcess(tmp_path)
    daemon.process = daemon.spawn()
    wait_until((daemon.run_dir / "flowd.lock").exists, "the daemon to lock its directory")
    daemon.process.send_signal(number)
    if number == signal.SIGHUP:
        wait_until(daemon._is_ready, "the daemon's start")
        wait_until(lambda: daemon.status()["last_reload"]["by"] == "signal", "the reload")
        assert daemon.terminate()[0] == EXIT_DONE
    else:
        assert daemon.process.wait(DEADLINE_S) == EXIT_DONE
        daemon.process.communicate()


def test_drain_finishes_what_was_received(daemon: DaemonProcess) -> None:
    lines = KEPT * 2000
    with Listener(daemon.endpoint("live")) as listener, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        for sequence in range(1, 21):
            peer.say(batch(sequence, lines), lines)
        stored = peer.hear().s
        assert stored > 0
        code, said = daemon.terminate()
        assert (code, "WARNING" in said) == (EXIT_DONE, False)
        if stored < 20:
            peer.hear_ack(20)
        heard = [listener.hear_live() for _ in range(20)]
    assert [live.header.q for live in heard] == list(range(1, 21))
    assert all(bytes(live.payload) == lines for live in heard)


def test_drain_refuses_what_was_sent_without_credit(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        daemon.drain()
        wait_until(lambda: peer.hello().cm == 0, "the lane gives no credit")
        answers = []
        sequence = 1
        while not answers or not isinstance(answers[-1], Nak):
            peer.say(batch(sequence, KEPT), KEPT)
            answers.append(peer.hear())
            sequence += 1
            assert sequence < 1000
    assert answers[-1].code == "busy"
    assert sum(isinstance(answer, Ack) and answer.cm == 0 for answer in answers) == CREDIT_MESSAGES


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, runtime__drain_s=60) as daemon, Subscriber(daemon.endpoint("live")) as stalled:
        stalled.connect(DEADLINE_S)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            lines = b"x" * ((1 << 20) - 1) + b"\n"
            for sequence in range(1, 201):
                assert isinstance(peer.send(sequence, lines), Ack)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(0.5)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(DEADLINE_S) == EXIT_INTERRUPTED


def test_drain_is_bounded_and_says_what_it_left(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, runtime__drain_s=0.3) as daemon, Subscriber(daemon.endpoint("live")) as stalled:
        stalled.connect(DEADLINE_S)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            lines = b"x" * ((1 << 20) - 1) + b"\n"
            for sequence in range(1, 201):
                assert isinstance(peer.send(sequence, lines), Ack)
        code, said = daemon.terminate()
    assert code == EXIT_DONE
    assert "subscribers" in said


@pytest.mark.parametrize("shared", ["runtime.dir", "runtime.state_dir"])
def test_second_daemon_on_a_directory_is_refused(daemon: DaemonProcess, tmp_path: Path, shared: str) -> None:
    (tmp_path / "other").mkdir()
    second = DaemonProcess(tmp_path / "other")
    second.settings[shared] = daemon.settings[shared]
    process = second.spawn()
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_CONFIG
    assert "another flowd is running here" in said
    assert str(daemon.process.pid) in said  # type: ignore[union-attr]
    assert daemon.status()["state"] == "ok"


def test_killed_daemon_leaves_nothing_in_the_way(daemon: DaemonProcess) -> None:
    daemon.kill()
    assert (daemon.run_dir / "ingest.sock").exists()
    daemon.start()
    assert daemon.status()["state"] == "ok"


def test_broken_filter_ends_the_start_with_its_place(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path)
    Path(daemon.settings["filters.path"]).write_text("<filter flows>\n  @type grep\n  <exclude>\n    key x\n")
    process = daemon.spawn()
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == EXIT_CONFIG
    assert f"{daemon.settings['filters.path']}:" in said
    assert not daemon.run_dir.exists()


def test_failed_start_gives_its_directories_back(tmp_path: Path) -> None:
    given = settings(tmp_path) | {"live.bind": ["ipc:///nonexistent/live.sock"]}
    config = load_config(None, given, {})
    for _ in range(2):
        with pytest.raises(FlowdError, match=r"/nonexistent/live\.sock"):
            Daemon(config)
    given = settings(tmp_path)
    config = load_config(None, given, {})
    daemon = Daemon(config)
    with pytest.raises(AlreadyRunning):
        Daemon(config)
    daemon.drain()
    assert daemon.join() == EXIT_DONE


def test_daemon_without_filters_keeps_everything(tmp_path: Path) -> None:
    with running(tmp_path, filters__path=None) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, DROPPED)
        assert request(config.endpoint("admin"), "status")["streams"]["flows"]["kept_lines"] == 1


def test_a_batch_that_is_kept_as_it_came_reaches_everyone(tmp_path: Path) -> None:
    """It goes out in the frame that it came in, to several subscribers and to consumers of the journal."""
    lines = [b"%d %s\n" % (n, b"x" * 200_000) for n in range(4)]
    with (
        running(tmp_path, filters__path=None) as (_, config),
        Listener(config.endpoint("live")) as one,
        Listener(config.endpoint("live")) as other,
        Peer(config.endpoint("ingest")) as peer,
    ):
        peer.hello()
        for number, line in enumerate(lines, 1):
            peer.send(number, line)
        for listener in (one, other):
            assert [bytes(listener.hear_live().payload) for _ in lines] == lines
        with Consumer(config.endpoint("consume"), start="oldest", timeout_s=DEADLINE_S) as consumer:
            assert [bytes(next(consumer).lines) for _ in lines] == lines


def test_more_endpoints_are_bound(tmp_path: Path) -> None:
    more = f"ipc://{tmp_path}/more.sock"
    with running(tmp_path, sources__ingest__bind=[more]) as (_, config), Peer(more) as peer:
        peer.hello()
        assert peer.send(1, KEPT).s == 1
        assert oct(mode_of(tmp_path / "more.sock")) == "0o660"
        assert request(config.endpoint("admin"), "status")["streams"]["flows"]["lines"] == 1


def test_new_stream_is_decided_by_the_filters_that_were_read(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        (tmp_path / "flow").write_text("<filter")
        assert peer.send(1, KEPT, stream="dns").s == 1
        with pytest.raises(FilterError):
            read_rulebook(config.filters).compile("flows")


def test_killed_producer_and_subscriber_do_not_disturb_others(daemon: DaemonProcess) -> None:
    producer = spawn(PRODUCE, daemon.endpoint("ingest"))
    subscriber = spawn(SUBSCRIBE, daemon.endpoint("live"))
    try:
        wait_until(lambda: daemon.status()["streams"]["flows"]["lines"] > 100_000, "the producer's lines")
        wait_until(lambda: daemon.status()["subscribers"].get("flows"), "the subscriber")
    finally:
        producer.kill()
        subscriber.kill()
        producer.wait()
        subscriber.wait()
    wait_until(lambda: not daemon.status()["subscribers"].get("flows"), "the subscriber's end to be noticed")
    with Listener(daemon.endpoint("live")) as listener, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        assert isinstance(peer.send(1, KEPT), Ack)
        while bytes(listener.hear_live().payload) != KEPT:
            pass


def test_view_is_matched_whole(daemon: DaemonProcess) -> None:
    with Listener(daemon.endpoint("live")) as flows, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, KEPT, stream="flows2")
        peer.send(2, KEPT, stream="flows")
        assert flows.hear_live().header.q == 1
        peer.send(3, DROPPED, stream="flows")
        assert flows.hear_live().header.q == 2
        assert (
            bytes((flows.socket.getsockopt(zmq.EVENTS) and flows.socket.recv_multipart()[0]) or b"flows\0")
            == b"flows\0"
        )


def test_heartbeats_go_on_by_themselves(daemon: DaemonProcess) -> None:
    with Listener(daemon.endpoint("live")) as listener, Peer(daemon.endpoint("ingest")) as peer:
        epoch = peer.hello().epoch
        peer.send(1, KEPT * 5)
        listener.hear_live()
        beat = listener.hear().header
        assert (beat.e, beat.next, beat.k, beat.oldest) == (epoch, 2, 5, 1)


def test_view_that_has_no_stream_yet_beats_for_who_waits(daemon: DaemonProcess) -> None:
    with Listener(daemon.endpoint("live"), b"dns\0") as listener:
        beat = listener.hear().header
        assert (beat.next, beat.k) == (1, 0)
    assert "dns" not in daemon.status()["streams"]


def test_flood_of_subscriptions_leaves_others_served(daemon: DaemonProcess) -> None:
    with zmq.Context.instance().socket(zmq.SUB) as flood, Listener(daemon.endpoint("live")) as listener:
        flood.linger = 0
        flood.sndhwm = 0  # else ZeroMQ itself drops most of them
        flood.connect(daemon.endpoint("live"))
        for n in range(20_000):
            flood.subscribe(b"s%d\0" % n)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            assert isinstance(peer.send(1, KEPT), Ack)
        assert bytes(listener.hear_live().payload) == KEPT
        wait_until(lambda: len(daemon.status()["subscribers"]) == 1024, "the bound on views")


def test_live_lane_counts_what_is_no_subscription(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), zmq.Context.instance().socket(zmq.XSUB) as socket:
        socket.linger = 0
        socket.connect(config.endpoint("live"))
        socket.send(b"\1flows\0")
        socket.send_multipart([b"GET / HTTP/1.1", b"x"])
        name = 'flowd_malformed_messages_total{lane="live",reason="subscription"}'
        wait_until(lambda: counters(config).get(name), "the count")
        socket.send(b"\1")
        wait_until(lambda: counters(config).get('flowd_unusual_subscriptions_total{change="new"}') == 1, "the count")


def test_admin_lane_survives_what_is_no_request(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), Peer(config.endpoint("admin")) as peer:
        peer.socket.send(b"x")
        peer.say(Data(1, "flows", 1, checksum(KEPT)), KEPT)
        peer.say(Request("mine", "statu"))
        refused = peer.hear()
        peer.say(Request(b"\0", "version", {"more": [1, 2]}))
        assert peer.hear().id == b"\0"
        found = counters(config)
    assert refused == Reply(
        "mine",
        False,
        {
            "code": "unknown",
            "text": "this daemon has no operation 'statu'",
            "hint": "did you mean 'status'?",
        },
    )
    lane = 'flowd_malformed_messages_total{{lane="admin",reason="{}"}}'
    assert (found[lane.format("frames")], found[lane.format("type")]) == (1, 1)


def test_answer_that_cannot_be_written_does_not_end_the_admin_lane(tmp_path: Path) -> None:
    answers: dict[str, dict[str, object]] = {"large": {"number": 1 << 64}, "nameless": {"path": "a\udc80"}}

    endpoint = f"ipc://{tmp_path}/admin.sock"
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(endpoint)
    operations = {name: lambda _, answer=answer: answer for name, answer in answers.items()}
    lane = AdminLane(socket, operations, Counters())  # type: ignore[arg-type]
    lane.start()
    try:
        with pytest.raises(FlowdError, match="cannot be written: OverflowError"):
            request(endpoint, "large", DEADLINE_S)
        assert request(endpoint, "nameless", DEADLINE_S) == {"path": "a\\x80"}
    finally:
        lane.end({})


def test_flood_of_noise_does_not_hold_the_reader(tmp_path: Path) -> None:
    """However fast strangers send, their reader comes back to see to heartbeats and to its end."""
    endpoint = f"ipc://{tmp_path}/noise.sock"
    router: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    with router, Peer(endpoint) as noise, Peer(endpoint) as other:
        router.bind(endpoint)
        for _ in range(4 * DISCARDED_MAX):
            noise.socket.send(b"noise")
        counters = Counters()
        reception = Reception(router, "admin", counters)
        assert router.poll(DEADLINE_S * 1000)
        assert reception.receive(0.0) is None
        assert 0 < sum(counters.snapshot().values()) <= DISCARDED_MAX
        wait_until(lambda: reception.receive(0.0) is None and not router.poll(50), "the end of the noise")
        assert sum(counters.snapshot().values()) == 4 * DISCARDED_MAX
        other.say(Request(1, "health"))
        _, message = wait_until(lambda: reception.receive(0.0), "what is no noise")
        assert message.header == Request(1, "health")


def test_idle_connections_leave_others_served(daemon: DaemonProcess) -> None:
    import socket

    path = daemon.endpoint("ingest").removeprefix("ipc://")
    idle = []
    try:
        for _ in range(200):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.connect(path)
            idle.append(one)
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            assert isinstance(peer.send(1, KEPT), Ack)
    finally:
        for one in idle:
            one.close()


def test_offenders_are_forgiven_in_time_and_bounded() -> None:
    offenders = Offenders()
    for n in range(OFFENCES_MAX - 1):
        offenders.blame(b"a", float(n))
    assert not offenders.is_ignored(b"a", 10.0)
    offenders.blame(b"a", OFFENCE_WINDOW_S + 10.0)
    assert not offenders.is_ignored(b"a", OFFENCE_WINDOW_S + 10.0)
    for _ in range(OFFENCES_MAX - 1):
        offenders.blame(b"a", 100.0)
    assert offenders.is_ignored(b"a", 100.0)
    assert not offenders.is_ignored(b"a", 100.0 + IGNORED_S)
    assert not offenders.is_ignored(b"b", 100.0)
    for _ in range(5000):
        offenders.blame(secrets.token_bytes(4), 100.0)
    assert not offenders.is_ignored(b"a", 100.0)


def test_counters_are_written_as_prometheus_does() -> None:
    counted = Counters()
    counted.add("flowd_x_total", 2, lane="live", reason="y")
    counted.add("flowd_x_total", 1, lane="live", reason="y")
    counted.add("flowd_z_total")
    assert counted.snapshot() == {'flowd_x_total{lane="live",reason="y"}': 3, "flowd_z_total": 1}
    assert (counted.get("flowd_z_total"), counted.get("other")) == (1, 0)


def test_reply_matches_its_request() -> None:
    assert parse(encode(Reply(3, True, {"state": "ok"}))).header == Reply(3, True, {"state": "ok"})
