"""`flowd tap`: what a daemon drops or keeps now, as a table, objects and lines, through the daemon's restarts."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_bed import DEADLINE_S, flowd, started, wait_until
from relay_bed import DROPPED, KEPT, DaemonProcess, running
from test_cli_commands import examples_of, prepare_examples, run_example

from flowd.cli.tapping import Shown, Wanted, render_line
from flowd.client import Producer

FIRST = b"flowd: tapping what flows drops\n"


@contextmanager
def fed(endpoint: str, lines: bytes, stream: str = "flows") -> Iterator[list[bytes]]:
    """Lines go into a daemon again and again, over its restarts: these, until the given list has others."""
    is_over = threading.Event()
    now = [lines]

    def send() -> None:
        with Producer(endpoint) as producer:
            while not is_over.wait(0.02):
                producer.send(now[0], stream=stream)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield now
    finally:
        is_over.set()
        sender.join(DEADLINE_S)
        assert not sender.is_alive()


def read_line(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stderr is not None
    return child.stderr.readline()


def test_dropped_lines_are_a_table_with_rules_and_places(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), fed(config.endpoint("ingest"), DROPPED + KEPT):
        done = flowd("tap", "-n", "3", "--runtime-dir", config.runtime.dir)
        assert done.returncode == 0
        head, *rows = done.stdout.decode().splitlines()
        assert head.split() == ["TIME", "VERDICT", "RULE", "PLACE", "LINE"]
        assert len(rows) == 3
        for row in rows:
            clock, *cells = row.split()
            assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d\d", clock)
            assert cells == ["drop", "filter1.exclude1", f"{tmp_path / 'flow'}:3", DROPPED.decode().strip()]
        assert done.stderr.startswith(FIRST)


def test_lines_can_be_objects_or_as_they_are(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), fed(config.endpoint("ingest"), DROPPED + KEPT + b"\xff\n"):
        where = ("--runtime-dir", config.runtime.dir)
        done = flowd("tap", "--kept", "-n", "40", "--rate", "100", "-o", "json", *where)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert {(one["verdict"], one["rule"], one["text"], one["size_bytes"]) for one in told} == {
            ("keep", "default", KEPT.decode().strip(), len(KEPT)),
            ("malformed", "default", "\ufffd", 2),
        }
        assert all(one.keys() == {"time_ns", "verdict", "rule", "file", "line", "size_bytes", "text"} for one in told)
        done = flowd("tap", "-q", "--count", "2", "-o", "raw", "--rule", "filter1.exclude1", *where)
        assert (done.returncode, done.stdout, done.stderr) == (0, DROPPED * 2, b"")


def test_what_is_not_shown_is_said_at_the_end(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config), fed(config.endpoint("ingest"), DROPPED * 100):
        done = flowd("tap", "-n", "5", "--rate", "5", "--runtime-dir", config.runtime.dir)
        found = re.fullmatch(r"flowd: 5 lines shown of (?:some )?([0-9,]+)\n", done.stderr.removeprefix(FIRST).decode())
        assert found is not None, done.stderr
        assert int(found[1].replace(",", "")) >= 100


def test_it_goes_on_when_the_daemon_is_killed_and_started_again(tmp_path: Path) -> None:
    first, second = (DROPPED.replace(b"}", b',"life":%d}' % life) for life in (1, 2))
    with (
        DaemonProcess(tmp_path) as daemon,
        started("tap", "--rate", "100", "-o", "raw", "--runtime-dir", daemon.run_dir) as tap,
    ):
        assert tap.stdout is not None
        assert read_line(tap) == FIRST
        with fed(daemon.endpoint("ingest"), first) as lines:
            assert tap.stdout.readline() == first
            daemon.kill()
            assert read_line(tap) == b"flowd: no daemon answers; waiting for one\n"
            lines[0] = second
            daemon.start()
            assert read_line(tap) == b"flowd: a daemon answers again\n"
            wait_until(lambda: tap.stdout.readline() == second, "lines of the second life")  # type: ignore[union-attr]
        tap.send_signal(signal.SIGINT)
        assert tap.wait(DEADLINE_S) == 130


def test_a_restarted_daemon_may_take_a_while_to_know_the_stream(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        where = ("--runtime-dir", daemon.run_dir)
        assert flowd("send", "--stream", "dns", *where, lines=KEPT).returncode == 0
        with started("tap", "dns", "--kept", "-n", "1", "-o", "raw", *where) as tap:
            assert tap.stdout is not None
            assert read_line(tap) == b"flowd: tapping what dns keeps\n"
            daemon.kill()
            daemon.start()
            said = [read_line(tap)]
            while b"asking again" not in said[-1]:
                said.append(read_line(tap))
            assert said[-1] == b"flowd: tap: there is no stream 'dns'; asking again for 30 s\n"
            with fed(daemon.endpoint("ingest"), KEPT, stream="dns"):
                assert tap.stdout.readline() == KEPT
                assert tap.wait(DEADLINE_S) == 0


def test_what_cannot_be_tapped_is_said(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        where = ("--runtime-dir", config.runtime.dir)
        done = flowd("tap", "nosuch", *where)
        assert (done.returncode, done.stdout) == (78, b"")
        assert done.stderr == b"flowd: tap: there is no stream 'nosuch'\nhint: known: flows\n"
        done = flowd("tap", "--rule", "filter1.exclude9", *where)
        assert done.stderr == (
            b"flowd: tap: there is no rule 'filter1.exclude9'\nhint: did you mean 'filter1.exclude1'?\n"
        )
        assert flowd("tap", "a b", *where).returncode == 2
        assert flowd("tap", "--rate", "0", *where).returncode == 2
    done = flowd("tap", "--timeout", "0.2", "--runtime-dir", tmp_path)
    assert (done.returncode, done.stdout) == (69, b"")
    assert b"no daemon answered within 0.2 s" in done.stderr


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    with (
        running(tmp_path) as (_, config),
        fed(config.endpoint("ingest"), DROPPED),
        started("tap", "-q", "--rate", "100", "--runtime-dir", config.runtime.dir) as tap,
    ):
        assert tap.stdout is not None
        assert tap.stdout.readline().startswith(b"TIME")
        tap.stdout.close()
        assert tap.wait(DEADLINE_S) == -signal.SIGPIPE
        assert read_line(tap) == b""


def test_nothing_in_a_line_can_steer_a_terminal() -> None:
    text = b"a\x1b[2J\xff\tb"
    line = {"time_ns": 5_000_000, "verdict": "drop", "rule": "r", "file": "f", "line": 3, "text": text}
    shown = render_line({**line, "size_bytes": len(text) + 1})
    assert shown.endswith("a\\x1b[2J\ufffd\\tb\n")
    assert render_line({**line, "size_bytes": 2000}).endswith("… (2.0 kB)\n")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(0, 0, 0, 0)], ""),
        ([(3, 3, 3, 3)], ""),
        ([(10, 10, 10, 4), (5, 5, 5, 0)], "4 lines shown of 15"),
        ([(1000, 100, 50, 1)], "1 line shown of some 500"),
        ([(10, 10, 2, 2)], ""),
    ],
)
def test_what_was_left_out_is_counted_or_estimated(answers: list[tuple[int, ...]], said: str) -> None:
    shown = Shown()
    for passed, looked, matching, lines in answers:
        told = [{"text": b"x", "size_bytes": 2}] * lines
        shown.add({"passed_lines": passed, "looked_lines": looked, "matching_lines": matching}, told)
    assert shown.describe_news() == said
    assert shown.describe_news() == ""


def test_cut_lines_are_counted() -> None:
    shown = Shown()
    answer = {"passed_lines": 1, "looked_lines": 1, "matching_lines": 1}
    shown.add(answer, [{"text": b"x", "size_bytes": 90}])
    assert shown.describe_news() == "1 line shown of 1; 1 of them cut, -o json has their sizes"


def test_what_is_wanted_is_said_in_words() -> None:
    assert str(Wanted("prod", "kept", "filter1.exclude1", 5)) == "prod keeps by filter1.exclude1"


def test_the_examples_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    (tmp_path / "daemon").mkdir()
    with running(tmp_path / "daemon") as (_, config), fed(config.endpoint("ingest"), (DROPPED + KEPT) * 10):
        for example in examples_of("tap"):
            done = run_example(tmp_path, example, FLOWD_RUNTIME_DIR=config.runtime.dir)
            assert done.returncode == 0, (example, done.stderr)
