"""A sink of the daemon, whatever its protocol: its feed from the journal, its cursor, its state; failures and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_bed import environment
from relay_bed import DEADLINE_S, KEPT, running, wait_until

from flowd.client import Batch, Consumer, Producer
from flowd.errors import EXIT_CONFIG, ConfigError, FlowdError
from flowd.relay.config import Config, load_config
from flowd.relay.health import Health
from flowd.relay.sinks.feed import AHEAD_BYTES, JournalFeed
from flowd.relay.sinks.runner import SinkRunner
from flowd.sinks.sink import Feed, Report


class Shelf:
    """A far end in memory: it takes batches, and answers when it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.taken: list[tuple[int, bytes]] = []
        self.commits = threading.Event()
        self.failures = failures

    async def run(self, feeds: Sequence[Feed], report: Report) -> None:
        if self.failures:
            self.failures -= 1
            raise FlowdError("the shelf is broken")
        report.up("shelf")
        (feed,) = feeds
        while (batch := await feed.next()) is not None:
            self.taken.append((batch.seq, batch.lines))
            report.count("flowd_sink_batches_total")
            if self.commits.is_set():
                feed.commit(batch)


def run_sink(config: Config, shelf: Shelf, condition: Health | None = None) -> SinkRunner:
    runner = SinkRunner(
        "shelf",
        "memory",
        shelf,
        lambda: [Consumer(config.endpoint("consume"), "sink.shelf", "flows")],
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
    with running(tmp_path) as (_, config):
        shelf = Shelf()
        shelf.commits.set()
        runner = run_sink(config, shelf)
        send(config, KEPT, 2 * KEPT)
        wait_until(lambda: len(shelf.taken) == 2, "both batches")
        end(runner)
        assert runner.counters.get("flowd_sink_batches_total", sink="shelf") == 2
        send(config, 3 * KEPT)
        runner = run_sink(config, shelf)
        wait_until(lambda: len(shelf.taken) == 3, "the third batch")
        assert shelf.taken == [(1, KEPT), (2, 2 * KEPT), (3, 3 * KEPT)]
        end(runner)


def test_what_was_not_committed_comes_again(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        shelf = Shelf()
        runner = run_sink(config, shelf)
        send(config, KEPT)
        wait_until(lambda: shelf.taken, "the batch")
        end(runner)
        runner = run_sink(config, shelf)
        wait_until(lambda: len(shelf.taken) == 2, "the batch once more")
        assert shelf.taken == [(1, KEPT), (1, KEPT)]
        end(runner)


def test_a_sink_that_fails_is_told_and_run_again(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        shelf, condition = Shelf(failures=1), Health()
        shelf.commits.set()
        runner = run_sink(config, shelf, condition)
        wait_until(condition.reasons, "the failure")
        assert condition.reasons() == ["sink shelf: the shelf is broken"]
        assert runner.describe()["state"] == "down"
        send(config, KEPT)
        wait_until(lambda: shelf.taken == [(1, KEPT)], "the second attempt")
        assert condition.reasons() == []
        assert runner.counters.get("flowd_sink_failures_total", sink="shelf", reason="refused") == 1
        end(runner)


def test_a_sink_goes_on_over_a_restart_of_the_daemon(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.commits.set()
    with running(tmp_path) as (_, config):
        runner = run_sink(config, shelf)
        send(config, KEPT)
        wait_until(lambda: shelf.taken, "the batch")
    with running(tmp_path) as (_, config):
        send(config, 2 * KEPT)
        wait_until(lambda: len(shelf.taken) >= 2, "the next batch")
        end(runner)
    assert shelf.taken == [(1, KEPT), (2, 2 * KEPT)]


def test_a_feed_has_room_again_only_when_enough_was_taken(tmp_path: Path) -> None:
    """A small batch taken from before a large one leaves too much: the thread must go on waiting, and not spin."""

    async def take() -> list[bool]:
        consumer = Consumer(f"ipc://{tmp_path}/consume.sock", "sink.shelf", "flows")
        feed = JournalFeed(consumer, asyncio.get_running_loop())
        for seq, size_bytes in enumerate((1 << 18, AHEAD_BYTES, 1 << 18), start=1):
            feed._add(Batch("flows", b"e" * 16, seq, b"x" * size_bytes))
        told = []
        for _ in range(3):
            assert await feed.next() is not None
            told.append(feed._has_room.is_set())
        return told

    assert asyncio.run(take()) == [False, True, True]


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
