"""A daemon, a producer and subscribers, all started as users start them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli_bed import DEADLINE_S, DEV_FILTER, flowd, started, text_line, wait_until
from test_cli_commands import examples_of, prepare_examples, run_example

KEPT, DROPPED = text_line("shop"), text_line("dev")


@contextmanager
def running(folder: Path, *options: str | Path) -> Iterator[Path]:
    """`flowd run` in a folder, ready; gives its runtime directory. Drained at the end, which must succeed."""
    filters = folder / "flow.conf"
    filters.write_text(DEV_FILTER)
    runtime = folder / "run"
    with started("run", "-f", filters, "--runtime-dir", runtime, "--state-dir", folder / "state", *options) as child:
        assert child.stderr is not None
        assert b"ready in" in read_line(child), "the daemon says when it is ready"
        yield runtime
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0


def read_line(child: subprocess.Popen[bytes]) -> bytes:
    """The next line that a child says."""
    assert child.stderr is not None
    line = b""
    while not line.endswith(b"\n"):
        piece = child.stderr.read(1)
        if not piece:
            break
        line += piece
    return line


def status_of(runtime: Path) -> dict[str, Any]:
    done = flowd("status", "--runtime-dir", runtime, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_sent_is_filtered_and_observed(tmp_path: Path) -> None:
    lines = b"".join(text_line("dev" if n % 4 == 0 else "shop", n) for n in range(20_000))
    kept = [line for line in lines.splitlines(keepends=True) if b" dev " not in line]
    (tmp_path / "flows.log").write_bytes(lines)
    with running(tmp_path) as runtime, started("observe", "--runtime-dir", runtime, "-n", "15000") as observer:
        assert read_line(observer) == b"flowd: following flows; nothing has come of it yet\n"
        sent = flowd("send", "--runtime-dir", runtime, tmp_path / "flows.log")
        assert (sent.returncode, sent.stdout) == (0, b"")
        assert sent.stderr.startswith(b"flowd: 20,000 of 20,000 lines acknowledged (")
        assert observer.stdout is not None
        assert observer.stdout.read() == b"".join(kept)
        assert observer.wait(DEADLINE_S) == 0
        flows = status_of(runtime)["streams"]["flows"]
        assert (flows["lines"], flows["kept_lines"], flows["bytes"]) == (20_000, 15_000, len(lines))
        assert {rule["name"]: rule["lines"] for rule in flows["rules"]} == {
            "filter1.exclude1": 5_000,
            "default": 15_000,
        }
        text = flowd("status", "--runtime-dir", runtime).stdout.decode()
        assert "is ok" in text
        assert "20,000" in text
        assert f"{tmp_path / 'flow.conf'}:3" in text


def test_observe_and_tap_take_the_stream_as_everything_does(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        where = ("--runtime-dir", runtime)
        assert flowd("send", *where, "--stream", "dns", lines=b"{}\n").returncode == 0
        assert flowd("observe", *where, "--stream", "dns", "--last", "1").stdout == b"{}\n"
        assert flowd("observe", *where, "--last", "1", extra={"FLOWD_STREAM": "dns"}).stdout == b"{}\n"
        assert flowd("observe", *where, "--stream", "flows", "dns", "--last", "1").stdout == b"{}\n"
        with started("tap", *where, "--stream", "dns", "--kept", "-n", "1", "-o", "raw") as tap:
            assert read_line(tap) == b"flowd: tapping what dns keeps\n"
            assert flowd("send", *where, "--stream", "dns", lines=b"{}\n").returncode == 0
            assert tap.stdout is not None
            assert (tap.stdout.read(), tap.wait(DEADLINE_S)) == (b"{}\n", 0)


def test_bypass_answers_in_json_too(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        done = flowd("bypass", "on", "--runtime-dir", runtime, "-o", "json")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"bypass": True, "generation": 2})


def test_a_durable_observer_that_ends_after_some_lines_goes_on_behind_them(tmp_path: Path) -> None:
    """Its cursor stands behind the last batch that was written whole."""
    with running(tmp_path) as runtime:
        for n in range(3):
            log = tmp_path / f"{n}.log"
            log.write_bytes(b"".join(b'{"n":%d}\n' % (100 * n + m) for m in range(100)))
            assert flowd("send", "--runtime-dir", runtime, log).returncode == 0

        def observe(*arguments: str) -> list[int]:
            done = flowd("observe", "--runtime-dir", runtime, "--consumer", "siem", *arguments)
            assert done.returncode == 0
            return [json.loads(line)["n"] for line in done.stdout.splitlines()]

        assert observe("-n", "100") == list(range(100))
        assert observe("-n", "150") == list(range(100, 250))
        assert observe() == list(range(200, 300))  # the batch that was cut comes again
        assert observe() == []


@pytest.mark.parametrize("form", ["json", "table"])
def test_observe_decodes(tmp_path: Path, form: str) -> None:
    with (
        running(tmp_path) as runtime,
        started("observe", "--runtime-dir", runtime, "-n", "1", "-o", form, "-q") as observer,
    ):
        wait_until(lambda: status_of(runtime)["subscribers"] == {"flows": 1}, "the subscription")
        assert flowd("send", "--runtime-dir", runtime, lines=DROPPED + KEPT + KEPT).returncode == 0
        assert observer.stdout is not None
        shown = observer.stdout.read()
        if form == "json":
            record = json.loads(shown)
            assert (record["source_namespace"], record["proto"], record["dest_port"]) == ("shop", "tcp", 443)
        else:
            header, row = shown.decode().splitlines()
            assert header.split() == ["TIME", "FROM", "TO", "PROTO", "PORT", "REP", "ACTION", "BYTES"]
            assert row.split() == [
                "2023-11-14T22:13:20", "shop/pod-0-*", "web/shop-*", "tcp", "443", "src", "allow", "8786",
            ]  # fmt: skip
        assert observer.wait(DEADLINE_S) == 0


def test_standard_input_is_sent_as_it_comes(tmp_path: Path) -> None:
    with running(tmp_path) as runtime, started("send", "--runtime-dir", runtime) as sender:
        assert sender.stdin is not None
        sender.stdin.write(KEPT)
        wait_until(lambda: status_of(runtime)["streams"]["flows"]["lines"] == 1, "the first line")
        sender.stdin.write(KEPT[:-1])
        sender.stdin.close()
        assert sender.wait(DEADLINE_S) == 0
        assert status_of(runtime)["streams"]["flows"]["lines"] == 2


def test_another_stream_has_a_view_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        assert flowd("send", "--runtime-dir", runtime, "--stream", "dns", lines=DROPPED).returncode == 0
        assert status_of(runtime)["streams"]["dns"]["kept_lines"] == 1


def test_send_keeps_to_its_rate(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        done = flowd("send", "--runtime-dir", runtime, "--rate", "400", lines=KEPT * 100)
        assert done.returncode == 0
        took_s = float(done.stderr.split(b" in ")[1].split()[0])
        assert took_s >= 0.2


def test_send_says_which_file_cannot_be_read(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        done = flowd("send", "--runtime-dir", runtime, "nosuch", "-", lines=KEPT, cwd=tmp_path)
        assert done.returncode == 74
        assert done.stderr.startswith(b"flowd: nosuch: No such file or directory\nflowd: 1 of 1 lines acknowledged")


def test_send_refuses_a_line_that_no_batch_holds(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        done = flowd("send", "--runtime-dir", runtime, lines=KEPT + b"x" * (4 << 20) + b"\n")
        assert done.returncode == 74
        assert b"a line of 4194304 bytes" in done.stderr
        assert flowd("send", "--runtime-dir", runtime, lines=b"x" * ((4 << 20) - 1) + b"\n").returncode == 0


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        done = flowd("run", "--runtime-dir", runtime, "--state-dir", tmp_path / "state")
        assert done.returncode == 78
        assert b"another flowd is running here" in done.stderr


def test_observe_says_what_it_missed(tmp_path: Path) -> None:
    with running(tmp_path) as runtime, started("observe", "--runtime-dir", runtime) as observer:
        assert read_line(observer).startswith(b"flowd: following flows")
        observer.send_signal(signal.SIGSTOP)
        assert flowd("send", "--runtime-dir", runtime, lines=KEPT * 800_000).returncode == 0
        observer.send_signal(signal.SIGCONT)
        reader = threading.Thread(target=read_all, args=(observer,), daemon=True)
        reader.start()
        assert flowd("send", "--runtime-dir", runtime, lines=KEPT).returncode == 0
        said = read_line(observer).split()
        assert said[:2] == [b"flowd:", b"missed"]
        assert 0 < int(said[2]) < 800_000
        observer.kill()
        reader.join(DEADLINE_S)


def read_all(child: subprocess.Popen[bytes]) -> None:
    """Takes what a child writes, and forgets it."""
    assert child.stdout is not None
    while child.stdout.read(1 << 20):
        pass


def test_reload_says_what_changes_and_what_came_of_it(tmp_path: Path) -> None:
    (tmp_path / "flowd.toml").write_text("[filters]\nwatch = false\n")
    with running(tmp_path, "-c", tmp_path / "flowd.toml") as runtime:
        extra = {"FLOWD_RUNTIME_DIR": str(runtime)}
        assert flowd("send", lines=KEPT * 100, extra=extra).returncode == 0
        assert flowd("reload", extra=extra).stdout == (
            b"unchanged: the filters say the same as before; generation 1 goes on\n"
        )
        (tmp_path / "flow.conf").write_text(DEV_FILTER.replace("dev", "shop"))
        for _ in range(13):
            assert flowd("send", lines=KEPT * 100, extra=extra).returncode == 0
        changes = (
            b"flows: 1 rule, 1 new, 1 gone; of 112 recent lines 0.0 % were dropped, 100.0 % would be\n"
            b"  - exclude source_namespace dev\n  + exclude source_namespace shop\n"
        )
        pairs = b"  newly dropped by filter1.exclude1: 112 recent lines, keep by default today\n      " + KEPT
        refusal = (
            b"flowd: flows: 112 of 112 recent lines would be dropped, not 0 as today\nflowd: the filters are refused\n"
        )
        dry = flowd("reload", "--dry-run", extra=extra)
        assert (dry.returncode, dry.stderr) == (1, refusal)
        assert dry.stdout == changes + pairs + b"dry run: the filters would not be loaded; generation 1 goes on\n"
        refused = flowd("reload", extra=extra)
        assert (refused.returncode, refused.stdout) == (1, changes + pairs + b"refused: generation 1 goes on\n")
        assert refused.stderr == refusal + b"hint: look at them, then load them with --force\n"
        assert b"last reload refused (command); generation 1 decides:\n" in flowd("status", extra=extra).stdout
        forced = flowd("reload", "--force", extra=extra)
        assert (forced.returncode, forced.stdout) == (0, changes + b"loaded: generation 2 decides\n")
        (tmp_path / "flow.conf").write_text("<filter flows>")
        failed = flowd("reload", extra=extra)
        assert (failed.returncode, failed.stdout) == (78, b"failed: generation 2 goes on\n")
        assert failed.stderr.startswith(f"flowd: {tmp_path / 'flow.conf'}:1:".encode())
        assert json.loads(flowd("reload", "-o", "json", extra=extra).stdout)["result"] == "failed"


def test_bypass_keeps_every_line(tmp_path: Path) -> None:
    with running(tmp_path) as runtime:
        extra = {"FLOWD_RUNTIME_DIR": str(runtime)}
        done = flowd("bypass", "on", extra=extra)
        assert (done.returncode, done.stdout) == (0, b"bypass is on: every line is kept, as generation 2\n")
        assert flowd("send", lines=DROPPED, extra=extra).returncode == 0
        assert b"bypass: every line is kept" in flowd("status", extra=extra).stdout
        assert flowd("bypass", "off", extra=extra).stdout == (b"bypass is off: the filters decide, as generation 3\n")
        assert status_of(runtime)["streams"]["flows"]["kept_lines"] == 1  # type: ignore[index]
        assert flowd("bypass", "maybe", extra=extra).returncode == 2
    assert flowd("bypass", "on", "--runtime-dir", tmp_path / "nosuch").returncode == 69


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_observe_ends_when_it_is_told_to(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as runtime, started("observe", "--runtime-dir", runtime) as observer:
        assert read_line(observer).startswith(b"flowd: following flows")
        observer.send_signal(number)
        assert observer.wait(DEADLINE_S) == (130 if number == signal.SIGINT else -number)


def test_the_examples_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    serve, check = examples_of("run")
    assert run_example(tmp_path, check).returncode == 0
    assert serve == "flowd run -f filters/ --runtime-dir ./run --state-dir ./state"
    with started(*serve.split()[1:], cwd=tmp_path) as child:
        assert b"ready in" in read_line(child)
        extra = {"FLOWD_RUNTIME_DIR": str(tmp_path / "run")}
        for example in [e for name in ("send", "status", "reload", "bypass") for e in examples_of(name)]:
            done = run_example(tmp_path, example, **extra)
            assert done.returncode == 0, (example, done.stderr)
        live, stored = examples_of("observe")
        with started(*live.split()[1:], extra=extra) as observer:
            assert read_line(observer).startswith(b"flowd: following flows")
            assert flowd("send", lines=KEPT * 10, extra=extra).returncode == 0
            assert observer.wait(DEADLINE_S) == 0
        done = run_example(tmp_path, stored, **extra)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 1 + 100), done.stdout
        assert b"lines of flows in the journal" in done.stderr
        child.send_signal(signal.SIGTERM)
        assert child.wait(DEADLINE_S) == 0


def test_drain_ends_the_daemon(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    where = ("--runtime-dir", runtime)
    with started("run", *where, "--state-dir", tmp_path / "state") as child:
        assert b"ready in" in read_line(child)
        assert flowd("send", *where, lines=KEPT).returncode == 0
        done = flowd("drain", *where)
        assert (done.returncode, done.stdout) == (0, b"")
        assert done.stderr.startswith(f"flowd: process {child.pid} has ended, after ".encode())
        assert not (runtime / "admin.sock").exists()
        assert child.wait(DEADLINE_S) == 0
    with started("run", *where, "--state-dir", tmp_path / "state") as child:
        assert b"ready in" in read_line(child)
        assert (flowd("drain", "-q", *where).stderr, child.wait(DEADLINE_S)) == (b"", 0)
    done = flowd("drain", *where)
    assert done.returncode == 69
    assert b"no daemon has made this socket" in done.stderr


def test_drain_says_what_was_not_finished(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    where = ("--runtime-dir", runtime)
    with (
        started("run", *where, "--state-dir", tmp_path / "state", "--drain-s", "1") as child,
        started("observe", *where, "-q") as observer,
    ):
        assert b"ready in" in read_line(child)
        wait_until(lambda: status_of(runtime)["subscribers"] == {"flows": 1}, "the subscription")
        observer.send_signal(signal.SIGSTOP)
        assert flowd("send", *where, lines=KEPT * 200_000).returncode == 0
        done = flowd("drain", "-q", *where)
        assert done.stderr == (
            b"flowd: not finished: subscribers had not taken everything published; they will see the gap\n"
        )
        assert (done.returncode, child.wait(DEADLINE_S)) == (1, 0)


def test_drain_of_a_stopped_daemon_is_unreachable(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    with started("run", "--runtime-dir", runtime, "--state-dir", tmp_path / "state") as child:
        assert b"ready in" in read_line(child)
        child.send_signal(signal.SIGSTOP)
        assert flowd("drain", "--runtime-dir", runtime, "--timeout", "0.2").returncode == 69


def test_the_examples_of_drain_run(tmp_path: Path) -> None:
    prepare_examples(tmp_path)
    for example in examples_of("drain"):
        with started("run", "--runtime-dir", "run", "--state-dir", "state", cwd=tmp_path) as child:
            assert b"ready in" in read_line(child)
            assert run_example(tmp_path, example, FLOWD_RUNTIME_DIR="run").returncode == 0
            assert child.wait(DEADLINE_S) == 0
