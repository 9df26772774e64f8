"""Changing the filters of a running daemon: by command, by signal, by their files; and the emergency switch."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from relay_bed import DEADLINE_S, DROP_DEV, DROPPED, KEPT, DaemonProcess, Listener, Peer, batch, running, wait_until

from flowd.cli.status_tables import render_status
from flowd.client import Producer, request
from flowd.errors import Refused
from flowd.relay.config import Config

DROP_PROD = DROP_DEV.replace("dev", "prod")
DROP_OTHER = DROP_DEV.replace("dev", "other")
BROKEN = DROP_DEV.replace("/^dev$/", "/^(dev$/")
LINES = KEPT * 30 + DROPPED * 70


def ask(config: Config, op: str, **arguments: Any) -> dict[str, Any]:
    return request(config.endpoint("admin"), op, DEADLINE_S, **arguments)


def decided(status: dict[str, Any], stream: str = "flows") -> dict[str, int]:
    return {rule["name"]: rule["lines"] for rule in status["streams"][stream]["rules"]}


def reloads(status: dict[str, Any]) -> dict[str, int]:
    prefix = "flowd_reloads_total"
    return {name[len(prefix) :]: value for name, value in status["counters"].items() if name.startswith(prefix)}


def mount(folder: Path, version: str, text: str) -> None:
    """Writes a ConfigMap's mount as the kubelet does: a new folder, and a link to it that is swapped."""
    (folder / version).mkdir(parents=True)
    (folder / version / "flow").write_text(text)
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").rename(folder / "..data")
    if not (folder / "flow").is_symlink():
        (folder / "flow").symlink_to("..data/flow")


def test_reload_takes_over_between_two_batches(tmp_path: Path) -> None:
    with (
        running(tmp_path, filters__watch=False) as (_, config),
        Listener(config.endpoint("live")) as listener,
        Peer(config.endpoint("ingest")) as peer,
    ):
        peer.hello()
        peer.send(1, KEPT + DROPPED)
        (tmp_path / "flow").write_text(DROP_PROD)
        assert ask(config, "reload")["result"] == "loaded"
        peer.send(2, KEPT + DROPPED)
        first, second = listener.hear_live(), listener.hear_live()
        assert [(live.header.g, bytes(live.payload)) for live in (first, second)] == [(1, KEPT), (2, DROPPED)]
        status = ask(config, "status")
        assert (status["generation"], status["streams"]["flows"]["generation"]) == (2, 2)
        assert reloads(status) == {'{result="loaded"}': 1}


def test_reload_of_what_says_the_same_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        os.utime(tmp_path / "flow", (1, 1))
        answer = ask(config, "reload")
        assert (answer["result"], answer["generation"]) == ("unchanged", 1)


def test_broken_filters_leave_the_old_ones_and_are_told_with_their_place(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        (tmp_path / "flow").write_text(BROKEN)
        answer = ask(config, "reload")
        assert (answer["result"], answer["generation"]) == ("failed", 1)
        place = f"{tmp_path / 'flow'}:5:13: "
        assert [problem.startswith(place) for problem in answer["problems"]] == [True]
        peer.send(1, KEPT + DROPPED)
        status = ask(config, "status")
        assert status["last_reload"]["result"] == "failed"
        assert status["last_reload"]["problems"] == answer["problems"]
        assert status["state"] == "degraded"
        assert status["reasons"][0].startswith(f"filters: {place}")
        assert reloads(status) == {'{result="failed"}': 1}
        assert decided(status) == {"filter1.exclude1": 1, "default": 1}
        (tmp_path / "flow").write_text(DROP_DEV)
        assert ask(config, "reload")["result"] == "unchanged"
        assert ask(config, "health")["state"] == "ok"


def test_missing_filters_leave_the_old_ones(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        (tmp_path / "flow").unlink()
        answer = ask(config, "reload")
        assert (answer["result"], answer["problems"]) == ("failed", [f"{tmp_path / 'flow'}: No such file or directory"])


def test_hits_stay_with_rules_that_say_the_same(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, LINES)
        (tmp_path / "flow").write_text("\n" + DROP_OTHER + DROP_DEV)
        assert ask(config, "reload")["result"] == "loaded"
        peer.send(2, LINES)
        assert decided(ask(config, "status")) == {"filter1.exclude1": 0, "filter2.exclude1": 140, "default": 60}
        (tmp_path / "flow").write_text(DROP_OTHER)
        assert ask(config, "reload")["result"] == "loaded"
        peer.send(3, LINES)
        status = ask(config, "status")
        assert decided(status) == {"filter1.exclude1": 0, "default": 160, "retired": 140}
        flows = status["streams"]["flows"]
        assert sum(rule["bytes"] for rule in flows["rules"]) == flows["bytes"] == 3 * len(LINES)


def test_filters_that_would_drop_far_more_are_refused_unless_forced(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        for sequence in range(1, 11):
            peer.send(sequence, KEPT * 100)
        (tmp_path / "flow").write_text(DROP_PROD)
        dry = ask(config, "reload", dry=True)
        assert (dry["result"], dry["generation"]) == ("refused", 1)
        assert dry["streams"]["flows"] == {
            "rules": 1,
            "rules_come": 1,
            "rules_gone": 1,
            "come": ["exclude source_namespace ^prod$"],
            "gone": ["exclude source_namespace ^dev$"],
            "sampled_lines": 80,
            "dropped_lines": 0,
            "would_drop_lines": 80,
            "newly_dropped_lines": 80,
            "newly_kept_lines": 0,
            "changes": [
                {
                    "change": "newly dropped",
                    "old_verdict": "keep",
                    "old_rule": "default",
                    "new_verdict": "drop",
                    "new_rule": "filter1.exclude1",
                    "lines": 80,
                    "examples": [KEPT.decode().rstrip()] * 2,
                }
            ],
            "more_changes": 0,
        }
        assert reloads(ask(config, "status")) == {}
        assert ask(config, "reload")["result"] == "refused"
        status = ask(config, "status")
        assert (status["generation"], status["last_reload"]["result"], status["state"]) == (1, "refused", "ok")
        assert decided(status) == {"filter1.exclude1": 0, "default": 1000}, "trying is not deciding"
        assert ask(config, "reload", dry=True, force=True)["result"] == "loaded"
        assert ask(config, "reload", force=True)["generation"] == 2
        assert reloads(ask(config, "status")) == {'{result="refused"}': 1, '{result="loaded"}': 1}


def test_guard_lets_pass_what_it_is_told_to(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"filters__watch": False, "filters__reload_max_extra_drop": 1.0}
    with running(tmp_path, **settings) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, KEPT * 100)
        (tmp_path / "flow").write_text(DROP_PROD)
        assert ask(config, "reload")["result"] == "loaded"


def test_bypass_keeps_everything_and_is_shown(tmp_path: Path) -> None:
    with (
        running(tmp_path, filters__watch=False) as (_, config),
        Listener(config.endpoint("live")) as listener,
        Peer(config.endpoint("ingest")) as peer,
    ):
        peer.hello()
        peer.send(1, LINES)
        assert ask(config, "bypass", on=True) == {"bypass": True, "generation": 2}
        peer.send(2, LINES)
        peer.send(3, DROPPED, "dns")
        status = ask(config, "status")
        assert (status["bypass"], status["state"], status["reasons"]) == (
            True,
            "degraded",
            ["bypass: every line is kept"],
        )
        assert decided(status) == {"filter1.exclude1": 70, "default": 30, "bypass": 100}
        assert decided(status, "dns") == {"default": 0, "bypass": 1}
        (tmp_path / "flow").write_text(DROP_OTHER)
        assert ask(config, "reload")["bypass"] is True
        assert ask(config, "bypass", on=False) == {"bypass": False, "generation": 4}
        assert ask(config, "bypass", on=False) == {"bypass": False, "generation": 4}
        peer.send(4, LINES)
        heard = [listener.hear_live() for _ in range(3)]
        assert [(live.header.g, live.header.n) for live in heard] == [(1, 30), (2, 100), (4, 100)]
        assert ask(config, "health")["state"] == "ok"
        with pytest.raises(Refused, match="on is None"):
            ask(config, "bypass")
        with pytest.raises(Refused, match="dry is 1"):
            ask(config, "reload", dry=1)


def test_reload_under_full_traffic_loses_no_line(tmp_path: Path) -> None:
    """Every batch is decided whole by one generation, and says which."""
    texts = [DROP_DEV, DROP_PROD]
    kept_by = {1: KEPT, 0: DROPPED}
    batches = 3000
    with (
        running(tmp_path, filters__watch=False) as (_, config),
        Listener(config.endpoint("live")) as listener,
        Peer(config.endpoint("ingest")) as peer,
    ):
        peer.hello()
        is_over = threading.Event()
        loaded: list[int] = []

        def keep_reloading() -> None:
            while not is_over.is_set():
                (tmp_path / "flow").write_text(texts[(len(loaded) + 1) % 2])
                loaded.append(ask(config, "reload", force=True)["generation"])

        reloading = threading.Thread(target=keep_reloading)
        reloading.start()
        lines = (KEPT + DROPPED) * 50
        heard = []
        try:
            for sequence in range(1, batches + 1):
                peer.say(batch(sequence, lines), lines)
                heard.append(listener.hear_live())
                peer.hear_ack(sequence)
        finally:
            is_over.set()
            reloading.join(DEADLINE_S)
        assert [live.header.q for live in heard] == list(range(1, batches + 1))
        wrong = [live.header for live in heard if bytes(live.payload) != kept_by[live.header.g % 2] * 50]
        assert wrong == []
        generations = [live.header.g for live in heard]
        assert generations == sorted(generations)
        assert len(set(generations)) > 2
        assert loaded == list(range(2, len(loaded) + 2))
        flows = ask(config, "status")["streams"]["flows"]
        assert (flows["lines"], flows["kept_lines"]) == (batches * 100, batches * 50)
        assert sum(rule["lines"] for rule in flows["rules"]) == batches * 100


def test_all_streams_change_together(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, KEPT, "dns")
        (tmp_path / "flow").write_text(DROP_OTHER)
        ask(config, "reload")
        peer.send(2, KEPT, "audit")
        streams = ask(config, "status")["streams"]
        assert {name: stream["generation"] for name, stream in streams.items()} == {"flows": 2, "dns": 2, "audit": 2}


def test_hangup_reloads(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, filters__watch=False) as daemon:
        assert daemon.process is not None
        (tmp_path / "flow").write_text(DROP_OTHER)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.status()["generation"] == 2, "the reload")
        (tmp_path / "flow").write_text(BROKEN)
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.status()["last_reload"]["result"] == "failed", "the refusal")
        assert daemon.status()["last_reload"]["by"] == "signal"
        code, said = daemon.terminate()
        assert code == 0
        assert f"{tmp_path / 'flow'}:5:13: " in said


def test_changed_file_is_loaded_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        (tmp_path / "flow").write_text(DROP_OTHER)
        wait_until(lambda: ask(config, "status")["generation"] == 2, "the reload")
        (tmp_path / "flow").write_text(BROKEN)
        wait_until(lambda: ask(config, "status")["last_reload"]["result"] == "failed", "the refusal")
        (tmp_path / "flow").unlink()
        wait_until(lambda: "No such file" in str(ask(config, "status")["last_reload"]), "the missing file")
        (tmp_path / "new").write_text(DROP_DEV)
        (tmp_path / "new").rename(tmp_path / "flow")
        wait_until(lambda: ask(config, "status")["state"] == "ok", "the reload of the moved file")
        status = ask(config, "status")
        assert (status["generation"], status["last_reload"]["by"], status["watch"]) == (3, "watch", True)


def test_changed_include_is_loaded_by_itself(tmp_path: Path) -> None:
    main = tmp_path / "main.conf"
    main.write_text(f"@include {tmp_path}/parts/*.conf\n")
    (tmp_path / "parts").mkdir()
    with running(tmp_path, filters__path=str(main)) as (_, config):
        (tmp_path / "parts" / "one.conf").write_text(DROP_DEV)
        wait_until(lambda: ask(config, "status")["generation"] == 2, "the new part")
        (tmp_path / "parts" / "one.conf").write_text(DROP_OTHER)
        wait_until(lambda: ask(config, "status")["generation"] == 3, "the changed part")


def test_swapped_configmap_is_loaded_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "mount"
    mount(folder, "..2026_1", DROP_DEV)
    with running(tmp_path, filters__path=str(folder)) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        mount(folder, "..2026_2", DROP_PROD)
        wait_until(lambda: ask(config, "status")["generation"] == 2, "the swap")
        peer.send(1, LINES)
        assert decided(ask(config, "status")) == {"filter1.exclude1": 30, "default": 70}
        mount(folder, "..2026_3", BROKEN)
        wait_until(lambda: ask(config, "status")["last_reload"]["result"] == "failed", "the refusal")
        assert ask(config, "status")["last_reload"]["problems"][0].startswith(f"{folder / 'flow'}:5:13: ")


def test_nothing_is_watched_where_nobody_asks_for_it(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        assert ask(config, "status")["watch"] is False


def test_producers_notice_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        producer.send(LINES * 1000)
        (tmp_path / "flow").write_text(DROP_OTHER)
        ask(config, "reload", force=True)
        producer.send(LINES * 1000)
        producer.flush()
        assert ask(config, "status")["streams"]["flows"]["lines"] == 200_000


def test_a_rule_that_ends_is_a_new_generation_and_status_shows_when(tmp_path: Path) -> None:
    end_s = time.time() + 4
    end = datetime.fromtimestamp(end_s, UTC).isoformat()
    rule = f"""<filter flows>
  @type flowd
  <exclude>
    name short
    until {end}
    key source_namespace
    equals dev
  </exclude>
  <exclude>
    name quiet
    shadow true
    key source_namespace
    equals prod
  </exclude>
</filter>
"""
    with (
        running(tmp_path, filters__watch=False) as (_, config),
        Listener(config.endpoint("live")) as listener,
        Peer(config.endpoint("ingest")) as peer,
    ):
        (tmp_path / "flow").write_text(rule)
        assert ask(config, "reload")["generation"] == 2
        peer.hello()
        peer.send(1, KEPT + DROPPED)
        assert listener.hear_live().header.g == 2
        status = ask(config, "status")
        rules = {rule["name"]: rule for rule in status["streams"]["flows"]["rules"]}
        assert rules["short"]["until_ns"] == pytest.approx(end_s * 1e9, abs=1e6)
        assert (rules["short"]["lines"], rules["quiet"]["is_shadow"], rules["quiet"]["lines"]) == (1, True, 1)
        assert "until " in render_status(status)
        wait_until(lambda: ask(config, "status")["streams"]["flows"]["generation"] == 3, "the rule to end")
        peer.send(2, KEPT + DROPPED)
        ended = listener.hear_live()
        assert (ended.header.g, bytes(ended.payload)) == (3, KEPT + DROPPED)
        assert time.time() >= end_s
        status = ask(config, "status")
        assert "ended " in render_status(status)
        assert decided(status)["short"] == 1
