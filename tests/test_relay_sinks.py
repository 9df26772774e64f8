"""A sink of the daemon, whatever its protocol: its feed from the journal, its cursor, its state; failures and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cli_bed import environment
from relay_bed import DEADLINE_S, KEPT, counters, running, wait_until

from flowd.client import Consumer, Producer, request
from flowd.errors import EXIT_CONFIG, ConfigError, FlowdError
from flowd.relay.config import Config, load_config
from flowd.relay.daemon import Daemon
from flowd.relay.health import Health
from flowd.relay.sinks.feed import AHEAD_BYTES, JournalFeed
from flowd.relay.sinks.runner import SinkRunner
from flowd.sinks.sink import Feed, Report
from flowd.wire.limits import BATCH_BYTES


class Shelf:
    """A far end in memory: it takes batches, and answers when it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.taken: list[tuple[int, bytes]] = []
        self.missed: list[tuple[int, str | None]] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.commits = threading.Event()
        self.failures = failures

    async def run(self, feeds: Sequence[Feed], report: Report) -> None:
        if self.failures:
            self.failures -= 1
            raise FlowdError("the shelf is broken")
        report.up("shelf")
        (feed,) = feeds
        await asyncio.to_thread(self.is_open.wait)
        while (batch := await feed.next()) is not None:
            self.missed.append((batch.missed, batch.gap))
            self.taken.append((batch.seq, batch.lines))
            report.count("flowd_sink_batches_total")
            if self.commits.is_set():
                feed.commit(batch)


def run_sink(daemon: Daemon, shelf: Shelf, condition: Health | None = None) -> SinkRunner:
    runner = SinkRunner(
        "shelf",
        "memory",
        shelf,
        lambda: [JournalFeed(daemon.inside.link("the journal"), "sink.shelf", "flows")],
        condition or Health(),
    )
    runner.start()
    return runner


def send(config: Config, *batches: bytes) -> None:
    with Producer(config.endpoint("ingest"), timeout_s=DEADLINE_S) as producer:
        for lines in batches:
            producer.send(lines)
            producer.flush()


def end(runner: SinkRunner) -> None:
    runner.end()
    runner.join(DEADLINE_S)
    assert not runner.is_alive()
    assert runner.describe()["state"] == "ended"


def test_what_was_committed_does_not_come_again(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config):
        shelf = Shelf()
        shelf.commits.set()
        runner = run_sink(daemon, shelf)
        send(config, KEPT, 2 * KEPT)
        wait_until(lambda: len(shelf.taken) == 2, "both batches")
        end(runner)
        assert runner.counters.get("flowd_sink_batches_total", sink="shelf") == 2
        send(config, 3 * KEPT)
        runner = run_sink(daemon, shelf)
        wait_until(lambda: len(shelf.taken) == 3, "the third batch")
        assert shelf.taken == [(1, KEPT), (2, 2 * KEPT), (3, 3 * KEPT)]
        end(runner)


def test_what_was_not_committed_comes_again(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config):
        shelf = Shelf()
        runner = run_sink(daemon, shelf)
        send(config, KEPT)
        wait_until(lambda: shelf.taken, "the batch")
        end(runner)
        runner = run_sink(daemon, shelf)
        wait_until(lambda: len(shelf.taken) == 2, "the batch once more")
        assert shelf.taken == [(1, KEPT), (1, KEPT)]
        end(runner)


def test_a_sink_that_fails_is_told_and_run_again(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config):
        shelf, condition = Shelf(failures=1), Health()
        shelf.commits.set()
        runner = run_sink(daemon, shelf, condition)
        wait_until(condition.reasons, "the failure")
        assert condition.reasons() == ["sink shelf: the shelf is broken"]
        assert runner.describe()["state"] == "down"
        send(config, KEPT)
        wait_until(lambda: shelf.taken == [(1, KEPT)], "the second attempt")
        assert condition.reasons() == []
        assert runner.counters.get("flowd_sink_failures_total", sink="shelf", reason="refused") == 1
        end(runner)


def test_a_sink_goes_on_in_the_next_daemon(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.commits.set()
    for lines in (KEPT, 2 * KEPT):
        with running(tmp_path) as (daemon, config):
            runner = run_sink(daemon, shelf)
            send(config, lines)
            wait_until(lambda lines=lines: shelf.taken[-1:] and shelf.taken[-1][1] == lines, "the batch")
            end(runner)
    assert shelf.taken == [(1, KEPT), (2, 2 * KEPT)]


def test_a_sink_that_takes_nothing_is_sent_no_more_than_it_may_have(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config):
        shelf = Shelf()
        shelf.is_open.clear()
        runner = run_sink(daemon, shelf)
        large = KEPT * (BATCH_BYTES // len(KEPT))
        stored = 2 * AHEAD_BYTES // len(large)
        send(config, *([large] * stored))

        def sent() -> int:
            (consumer,) = request(config.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]
            return int((consumer["attached"] or {}).get("sent_bytes", 0))

        most = AHEAD_BYTES // len(large) * len(large)
        wait_until(lambda: sent() >= most, "as much as it may have")
        assert sent() == most
        shelf.is_open.set()
        wait_until(lambda: len(shelf.taken) == stored, "the rest")
        end(runner)


def test_a_sink_whose_name_another_consumer_takes_is_told_and_takes_it_back(tmp_path: Path) -> None:
    """Whoever attaches last has the name; the sink is run again, and goes on from the cursor."""
    with running(tmp_path) as (daemon, config):
        shelf, condition = Shelf(), Health()
        shelf.commits.set()
        runner = run_sink(daemon, shelf, condition)
        send(config, KEPT)
        wait_until(lambda: shelf.taken, "the batch")
        with Consumer(config.endpoint("consume"), "sink.shelf", "flows") as other:
            other.connect(DEADLINE_S)
            wait_until(condition.reasons, "the sink's word that it is fenced")
        send(config, 2 * KEPT)
        wait_until(lambda: shelf.taken[-1] == (2, 2 * KEPT), "the second attempt")
        assert condition.reasons() == []
        end(runner)


def test_a_sink_hears_of_what_the_journal_has_let_go(tmp_path: Path) -> None:
    with running(tmp_path) as (daemon, config):
        shelf = Shelf()
        shelf.commits.set()
        runner = run_sink(daemon, shelf)
        send(config, KEPT)
        wait_until(lambda: shelf.taken, "the first batch")
        end(runner)
        send(config, 2 * KEPT, 3 * KEPT)
        assert request(config.endpoint("admin"), "journal", DEADLINE_S, do="trim", bytes=0)["retired_batches"] == 3
        send(config, 4 * KEPT)
        runner = run_sink(daemon, shelf)
        wait_until(lambda: len(shelf.taken) == 2, "what is left")
        assert shelf.taken[-1] == (4, 4 * KEPT)
        assert shelf.missed[-1] == (5 * KEPT.count(b"\n"), "retention")
        end(runner)


def test_a_feed_that_has_finished_does_not_come_back(tmp_path: Path) -> None:
    """What is still to be called in its loop must not attach anew: nobody would ever take leave of that."""

    async def read(daemon: Daemon) -> None:
        feed = JournalFeed(daemon.inside.link("the journal"), "sink.shelf", "flows")
        feed.start()
        batch = await feed.next()
        assert batch is not None
        feed.commit(batch)
        await feed.finish()
        feed._wake()
        feed._move_cursor()

    with running(tmp_path) as (daemon, config):
        send(config, KEPT)
        asyncio.run(read(daemon))

        def shelf() -> dict[str, Any]:
            (found,) = request(config.endpoint("admin"), "consumers", DEADLINE_S)["consumers"]
            return dict(found)

        wait_until(lambda: shelf()["attached"] is None, "its leave")
        assert shelf()["next"] == 2
        assert counters(config)["flowd_attachments_total"] == 1


def test_sections_of_sinks_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "flowd.toml"
    path.write_text('[sinks.one]\ntype = "kafka"\n\n[sinks.two]\nservers = []\n\n[sinks.three]\ntype = "kafkaesque"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(path, {}, {})
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (2, "sinks of type 'kafka' are not available in this version"),
        (4, "sinks.two.type is missing"),
        (8, "unknown type of sink 'kafkaesque'"),
    ]


NATS = """\
[sinks.one]
type = "nats"
servers = ["nats://127.0.0.1:1"]
creds_file = "one.creds"

[sinks.two]
type = "nats"
servers = ["nats://127.0.0.1:1"]
"""


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("nats", [
            "flowd.toml:2:1: sinks.one: nats-py, which sinks of type 'nats' need, is not installed",
            "flowd.toml:7:1: sinks.two: nats-py, which sinks of type 'nats' need, is not installed",
        ]),
        ("nkeys", ["flowd.toml:4:1: sinks.one: nkeys, which signs for creds_file, is not installed"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [["--check"], []])
def test_a_library_that_is_missing_is_said_before_and_at_the_start(
    tmp_path: Path, library: str, said: list[str], options: list[str]
) -> None:
    (tmp_path / "flowd.toml").write_text(NATS)
    (tmp_path / "one.creds").touch()
    # None is how Python itself marks what cannot be imported.
    script = f"import sys; sys.modules[{library!r}] = None; from flowd.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "run", "-c", "flowd.toml", "--runtime-dir", "run", "--state-dir", "state"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environment(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (EXIT_CONFIG, "")
    told = [line for problem in said for line in (f"flowd: {problem}", "hint: pip install 'flowd[nats]'")]
    assert done.stderr.splitlines() == told


def test_the_library_of_a_kind_that_is_not_configured_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "flowd.toml").write_text(NATS.replace('creds_file = "one.creds"\n', ""))
    script = (
        "import sys; from flowd.relay.config import load_config; load_config('flowd.toml', {}, {}); "
        "print({'nats', 'nkeys'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment(), cwd=tmp_path)
    assert done.stdout == b"set()\n", done.stderr
