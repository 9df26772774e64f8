"""`flowd status` as tables: what is followed, and how far behind it is."""

from __future__ import annotations

import json
from pathlib import Path

from cli_bed import flowd
from forward_source_bed import ForwardSender, forwarding, packed_forward
from relay_bed import DROP_DEV, KEPT, running, wait_until
from tail_bed import LogFile

from flowd.cli.status_tables import FILES_SHOWN, render_status
from flowd.client import request
from flowd.errors import EXIT_DONE, EXIT_UNREACHABLE, EXIT_USAGE


def test_followed_files_are_shown_with_what_is_left_to_read(tmp_path: Path) -> None:
    logs = [LogFile(tmp_path / f"flows-{n:02}.log") for n in range(FILES_SHOWN + 2)]
    for log in logs:
        log.write(KEPT)
    with running(tmp_path, sources__tail={"flows": [str(tmp_path / "flows-*.log")]}) as (_, config):
        endpoint = config.endpoint("admin")
        wait_until(
            lambda: request(endpoint, "status")["streams"]["flows"]["lines"] == len(logs), "all files to be read"
        )
        wait_until(lambda: not request(endpoint, "status")["tail"]["lag_bytes"], "the last look")
        status = request(endpoint, "status")
        text = render_status(status)
        found = text[text.index("STREAM  FILE") :].splitlines()
        assert found[0].split() == ["STREAM", "FILE", "SIZE", "TO", "READ", "BEHIND"]
        assert found[1].split() == ["flows", str(logs[0].path), f"{len(KEPT)}", "B", "0", "B", "0.0", "s"]
        assert found[FILES_SHOWN + 1] == "and 2 files more, in all 0 B to read"
        status["tail"]["followed_files"] = len(status["tail"]["files"][:3])
        status["tail"]["files"] = status["tail"]["files"][:3]
        assert "more, in all" not in render_status(status)


def test_where_forward_is_spoken_is_shown_with_who_sends(tmp_path: Path) -> None:
    with (
        forwarding(tmp_path, [f"unix://{tmp_path}/a.sock"]) as (_, config, [endpoint]),
        ForwardSender(endpoint) as sender,
    ):
        sender.send(packed_forward([{"n": 1}], chunk="c"))
        sender.hear_acks(1)
        status = request(config.endpoint("admin"), "status")
        status["forward"]["waiting_bytes"] = 0
        assert f"forward: 1 connection at {endpoint}\n" in render_status(status)
        status["forward"] |= {"connections": 3, "paused_connections": 2, "waiting_bytes": 1_000_000}
        said = f"forward: 3 connections (2 wait for room) at {endpoint}, 1.0 MB to store\n"
        assert said in render_status(status)


def test_a_daemon_that_follows_nothing_shows_no_files(tmp_path: Path) -> None:
    with running(tmp_path) as (_, config):
        text = render_status(request(config.endpoint("admin"), "status"))
        assert "FILE" not in text
        assert "journal: 0 batches" in text


def test_probes_ask_for_health_alone(tmp_path: Path) -> None:
    with running(tmp_path, filters__watch=False) as (_, config):
        for check in ("live", "ready"):
            done = flowd("status", "--check", check, "--runtime-dir", config.runtime.dir)
            assert (done.returncode, done.stdout, done.stderr) == (EXIT_DONE, b"ok\n", b"")
        (tmp_path / "flow").write_text("<filter flows>\n")
        request(config.endpoint("admin"), "reload")
        done = flowd("status", "--check", "ready", "--runtime-dir", config.runtime.dir)
        assert (done.returncode, done.stdout.count(b"\n")) == (EXIT_DONE, 1)
        assert done.stdout.startswith(b"degraded; filters: ")
        (tmp_path / "flow").write_text(DROP_DEV)
        request(config.endpoint("admin"), "reload")
        done = flowd("status", "--check", "live", "-o", "json", "--runtime-dir", config.runtime.dir)
        health = json.loads(done.stdout)
        assert (done.returncode, health["state"], sorted(health)) == (EXIT_DONE, "ok", ["state", "turned_ago_s"])
        assert flowd("status", "--check", "well", "--runtime-dir", config.runtime.dir).returncode == EXIT_USAGE
    done = flowd("status", "--check", "live", "--runtime-dir", config.runtime.dir)
    assert (done.returncode, done.stdout) == (EXIT_UNREACHABLE, b"")
