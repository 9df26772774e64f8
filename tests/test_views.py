"""Views: a stream filtered further, by configuration or by a filter of one's own, live and from the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from relay_bed import (
    DEADLINE_S,
    DROP_DEV,
    DROPPED,
    KEPT,
    DaemonProcess,
    Peer,
    feed,
    running,
    wait_until,
    with_views,
)

import flowd
from flowd.client import Batch, Consumer, Subscriber, request
from flowd.relay.config import Config

DROP_PROD, DROP_TEST = (DROP_DEV.replace("dev", name) for name in ("prod", "test"))
BROKEN = DROP_DEV.replace("/^dev$/", "/^(dev$/")
TEST, OTHER = (KEPT.replace(b"prod", name) for name in (b"test", b"other"))
LINES = KEPT + DROPPED + TEST + OTHER


def ask(config: Config, op: str, **arguments: Any) -> dict[str, Any]:
    return request(config.endpoint("admin"), op, DEADLINE_S, **arguments)


def read(config: Config, stream: str = "flows", **wanted: Any) -> list[Batch]:
    """All that is stored, as a consumer of a view gets it."""
    endpoint = config.endpoint("consume")
    with Consumer(endpoint, stream=stream, start="oldest", until="newest", timeout_s=DEADLINE_S, **wanted) as consumer:
        return list(consumer)


def test_a_view_gives_the_same_lines_live_and_stored_and_by_whichever_name(tmp_path: Path) -> None:
    with (
        running(tmp_path, **with_views(tmp_path, calm=DROP_PROD)) as (_, config),
        Subscriber(config.endpoint("live"), "calm", timeout_s=DEADLINE_S) as named,
        Subscriber(
            config.endpoint("live"), filter=DROP_PROD, consume=config.endpoint("consume"), timeout_s=DEADLINE_S
        ) as own,
    ):
        named.connect()
        own.connect()
        feed(config, LINES, KEPT * 3, OTHER + KEPT)
        kept = [
            lines
            for batch in (LINES, KEPT * 3, OTHER + KEPT)
            if (lines := flowd.compile(DROP_PROD).filter(flowd.compile(DROP_DEV).filter(batch)))
        ]
        assert kept == [TEST + OTHER, OTHER]
        for subscriber in (named, own):
            got = [next(subscriber), next(subscriber)]
            assert [(batch.seq, batch.lines, batch.missed) for batch in got] == [(1, kept[0], 0), (3, kept[1], 0)]
        for wanted in ({"view": "calm"}, {"stream": "calm"}, {"filter": DROP_PROD}):
            assert [(batch.seq, bytes(batch.lines)) for batch in read(config, **wanted)] == [(1, kept[0]), (3, kept[1])]


def test_a_view_that_keeps_nothing_goes_on_and_misses_nothing(tmp_path: Path) -> None:
    with (
        running(tmp_path, **with_views(tmp_path, nothing=DROP_PROD)) as (_, config),
        Subscriber(config.endpoint("live"), "nothing", timeout_s=DEADLINE_S) as subscriber,
    ):
        subscriber.connect()
        feed(config, KEPT, KEPT * 2, KEPT * 3)
        assert read(config, view="nothing") == []
        feed(config, TEST)
        batch = next(subscriber)
        assert (batch.seq, batch.lines, batch.missed, subscriber.missed_batches) == (4, TEST, 0, 0)


def test_a_reload_changes_views_together_with_the_filters(tmp_path: Path) -> None:
    with (
        running(tmp_path, **with_views(tmp_path, calm=DROP_PROD)) as (_, config),
        Subscriber(config.endpoint("live"), "calm", timeout_s=DEADLINE_S) as subscriber,
    ):
        subscriber.connect()
        feed(config, LINES)
        assert next(subscriber).lines == TEST + OTHER
        (tmp_path / "calm").write_text(DROP_TEST)
        (tmp_path / "flow").write_text(DROP_PROD)
        assert ask(config, "reload", force=True)["result"] == "loaded"
        feed(config, LINES)
        batch = next(subscriber)
        assert (batch.lines, batch.generation) == (DROPPED + OTHER, 2)
        assert ask(config, "status")["views"]["calm"]["generation"] == 2
        (tmp_path / "calm").write_text(DROP_DEV)  # a change of a view alone
        assert ask(config, "reload")["result"] == "loaded"
        feed(config, LINES)
        assert next(subscriber).lines == TEST + OTHER


def test_a_broken_view_leaves_all_as_it_was_and_is_told(tmp_path: Path) -> None:
    with running(tmp_path, **with_views(tmp_path, calm=DROP_PROD)) as (_, config):
        (tmp_path / "calm").write_text(BROKEN)
        (tmp_path / "flow").write_text(DROP_TEST)
        answer = ask(config, "reload")
        place = f"{tmp_path / 'calm'}:5:13: "
        assert (answer["result"], answer["generation"]) == ("failed", 1)
        assert [problem.startswith(place) for problem in answer["problems"]] == [True]
        status = ask(config, "status")
        assert status["reasons"][0].startswith(f"filters: {place}")
        assert status["counters"]['flowd_reloads_total{result="failed"}'] == 1
        feed(config, LINES)
        assert [bytes(batch.lines) for batch in read(config)] == [KEPT + TEST + OTHER]
        assert [bytes(batch.lines) for batch in read(config, view="calm")] == [TEST + OTHER]
        (tmp_path / "calm").write_text(DROP_PROD)
        assert ask(config, "reload")["result"] == "loaded"
        assert ask(config, "health")["state"] == "ok"


def test_a_registered_view_survives_a_reload(tmp_path: Path) -> None:
    with (
        running(tmp_path, filters__watch=False) as (_, config),
        Consumer(config.endpoint("consume"), "siem", filter=DROP_TEST, timeout_s=DEADLINE_S) as consumer,
    ):
        feed(config, LINES)
        assert next(consumer).lines == KEPT + OTHER
        (tmp_path / "flow").write_text(DROP_PROD)
        ask(config, "reload", force=True)
        feed(config, LINES)
        assert next(consumer).lines == DROPPED + OTHER
        assert len(ask(config, "status")["views"]) == 1


@pytest.mark.parametrize(
    "text",
    [BROKEN, "\0", "<filter flows>\n" * 500, DROP_DEV + "</filter>", "<filter flows>\n@type kubernetes\n</filter>"],
    ids=["pattern", "nul", "open", "closed", "type"],
)
def test_a_filter_that_is_none_is_refused_and_the_daemon_is_well(tmp_path: Path, text: str) -> None:
    with running(tmp_path) as (_, config):
        with (
            pytest.raises(flowd.Refused) as refused,
            Consumer(config.endpoint("consume"), filter=text, timeout_s=DEADLINE_S) as consumer,
        ):
            next(consumer)
        assert refused.value.code == "filter"
        counter = 'flowd_refused_attachments_total{reason="filter"}'
        wait_until(lambda: ask(config, "status")["counters"].get(counter) == 1, "the refusal to be counted")
        assert (ask(config, "status")["views"], ask(config, "health")["state"]) == ({}, "ok")


def test_a_hostile_pattern_costs_a_verdict_and_nobody_else(tmp_path: Path) -> None:
    bomb = DROP_DEV.replace("/^dev$/", r"/^(a+)+\1$/")
    line = b'{"source_namespace":"' + b"a" * 60 + b'!"}\n'
    with running(tmp_path) as (_, config), Peer(config.endpoint("ingest")) as peer:
        peer.hello()
        peer.send(1, line * 20)
        assert [bytes(batch.lines) for batch in read(config, filter=bomb)] == [line * 20]
        assert ask(config, "health")["state"] == "ok"


def test_a_filter_of_a_thousand_rules_is_a_view(tmp_path: Path) -> None:
    text = "".join(DROP_DEV.replace("dev", f"name{n}") for n in range(1000))
    with running(tmp_path) as (_, config):
        feed(config, KEPT + KEPT.replace(b"prod", b"name999") + TEST)
        assert [bytes(batch.lines) for batch in read(config, filter=text)] == [KEPT + TEST]


def test_a_view_of_the_configuration_is_there_after_a_kill(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, **with_views(tmp_path, calm=DROP_PROD))
    with daemon, Subscriber(daemon.endpoint("live"), "calm", timeout_s=DEADLINE_S) as subscriber:
        subscriber.connect()
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            peer.send(1, LINES)
        assert next(subscriber).lines == TEST + OTHER
        daemon.kill()
        daemon.start()
        heard = subscriber.heard
        wait_until(lambda: subscriber.poll(0.05) or subscriber.heard > heard, "the view's heartbeat")
        with Peer(daemon.endpoint("ingest")) as peer:
            peer.hello()
            peer.send(1, TEST)
        assert next(subscriber).lines == TEST
        assert subscriber.missed_lines == 0
