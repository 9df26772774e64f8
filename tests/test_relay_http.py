"""Metrics and health over HTTP, asked of running daemons."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path

import pytest
from cli_bed import ROOT, flowd
from http_bed import ANYWHERE, ask, find_url, scrape, value_of, wait_for
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, DaemonProcess, Peer, feed, running, wait_until

from flowd.client import Consumer, request
from flowd.errors import EXIT_IO, FlowdError
from flowd.relay.config import Config
from flowd.relay.daemon import Daemon
from flowd.relay.health import STANDSTILL_S
from flowd.relay.http.desk import PATHS, tell_life, tell_readiness

FLOWS = {"stream": "flows"}


def test_what_the_daemon_carries_is_what_metrics_say(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        url = find_url(config)
        before = scrape(url)
        assert value_of(before, "flowd_up") == 1
        assert value_of(before, "flowd_lines_total", **FLOWS) == 0
        assert value_of(before, "flowd_refused_batches_total", reason="crc") == 0
        feed(config, KEPT * 3 + DROPPED * 2, b"}\n")
        values = wait_for(url, "flowd_lines_total", 6, **FLOWS)
        totals = request(config.endpoint("admin"), "status", DEADLINE_S)["streams"]["flows"]
        assert value_of(values, "flowd_lines_total", **FLOWS) == totals["lines"] == 6
        assert value_of(values, "flowd_bytes_total", **FLOWS) == totals["bytes"]
        assert value_of(values, "flowd_batches_total", **FLOWS) == 2
        assert value_of(values, "flowd_kept_lines_total", **FLOWS) == 4
        assert value_of(values, "flowd_dropped_lines_total", **FLOWS) == 2
        assert value_of(values, "flowd_malformed_lines_total", **FLOWS) == 1
        rules = {dict(labels)["rule"]: value for labels, value in values["flowd_rule_lines_total"].items()}
        assert rules == {"default": 4, "filter1.exclude1": 2}
        assert value_of(values, "flowd_journal_batches") == 2
        assert value_of(values, "process_start_time_seconds") > 0


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        url = find_url(config)
        feed(config, KEPT + DROPPED)
        wait_for(url, "flowd_lines_total", 2, **FLOWS)
        plain, opened = scrape(url), scrape(url, is_open=True)
        assert plain.keys() == opened.keys()
        assert plain["flowd_rule_lines_total"] == opened["flowd_rule_lines_total"]
        assert ask(url, "/metrics").headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        answer = ask(url, "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text;")
        assert answer.body.endswith(b"# EOF\n")


def test_a_consumer_that_lags_is_measured(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        url = find_url(config)
        feed(config, KEPT * 2, KEPT * 3)
        siem = {"consumer": "siem", "stream": "flows"}
        at = tuple(sorted(siem.items()))
        with Consumer(config.endpoint("consume"), name="siem", timeout_s=DEADLINE_S) as consumer:
            assert next(iter(consumer)).lines == KEPT * 2
            values = wait_for(url, "flowd_consumer_attached", 1, **siem)
            assert value_of(values, "flowd_consumer_attached", **siem) == 1
            assert value_of(values, "flowd_consumer_lag_batches", **siem) == 2
            assert value_of(values, "flowd_consumer_lag_bytes", **siem) == 5 * len(KEPT)
            consumer.commit()
            wait_until(lambda: scrape(url).get("flowd_consumer_lag_lines") == {at: 3}, "the commit's effect")
        values = wait_until(
            lambda: found if not value_of(found := scrape(url), "flowd_consumer_attached", **siem) else {}, "the end"
        )
        assert value_of(values, "flowd_consumer_lag_batches", **siem) == 1
        assert value_of(values, "flowd_consumer_gone_batches", **siem) == 0
        assert value_of(values, "flowd_consumer_lag_seconds", **siem) > 0
        assert value_of(values, "flowd_consumers_left_off") == 0


def test_live_and_ready_are_told_with_their_reasons(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        url = find_url(config)
        alive, ready = ask(url, "/healthz"), ask(url, "/readyz")
        assert (alive.status, alive.json()["is_live"], alive.json()["state"]) == (200, True, "ok")
        assert 0 <= alive.json()["turned_ago_s"] < STANDSTILL_S
        assert (ready.status, ready.json()["state"], ready.json()["is_ready"]) == (200, "ok", True)
        request(config.endpoint("admin"), "bypass", DEADLINE_S, on=True)
        ready = ask(url, "/readyz")
        assert (ready.status, ready.json()["reasons"]) == (200, ["bypass: every line is kept"])
        values = wait_for(url, "flowd_bypass", 1)
        assert value_of(values, "flowd_degraded", concern="bypass") == 1
        assert value_of(values, "flowd_state", state="degraded") == 1
        assert value_of(values, "flowd_generation") == 2


def test_a_draining_daemon_lives_and_is_not_ready(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, http__listen="127.0.0.1:0", runtime__drain_s=DEADLINE_S) as daemon:
        url = daemon.status()["endpoints"]["http"][0]
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            assert daemon.process is not None
            os.kill(daemon.process.pid, 15)

            def is_draining() -> bool:
                peer.socket.send(b"noise")  # keeps the end from finding that all is quiet
                return ask(url, "/readyz").json()["state"] == "draining"

            wait_until(is_draining, "the end's begin")
            peer.socket.send(b"noise")
            ready, alive = ask(url, "/readyz"), ask(url, "/healthz")
        assert (ready.status, ready.json()["state"], ready.json()["is_ready"]) == (503, "draining", False)
        assert alive.status == 200
        assert daemon.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("state", "still_s", "is_alive", "is_ready"),
    [
        ("ok", 0.2, True, True),
        ("degraded", STANDSTILL_S - 0.1, True, True),
        ("ok", STANDSTILL_S, False, True),
        ("draining", 1.0, True, False),
        ("draining", STANDSTILL_S, False, False),
        ("ended", 0.0, False, False),
    ],
)
def test_what_lives_and_what_is_ready(state: str, still_s: float, is_alive: bool, is_ready: bool) -> None:
    status = {True: HTTPStatus.OK, False: HTTPStatus.SERVICE_UNAVAILABLE}
    assert tell_life({"state": state, "turned_ago_s": still_s}).status == status[is_alive]
    assert tell_readiness({"state": state}).status == status[is_ready]


def test_only_these_paths_and_methods_are_served(tmp_path: Path) -> None:
    with running(tmp_path, **ANYWHERE) as (_, config):
        url = find_url(config)
        for path in PATHS:
            got, head = ask(url, path), ask(url, path, "HEAD")
            assert (got.status, head.status, head.body) == (200, 200, b"")
            assert int(got.headers["Content-Length"]) == len(got.body)
            posted = ask(url, path, "POST", b"x" * 100_000)
            assert (posted.status, posted.headers["Allow"]) == (405, "GET, HEAD")
        lost = ask(url, "/")
        assert (lost.status, lost.body) == (
            404,
            b"flowd: there is nothing at this path; try /metrics, /healthz, /readyz\n",
        )
        values = wait_for(url, "flowd_http_refused_requests_total", 1, reason="path")
        assert value_of(values, "flowd_http_refused_requests_total", reason="method") == len(PATHS)
        assert value_of(values, "flowd_http_refused_requests_total", reason="path") == 1


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_ipv6_is_served_where_there_is_any(tmp_path: Path) -> None:
    if not has_ipv6():
        with pytest.raises(FlowdError, match=r"http://\[::1\]:0 cannot be bound"), open_ipv6(tmp_path):
            pass
        return
    with open_ipv6(tmp_path) as (_, config):
        url = find_url(config)
        assert url.startswith("http://[::1]:")
        assert ask(url, "/readyz").status == 200


def open_ipv6(tmp_path: Path) -> AbstractContextManager[tuple[Daemon, Config]]:
    return running(tmp_path, http__listen="[::1]:0")


def test_any_address_of_a_pod_is_served_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), running(tmp_path, http__listen="0.0.0.0:0") as (_, config):
        url = find_url(config)
        assert ask(url.replace("0.0.0.0", "127.0.0.1"), "/healthz").status == 200
    said = [record.getMessage() for record in caplog.records]
    assert f"metrics and health: {url}" in said
    assert f"http: others than this machine reach {url}, and can read the metrics, rules' names too" in said


def test_a_taken_port_ends_the_start_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text(DROP_DEV)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "flowd.toml").write_text(f'[http]\nlisten = "{listen}"\n')
        places = ["--runtime-dir", tmp_path / "run", "--state-dir", tmp_path / "state"]
        done = flowd("run", "-c", tmp_path / "flowd.toml", *places)
    assert done.returncode == EXIT_IO
    assert f"http://{listen} cannot be bound: Address already in use" in done.stderr.decode()
    assert not list((tmp_path / "run").glob("*.sock"))


def test_without_http_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        assert daemon.status()["endpoints"] == {}
        assert daemon.process is not None
        threads = Path(f"/proc/{daemon.process.pid}/task").glob("*/comm")
        assert "flowd-http" not in {thread.read_text().strip() for thread in threads}
    code = "import sys, flowd.relay.daemon; print({'prometheus_client', 'flowd.relay.http.server'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
