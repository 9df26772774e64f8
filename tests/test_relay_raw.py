"""flowd.relay.ingest.raw over a real socket: what senders that know nothing of FLW push, and what becomes of it."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, Listener, Peer, counters, running, wait_until

from flowd.client import request
from flowd.errors import ConfigError, FilterError
from flowd.relay.config import Config, load_config
from flowd.relay.daemon import Daemon
from flowd.wire import Ack
from flowd.wire.limits import BATCH_BYTES, FRAME_MAX_BYTES, LINE_MAX_BYTES, PAYLOAD_MAX_BYTES

REFUSED = 'flowd_raw_refused_messages_total{{reason="{}"}}'


@contextmanager
def pushing(path: Path, high_water_mark: int = 0) -> Iterator[zmq.Socket[bytes]]:
    """A bare PUSH at the raw socket."""
    with zmq.Context.instance().socket(zmq.PUSH) as pusher:
        pusher.setsockopt(zmq.SNDHWM, high_water_mark)
        pusher.linger = 0
        pusher.connect(f"ipc://{path}")
        yield pusher


@pytest.fixture
def raw_path(tmp_path: Path) -> Path:
    return tmp_path / "raw.sock"


@pytest.fixture
def config(tmp_path: Path, raw_path: Path) -> Iterator[Config]:
    with running(tmp_path, sources__raw__bind=[f"ipc://{raw_path}"]) as (_, config):
        yield config


def hear_lines(listener: Listener, size_bytes: int) -> list[bytes]:
    """The payloads of batches until they have this many bytes."""
    heard: list[bytes] = []
    while sum(map(len, heard)) < size_bytes:
        heard.append(bytes(listener.hear_live().payload))
    return heard


def await_counter(config: Config, name: str, value: int) -> None:
    wait_until(lambda: counters(config).get(name) == value, f"{name} = {value}")


def test_frames_become_batches_and_are_filtered(config: Config, raw_path: Path) -> None:
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as pusher:
        pusher.send(KEPT[:-1])
        pusher.send(DROPPED + KEPT + DROPPED)
        pusher.send(DROPPED[:-1])
        pusher.send(KEPT + KEPT[:-1])
        assert b"".join(hear_lines(listener, 4 * len(KEPT))) == KEPT * 4
    flows = request(config.endpoint("admin"), "status")["streams"]["flows"]
    assert (flows["lines"], flows["kept_lines"], flows["bytes"]) == (7, 4, 4 * len(KEPT) + 3 * len(DROPPED))
    assert counters(config)["flowd_raw_frames_total"] == 4


def test_lines_are_carried_byte_for_byte_and_in_order(config: Config, raw_path: Path) -> None:
    frames = [b"\n", b"\r\n", b"\0", b"\xff\xfe", b" \n\n", *(b"%d" % n for n in range(20_000))]
    sent = b"".join(frame if frame.endswith(b"\n") else frame + b"\n" for frame in frames)
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as pusher:
        for frame in frames:
            pusher.send(frame)
        assert b"".join(hear_lines(listener, len(sent))) == sent


def test_a_batch_is_cut_at_its_size(config: Config, raw_path: Path) -> None:
    frame = b"x" * (BATCH_BYTES // 4) + b"\n"  # three of them fit, four do not
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as pusher:
        for _ in range(40):
            pusher.send(frame)
        heard = hear_lines(listener, 40 * len(frame))
    assert b"".join(heard) == frame * 40
    assert max(map(len, heard)) == 3 * len(frame)


def test_a_long_line_makes_a_batch_of_its_own(config: Config, raw_path: Path) -> None:
    longest = b"x" * LINE_MAX_BYTES
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as pusher:
        pusher.send(KEPT)
        pusher.send(longest)
        pusher.send(KEPT)
        heard = hear_lines(listener, 2 * len(KEPT) + PAYLOAD_MAX_BYTES)
    assert heard == [KEPT, longest + b"\n", KEPT]


def test_what_is_no_frame_of_lines_is_counted_and_the_others_are_taken(config: Config, raw_path: Path) -> None:
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as pusher:
        pusher.send(b"")
        pusher.send(b"")
        pusher.send(b"x" * PAYLOAD_MAX_BYTES)  # with its newline it is one byte too long
        pusher.send(b"x" * FRAME_MAX_BYTES)
        pusher.send_multipart([KEPT] * 2)
        pusher.send_multipart([b"topic", *[KEPT] * 1000])
        pusher.send_multipart([b"", KEPT])
        pusher.send(KEPT)
        assert listener.hear_live().payload == KEPT
    found = counters(config)
    assert {reason: found[REFUSED.format(reason)] for reason in ("empty", "too_big", "multipart")} == {
        "empty": 2,
        "too_big": 2,
        "multipart": 3,
    }
    assert found["flowd_raw_frames_total"] == 1


def test_a_frame_over_the_sockets_limit_ends_its_connection_only(config: Config, raw_path: Path) -> None:
    with Listener(config.endpoint("live")) as listener, pushing(raw_path) as other, pushing(raw_path) as pusher:
        other.send(KEPT)
        assert listener.hear_live().payload == KEPT
        monitor = pusher.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        pusher.send(b"x" * (FRAME_MAX_BYTES + 1))
        assert monitor.poll(DEADLINE_S * 1000), "the connection was not ended"
        pusher.disable_monitor()
        other.send(KEPT)
        assert listener.hear_live().payload == KEPT


def test_raw_and_ingest_share_a_stream_and_its_sequences(config: Config, raw_path: Path) -> None:
    with (
        Listener(config.endpoint("live")) as listener,
        Peer(config.endpoint("ingest")) as peer,
        pushing(raw_path) as pusher,
    ):
        peer.hello()
        assert isinstance(peer.send(1, KEPT), Ack)
        pusher.send(KEPT)
        heard = [listener.hear_live() for _ in range(2)]
    assert [(live.header.q, live.header.k, bytes(live.payload)) for live in heard] == [(1, 0, KEPT), (2, 1, KEPT)]


def test_a_stream_of_its_own_has_its_view_at_once(tmp_path: Path, raw_path: Path) -> None:
    overrides = {"sources__raw__bind": [f"ipc://{raw_path}"], "sources__raw__stream": "audit"}
    with running(tmp_path, **overrides) as (_, config):
        with Listener(config.endpoint("live"), b"audit\0") as listener, pushing(raw_path) as pusher:
            pusher.send(DROPPED)  # the filters are for flows
            assert listener.hear_live().payload == DROPPED
        assert stat.S_IMODE(raw_path.stat().st_mode) == 0o660
    assert not raw_path.exists()


def test_filters_that_cannot_be_compiled_end_the_start(tmp_path: Path, raw_path: Path) -> None:
    filters = tmp_path / "flow"
    filters.write_text("<filter")
    overrides = {
        "runtime.dir": tmp_path / "run",
        "runtime.state_dir": tmp_path / "state",
        "filters.path": filters,
        "sources.raw.bind": [f"ipc://{raw_path}"],
    }
    config = load_config(None, overrides, {})
    with pytest.raises(FilterError):
        Daemon(config)
    assert not raw_path.exists()


def test_drain_takes_what_was_pushed(tmp_path: Path, raw_path: Path) -> None:
    with DaemonProcess(tmp_path, sources__raw__bind=[f"ipc://{raw_path}"]) as daemon:
        with Listener(daemon.endpoint("live")) as listener, pushing(raw_path) as pusher:
            pusher.send(KEPT)
            assert listener.hear_live().payload == KEPT
            pusher.send(KEPT[:-1])
            pusher.send(KEPT[:-1])
            code, said = daemon.terminate()
            heard = hear_lines(listener, 2 * len(KEPT))
        assert (code, "WARNING" in said, b"".join(heard)) == (0, False, KEPT * 2)


def test_drain_does_not_wait_for_senders_that_go_on(tmp_path: Path, raw_path: Path) -> None:
    is_over = threading.Event()

    def push() -> None:
        with pushing(raw_path, 100) as pusher:
            pusher.setsockopt(zmq.SNDTIMEO, 100)
            while not is_over.is_set():
                with suppress(zmq.Again):
                    pusher.send(KEPT * 100)

    with DaemonProcess(tmp_path, runtime__drain_s=60, sources__raw__bind=[f"ipc://{raw_path}"]) as daemon:
        sender = threading.Thread(target=push)
        sender.start()
        try:
            wait_until(lambda: daemon.status()["streams"]["flows"]["lines"], "the first lines")
            code, said = daemon.terminate()
        finally:
            is_over.set()
            sender.join()
    assert code == 0
    assert "raw senders were still sending; what they had sent is lost" in said


@pytest.mark.parametrize(
    ("section", "message", "hint"),
    [
        (
            'bind = ["tcp://127.0.0.1:5514"]',
            "tcp://127.0.0.1:5514: raw ingest has no keys and is local",
            "use an ipc://",
        ),
        ('bind = ["ipc:///run/x/ingest.sock"]', "ipc:///run/x/ingest.sock: another lane has this endpoint", "give it"),
        ('bind = ["raw.sock"]', "raw.sock: not an endpoint", "write ipc:///"),
        ('stream = "a b"', "stream 'a b' is no legal name", "1 to 128"),
    ],
)
def test_settings_that_cannot_work_are_told(tmp_path: Path, section: str, message: str, hint: str) -> None:
    path = tmp_path / "flowd.toml"
    path.write_text(f'[runtime]\ndir = "/run/x"\n\n[sources.raw]\n{section}\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, None, {})
    ((file, line, _, said, hinted, _),) = caught.value.problems
    assert (file, line, said) == (str(path), 5, message)
    assert hinted.startswith(hint)
