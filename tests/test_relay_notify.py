"""flowd.relay.notify and health: what a service manager hears on a real datagram socket, and how the daemon is."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from cli_bed import flowd
from curve_bed import ANY_PORT, Keys
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, Listener, Peer, batch, settings, wait_until

from flowd.client import request
from flowd.errors import EXIT_DONE, EXIT_NO
from flowd.relay.config import load_config
from flowd.relay.daemon import Daemon
from flowd.relay.health import RESTART_AFTER_S, STANDSTILL_S, Health, is_live, is_ready
from flowd.relay.notify import TURN_S, Notifier


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(DEADLINE_S)

    def hear(self) -> dict[str, str]:
        """The next notification."""
        return dict(line.split("=", 1) for line in self.socket.recv(65536).decode().split("\n"))

    def hear_with(self, name: str) -> dict[str, str]:
        """The next notification that has this name."""
        while name not in (found := self.hear()):
            pass
        return found

    def is_silent(self) -> bool:
        """Whether nothing waits to be heard."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE_S)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@flowd-{secrets.token_hex(8)}"
    manager = Manager(address)
    yield manager
    manager.socket.close()


@contextmanager
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> Iterator[DaemonProcess]:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with DaemonProcess(tmp_path) as daemon:
        yield daemon


def test_daemon_says_ready_then_well_then_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: Manager
) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with managed(tmp_path, monkeypatch, **environ) as daemon:
        assert manager.hear() == {"READY": "1", "STATUS": "ok; 0 producers, 0 lines so far"}
        assert request(daemon.endpoint("admin"), "health")["state"] == "ok"  # ready meant that it answers
        for _ in range(3):
            assert manager.hear_with("WATCHDOG") == {"WATCHDOG": "1"}
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            peer.send(1, KEPT + DROPPED)
            while manager.hear_with("STATUS")["STATUS"] != "ok; 1 producers, 2 lines so far":
                pass
        code, _ = daemon.terminate()
        assert code == 0
        assert manager.hear_with("STOPPING") == {"STOPPING": "1", "STATUS": "draining"}


def test_watchdog_of_another_process_is_not_petted(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "x"), "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}
    assert Notifier.from_environment(environ).watchdog_s == 0
    assert Notifier.from_environment(environ | {"WATCHDOG_PID": str(os.getpid())}).watchdog_s == 0.2
    assert Notifier.from_environment(environ | {"WATCHDOG_PID": "", "WATCHDOG_USEC": "x"}).watchdog_s == 0
    assert Notifier.from_environment({}).is_heard is False


def test_loop_that_stands_still_is_not_called_well(tmp_path: Path, manager: Manager) -> None:
    notifier = Notifier(manager.address, 0.2)
    may_go_on = threading.Event()
    daemon = Daemon(load_config(None, settings(tmp_path), {}), notifier)
    held = threading.Thread(target=daemon._lanes.tasks.run, args=(lambda: int(may_go_on.wait(DEADLINE_S)),))
    try:
        daemon.announce()
        manager.hear_with("WATCHDOG")
        held.start()
        held_s = time.monotonic()
        while time.monotonic() < held_s + TURN_S + 0.5:  # what comes until then may still be due to earlier turns
            manager.hear()
        while not manager.is_silent():
            pass
        heard = [manager.hear() for _ in range(5)]
        assert heard == [{"STATUS": "ok; 0 producers, 0 lines so far"}] * 5
        may_go_on.set()
        manager.hear_with("WATCHDOG")
    finally:
        may_go_on.set()
        daemon.drain()
        assert daemon.join() == 0
        held.join()


def test_reloading_carries_the_steady_clock(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    notifier.reloaded()
    heard = manager.hear()
    assert heard.pop("RELOADING") == "1"
    assert before_us <= int(heard.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
    assert heard == {}
    assert manager.hear() == {"READY": "1"}


def test_reload_by_signal_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: Manager) -> None:
    with managed(tmp_path, monkeypatch, NOTIFY_SOCKET=manager.address) as daemon:
        assert daemon.process is not None
        assert manager.hear_with("READY")["STATUS"].startswith("ok")
        (tmp_path / "flow").write_text("<filter")  # a failed reload ends as well: the old filters go on
        daemon.process.send_signal(signal.SIGHUP)
        assert set(manager.hear()) == {"RELOADING", "MONOTONIC_USEC"}
        assert manager.hear() == {"READY": "1"}
        health = request(daemon.endpoint("admin"), "health")
        assert health["state"] == "degraded"
        assert health["reasons"][0].startswith(f"filters: {tmp_path / 'flow'}:1:")


def test_manager_that_does_not_listen_is_no_reason_to_end(tmp_path: Path, manager: Manager) -> None:
    Notifier(str(tmp_path / "absent"), 1.0).ready("ok")
    Notifier("x" * 300).ready("ok")
    full = Notifier(manager.address)
    for _ in range(10_000):  # more than the socket holds: what has no room is left out
        full.say("x")
    assert manager.hear() == {"STATUS": "x"}


def test_nobody_is_told_without_a_manager(manager: Manager) -> None:
    notifier = Notifier()
    notifier.ready("ok")
    notifier.stopping()
    assert manager.is_silent()


def test_health_has_its_states() -> None:
    health = Health()
    assert health.describe(is_alive=True, is_draining=False) == {"state": "ok"}
    health.degrade("filters", "flow:1:1: not closed")
    health.degrade("disk", "full")
    reasons = ["disk: full", "filters: flow:1:1: not closed"]
    assert health.describe(is_alive=True, is_draining=False) == {"state": "degraded", "reasons": reasons}
    assert health.describe(is_alive=True, is_draining=True) == {"state": "draining"}
    assert health.describe(is_alive=False, is_draining=False) == {"state": "ended"}
    health.restore("filters")
    health.restore("disk")
    health.restore("disk")
    assert health.describe(is_alive=True, is_draining=False) == {"state": "ok"}


@pytest.mark.parametrize(
    ("state", "turned_ago_s", "live", "ready"),
    [
        ("ok", 0.5, True, True),
        ("degraded", 0.5, True, True),
        ("draining", 0.5, True, False),
        ("ended", 0.5, False, False),
        ("ok", STANDSTILL_S, False, True),
    ],
)
def test_health_says_whether_a_restart_helps_and_whether_lines_are_carried(
    state: str, turned_ago_s: float, live: bool, ready: bool
) -> None:
    health = {"state": state, "turned_ago_s": turned_ago_s}
    assert (is_live(health), is_ready(health)) == (live, ready)


@pytest.mark.parametrize(
    ("up_s", "live"), [(0.0, True), (RESTART_AFTER_S - 1, True), (RESTART_AFTER_S, False), (1e6, False)]
)
def test_a_failed_thread_is_worth_a_restart_every_ten_minutes(up_s: float, live: bool) -> None:
    health = {"state": "degraded", "turned_ago_s": 0.5, "needs_restart": ["tail"], "up_s": up_s}
    assert (is_live(health), is_ready(health)) == (live, True)


def test_a_failed_thread_is_told_until_the_end_begins() -> None:
    health = Health()
    health.fail("tail", "no file is followed any more")
    told = health.describe(is_alive=True, is_draining=False)
    assert 0 <= told.pop("up_s") < DEADLINE_S
    assert told == {
        "state": "degraded",
        "reasons": ["tail: no file is followed any more; restart the daemon"],
        "needs_restart": ["tail"],
    }
    assert health.describe(is_alive=True, is_draining=True) == {"state": "draining"}
    assert health.describe(is_alive=False, is_draining=False) == {"state": "ended"}


def test_where_only_a_restart_helps_probes_and_the_watchdog_ask_for_it(tmp_path: Path, manager: Manager) -> None:
    keys = Keys(tmp_path)
    given = settings(tmp_path) | {
        "live.bind": [ANY_PORT],
        "curve.server_secret_file": str(keys.server_file),
        "curve.allowed_keys_dir": str(keys.allowed),
    }
    config = load_config(None, given, {})
    daemon = Daemon(config, Notifier(manager.address, 0.2))

    def probe(check: str) -> int:
        return flowd("status", "--check", check, "--runtime-dir", config.runtime.dir).returncode

    try:
        daemon.announce()
        manager.hear_with("WATCHDOG")
        assert daemon._remote is not None
        daemon._remote._gate.end()
        reasons = ["tcp: the gate is dead: nothing goes in or out over TCP; restart the daemon"]
        health = request(config.endpoint("admin"), "health")
        assert (health["reasons"], health["needs_restart"]) == (reasons, ["tcp"])
        assert (probe("live"), probe("ready")) == (EXIT_DONE, EXIT_DONE)  # it is young
        daemon._condition._began_s -= RESTART_AFTER_S
        assert (probe("live"), probe("ready")) == (EXIT_NO, EXIT_DONE)
        while not manager.is_silent():
            pass
        assert [list(manager.hear()) for _ in range(5)] == [["STATUS"]] * 5
    finally:
        daemon.drain()
        assert daemon.join() == 0


class Asking(threading.Thread):
    """`drain`, asked for in a thread: the answer comes at the end."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.answer: dict[str, object] = {}
        self.start()

    def run(self) -> None:
        self.answer = request(self.endpoint, "drain", DEADLINE_S)


def test_drain_is_answered_at_the_end_to_all_who_asked(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, Peer(daemon.endpoint("ingest")) as peer:
        peer.hello()
        peer.say(batch(1, KEPT), KEPT)
        asking = [Asking(daemon.endpoint("admin")) for _ in range(3)]
        peer.hear_ack(1)
        for asked in asking:
            asked.join()
        assert [asked.answer for asked in asking] == [{"unfinished": []}] * 3
        assert daemon.process is not None
        assert daemon.process.wait(DEADLINE_S) == 0
        assert {path.name for path in daemon.run_dir.iterdir()} == {"flowd.lock"}


def test_drain_says_what_it_could_not_finish(tmp_path: Path) -> None:
    lines = KEPT * 9000  # each batch takes more than a subscriber's socket buffers
    with DaemonProcess(tmp_path, runtime__drain_s=1) as daemon:
        with Listener(daemon.endpoint("live")) as stalled, Peer(daemon.endpoint("ingest")) as peer:
            stalled.socket.setsockopt(zmq.RCVHWM, 1)
            peer.hello()
            for sequence in range(1, 101):
                peer.send(sequence, lines)
            asked = Asking(daemon.endpoint("admin"))
            wait_until(lambda: request(daemon.endpoint("admin"), "health")["state"] == "draining", "the drain")
            asked.join()
        assert asked.answer == {"unfinished": ["subscribers had not taken everything published; they will see the gap"]}
        assert daemon.process is not None
        assert daemon.process.wait(DEADLINE_S) == 0


def test_watchdog_hears_nothing_of_a_stopped_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: Manager
) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with managed(tmp_path, monkeypatch, **environ) as daemon:
        manager.hear_with("WATCHDOG")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, daemon.process.pid, os.WSTOPPED | os.WNOWAIT)
        while not manager.is_silent():
            pass
        manager.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            manager.hear()
        manager.socket.settimeout(DEADLINE_S)
        daemon.process.send_signal(signal.SIGCONT)
        manager.hear_with("WATCHDOG")
