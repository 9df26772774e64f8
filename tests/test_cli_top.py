"""`flowd top` as it is seen: on screens of several sizes, on a real terminal, against real daemons under load and
through their restarts; and `--once`. And `flowd filters`."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_bed import flowd
from relay_bed import DEADLINE_S, DROPPED, KEPT, DaemonProcess, feed, running, wait_until
from rich.console import Console
from terminal_bed import Terminal
from test_cli_commands import examples_of, prepare_examples, run_example
from test_cli_top_rates import NOW_NS, cursor, heard, rule, status, stream

from flowd.cli.watching.keys import split_keys
from flowd.cli.watching.model import HELP, KEYS_HELP, Model
from flowd.cli.watching.rates import Look
from flowd.cli.watching.screen import BARS, PLAIN_BARS, draw, draw_trend, share_rows
from flowd.client import Consumer, Producer
from flowd.errors import Unreachable


@contextmanager
def under_load(daemon: DaemonProcess) -> Iterator[None]:
    """Lines go into the daemon all the time, over its restarts."""
    is_over = threading.Event()

    def send() -> None:
        with Producer(daemon.endpoint("ingest")) as producer:
            while not is_over.wait(0.01):
                producer.send((DROPPED * 3 + KEPT) * 100)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        is_over.set()
        sender.join(DEADLINE_S)
        assert not sender.is_alive()


def screen(model: Model, width: int, height: int, **how: Any) -> list[str]:
    """What is drawn, by lines."""
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(draw(model, width, height, **how))
    return console.export_text().splitlines()


def full_model(rules: int = 30, consumers: int = 5) -> Model:
    """A model that knows more than fits onto a little screen."""
    model = Model("order")
    for scale in (1, 2, 4):
        many = [rule(f"filter1.exclude{n}", n + 1, n * scale) for n in range(rules)]
        status_now = status({"flows": stream(scale, rules=many), "dns": stream(scale)})
        cursors = [cursor(consumer=f"consumer{n}", attached=None) for n in range(consumers)]
        model.hear(Look(float(scale), status_now, cursors), NOW_NS)
    return model


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60), (40, 10), (20, 5), (10, 2)])
def test_it_fits_the_screen(width: int, height: int) -> None:
    lines = screen(full_model(), width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[-1] == KEYS_HELP[:width].rstrip()


def test_a_common_terminal_shows_streams_rules_consumers_and_trends() -> None:
    lines = screen(full_model(), 80, 24)
    assert [line.split()[0] for line in lines if line.isupper() or line.startswith(("STREAM", "CONSUMER"))] == [
        "STREAM", "STREAM", "CONSUMER",
    ]  # fmt: skip
    at = lines.index("streams") + 1
    assert lines[at].split() == [
        "STREAM", "LINES/S", "MB/S", "KEPT/S", "DROPPED/S", "MALFORMED/S", "ERRORS/S", "SUBS", "TREND",
    ]  # fmt: skip
    assert lines[at + 1].split() == ["flows", "1,000", "0.010", "700", "300", "20", "10", "2", "██"]
    at = next(n for n, line in enumerate(lines) if line.startswith("rules by order"))
    assert re.fullmatch(r"rules by order, 1 to \d+ of 33", lines[at])
    assert lines[at + 1].split() == [
        "STREAM", "RULE", "LINES/S", "MB/S", "SHARE", "LINES", "BYTES", "PLACE", "TREND",
    ]  # fmt: skip
    assert "consumers" in lines


def test_a_wide_terminal_shows_all_columns() -> None:
    lines = screen(full_model(consumers=1), 200, 60)
    at = lines.index("streams") + 1
    assert lines[at].split()[-4:] == ["LINES", "SUBS", "TREND", "DROPPED"]
    assert next(line for line in lines if line.startswith("CONSUMER")).split()[-2:] == ["MB/S", "ATTACHED"]


def test_scrolling_begins_with_another_rule() -> None:
    model = full_model()
    model.press("page down")
    lines = screen(model, 80, 24)
    at = next(n for n, line in enumerate(lines) if line.startswith("rules by order, 11 to "))
    assert lines[at + 2].split()[1] == "filter1.exclude10"


def test_rules_that_the_status_leaves_off_are_counted() -> None:
    model = Model("rate")
    for scale in (1, 2):
        model.hear(Look(float(scale), status({"flows": stream(scale, rules_left_off=9000)}), []), NOW_NS)
    assert "rules by rate; 9,000 that decided less are left off" in screen(model, 80, 24)


def test_long_names_are_cut_and_numbers_are_not() -> None:
    model = Model("order")
    for scale in (1, 2):
        long = [rule("x" * 300, 1, 1000 * scale, file="/" + "y" * 300)]
        model.hear(Look(float(scale), status({"flows": stream(scale, rules=long)}), []), NOW_NS)
    for width in (60, 80, 200):
        (line,) = (line for line in screen(model, width, 24) if "xxx" in line)
        assert "…" in line
        assert "1,000" in line


def test_help_is_shown_on_the_screen() -> None:
    model = full_model()
    model.press("?")
    lines = screen(model, 80, 24)
    assert set(HELP) <= set(lines)


def test_what_is_wrong_is_said() -> None:
    model = Model("rate")
    assert "looking …" in screen(model, 80, 24)
    heard(model, 1, 2)
    model.press("p")
    assert screen(model, 80, 24)[-1] == f"paused  {KEYS_HELP}"
    model.hear(Unreachable("nobody answered"), NOW_NS)
    assert screen(model, 80, 24)[0] == "waiting for the daemon: nobody answered"


def test_a_terminal_without_block_characters_gets_plain_ones() -> None:
    text = "\n".join(screen(full_model(), 80, 24, is_plain=True))
    assert not set(BARS) & set(text)
    assert "%" in text


@pytest.mark.parametrize(
    ("rates", "bars"),
    [([], ""), ([0, 0], "▁▁"), ([1, 2, None, 8], "▂▃ █"), ([5, 4, 8, 8], "▆▅██"), (list(range(100)), "██████")],
)
def test_trends_are_scaled_to_their_largest(rates: list[float | None], bars: str) -> None:
    assert draw_trend(rates, 6) == bars
    assert draw_trend([1, 2, None, 8], 6, PLAIN_BARS) == ".- #"


@pytest.mark.parametrize(
    ("wanted", "room", "shares"),
    [
        ([2, 30, 5], 24, [2, 11, 5]),
        ([2, 30, 5], 100, [2, 30, 5]),
        ([1, 1], 3, [1, 0]),
        ([5, 5], 5, [3, 0]),
        ([5], 2, [0]),
        ([5], -3, [0]),
        ([], 10, []),
    ],
)
def test_rows_are_shared(wanted: list[int], room: int, shares: list[int]) -> None:
    assert share_rows(wanted, room) == shares


def test_keys_are_read_from_what_a_terminal_sends() -> None:
    assert split_keys(b"qs\x1b[A\x1bOB\x1b[6~p\x1b[H") == ["q", "s", "up", "down", "page down", "p", "home"]
    assert split_keys(b"\x1b[21~") == [""]
    assert split_keys(b"") == []


def test_once_tells_the_rates_of_a_daemon_under_load(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon, under_load(daemon):
        wait_until(lambda: daemon.status()["streams"]["flows"]["lines"], "the first lines")
        done = flowd("top", "--once", "--interval", "0.5", "-o", "json", "--runtime-dir", daemon.run_dir)
        assert (done.returncode, done.stderr) == (0, b"")
        rates = json.loads(done.stdout)
        (one,) = rates["streams"]
        assert one["dropped_lines_per_s"] == pytest.approx(3 * one["kept_lines_per_s"], rel=0.01)
        assert one["lines_per_s"] > 0
        assert rates["interval_s"] >= 0.5
        by_rule = {rule["rule"]: rule["lines_per_s"] for rule in rates["rules"]}
        assert by_rule.keys() == {"filter1.exclude1", "default"}
        assert sum(by_rule.values()) > 0
        done = flowd("top", "--once", "--interval", "0.1", "--sort", "name", "--runtime-dir", daemon.run_dir)
        assert done.stdout.startswith(b"flowd ")
        assert [line.split()[1] for line in done.stdout.splitlines() if b"flow:3" in line] == [b"filter1.exclude1"]


def test_consumers_are_told_with_lines_bytes_and_seconds(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        feed(config, KEPT)
        with Consumer(config.endpoint("consume"), "siem", timeout_s=DEADLINE_S) as consumer:
            next(iter(consumer))
            consumer.commit()
            feed(config, KEPT * 3, KEPT * 2)
            done = flowd("top", "--once", "--interval", "0.1", "-o", "json", "--runtime-dir", config.runtime.dir)
            (one,) = json.loads(done.stdout)["consumers"]
        assert (one["consumer"], one["is_attached"]) == ("siem", True)
        assert (one["lag_batches"], one["lag_lines"], one["lag_bytes"]) == (2, 5, 5 * len(KEPT))
        assert 0 < one["lag_s"] < DEADLINE_S
        assert 0 < one["committed_ago_s"] < DEADLINE_S


def test_a_live_view_shows_a_daemon_under_load_and_ends_with_q(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        under_load(daemon),
        Terminal("top", "--interval", "0.1", "--runtime-dir", daemon.run_dir) as terminal,
    ):
        text = terminal.wait_for("filter1.exclude1")
        assert re.search(r"flowd \S+ is ok: process \d+, up [0-9.]+ s, 1 producer", text)
        wait_until(lambda: re.search(r"75\.\d %", terminal.text), "the share of what is dropped")
        wait_until(lambda: BARS[-1] in terminal.text, "a trend")
        assert terminal.is_coloured()
        terminal.type("s")
        terminal.wait_for("rules by bytes")
        terminal.type("?")
        terminal.wait_for("this help, and back")
        terminal.type("?p")
        terminal.wait_for("paused")
        terminal.type("p\x1b[B")
        wait_until(lambda: "paused" not in terminal.text, "the end of the pause")
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.is_as_before()
        assert terminal.written.endswith(b"\x1b[?25h") or b"\x1b[?1049l" in terminal.written


def test_a_terminal_that_is_resized_is_drawn_anew(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        Terminal(
            "top", "--interval", "3600", "--runtime-dir", daemon.run_dir, columns=60, lines=10, extra={"COLUMNS": "80"}
        ) as terminal,
    ):
        terminal.wait_for("looking")
        assert terminal.display[9].startswith("q quit")
        terminal.resize(100, 30)
        wait_until(lambda: terminal.display[29].startswith("q quit"), "the help in the last line")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        Terminal("top", "--interval", "0.1", "--runtime-dir", daemon.run_dir) as terminal,
    ):
        terminal.wait_for("LINES/S")
        if number == signal.SIGINT:
            terminal.type("\x03")
        else:
            terminal.child.send_signal(number)
        assert terminal.end() == code
        assert terminal.is_as_before()
        wait_until(lambda: b"\x1b[?1049l" in terminal.written, "the screen from before")
        assert b"Traceback" not in terminal.written


def test_a_daemon_that_is_restarted_is_waited_for_and_no_rate_is_negative(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        under_load(daemon),
        Terminal("top", "--interval", "0.1", "--runtime-dir", daemon.run_dir, columns=120) as terminal,
    ):
        terminal.wait_for("filter1.exclude1")
        daemon.kill()
        terminal.wait_for("waiting for the daemon")
        daemon.start()
        text = terminal.wait_for("restarted once")
        assert "waiting" not in text
        assert not re.search(r" -[0-9]", text)
        terminal.wait_for("filter1.exclude1")
        terminal.type("q")
        assert terminal.end() == 0


def test_colours_are_left_away_where_they_are_not_wanted(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path) as daemon,
        Terminal("top", "--interval", "0.1", "--runtime-dir", daemon.run_dir, has_colour=False) as terminal,
    ):
        terminal.wait_for("LINES/S")
        assert not terminal.is_coloured()


def test_without_a_terminal_it_says_what_to_do(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        done = flowd("top", "--runtime-dir", config.runtime.dir)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr == (
            b"flowd: standard output is no terminal\nhint: `flowd top --once` writes tables, with -o json one object\n"
        )
        with Terminal("top", "--runtime-dir", config.runtime.dir, extra={"TERM": "dumb"}) as terminal:
            assert terminal.end() == 2
            terminal.wait_for("cannot move its cursor")
    done = flowd("top", "-o", "json", "--runtime-dir", tmp_path)
    assert (done.returncode, b"-o json is for --once" in done.stderr) == (2, True)


def test_without_rich_the_live_view_says_so_and_once_works(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "rich.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')\n"
    )
    extra = {"PYTHONPATH": f"{tmp_path / 'without'}:{Path(__file__).resolve().parent.parent}"}
    with running(tmp_path) as (_, config):
        where = ("--runtime-dir", config.runtime.dir)
        with Terminal("top", *where, extra=extra) as terminal:
            assert terminal.end() == 2
            text = terminal.wait_for("hint")
        assert "the live view needs the package rich" in text
        assert "pip install 'flowd[tui]'" in text
        done = flowd("top", "--once", "--interval", "0.1", *where, extra=extra)
        assert (done.returncode, done.stdout.startswith(b"flowd ")) == (0, True)


@pytest.mark.parametrize("arguments", [["top", "--once"], ["filters"]])
def test_without_a_daemon_it_ends_with_69(tmp_path: Path, arguments: list[str]) -> None:
    done = flowd(*arguments, "--runtime-dir", tmp_path)
    assert (done.returncode, done.stdout) == (69, b"")
    assert b"no daemon has made this socket" in done.stderr


def test_the_live_view_ends_with_69_where_no_daemon_is(tmp_path: Path) -> None:
    with Terminal("top", "--runtime-dir", tmp_path) as terminal:
        assert terminal.end() == 69
        terminal.wait_for("no daemon has made this socket")


def test_filters_lists_the_rules_of_the_running_daemon(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        where = ("--runtime-dir", config.runtime.dir)
        lines = flowd("filters", *where).stdout.decode().splitlines()
        assert lines[0] == "stream flows: 1 rule, generation 1"
        assert [line.split() for line in lines[1:]] == [
            ["RULE", "PLACE", "KIND", "FIELD", "PATTERN", "ENGINE", "GROUP"],
            ["filter1.exclude1", f"{tmp_path / 'flow'}:3", "exclude", "source_namespace", "^dev$", "literal", "-"],
        ]
        told = json.loads(flowd("filters", *where, "--stream", "flows", "-o", "json").stdout)
        assert (told["generation"], told["bypass"], told["views"]) == (1, False, {})
        assert told["streams"]["flows"].keys() == {"generation", "rules", "warnings", "more_warnings"}
        assert [one["name"] for one in told["streams"]["flows"]["rules"]] == ["filter1.exclude1"]
        done = flowd("filters", *where, "--stream", "nosuch")
        assert (done.returncode, done.stderr) == (
            78,
            b"flowd: filters: there is no stream 'nosuch'\nhint: known: flows\n",
        )


def test_filters_lists_all_pages_views_and_streams_without_rules(tmp_path: Path) -> None:
    rules = "".join(f"<exclude>\nkey a\nequals {n}\n</exclude>\n" for n in range(2500))
    (tmp_path / "calm").write_text(f"<filter flows>\n@type flowd\n{rules}</filter>\n")
    views = {"calm": {"stream": "flows", "path": str(tmp_path / "calm")}}
    with running(tmp_path, views=views, filters__watch=False) as (_, config):
        where = ("--runtime-dir", config.runtime.dir)
        told = json.loads(flowd("filters", *where, "-o", "json").stdout)
        assert [one["pattern"] for one in told["views"]["calm"]["rules"]] == [f"equals {n}" for n in range(2500)]
        (tmp_path / "flow").write_text("")
        assert flowd("reload", "--force", *where).returncode == 0
        assert flowd("bypass", "on", *where).returncode == 0
        text = flowd("filters", *where).stdout.decode()
        assert text.startswith("bypass is on: every line is kept, and no rule decides\n")
        assert "stream flows: 0 rules, generation 3: every line is kept\n" in text
        assert "view calm: 2,500 rules, generation " in text


def test_the_examples_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    (tmp_path / "daemon").mkdir()
    with running(tmp_path / "daemon") as (_, config):
        for example in [example for name in ("top", "filters") for example in examples_of(name)]:
            done = run_example(tmp_path, example, FLOWD_RUNTIME_DIR=config.runtime.dir)
            assert (done.returncode, done.stderr) == (0, b""), example


@pytest.mark.parametrize(("typed", "found"), [("to", b"top"), ("ta", b"tap"), ("filters", b"filters")])
def test_they_are_completed(typed: str, found: bytes) -> None:
    extra = {"_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": f"flowd {typed}", "COMP_CWORD": "1"}
    assert flowd(extra=extra).stdout == b"plain,%s\n" % found


def test_help_loads_no_rich() -> None:
    code = "import sys; from flowd.cli import main; main(['top', '--help']); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
