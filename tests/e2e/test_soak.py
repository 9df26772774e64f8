"""`make soak` in its short form: the same runner, with fewer rounds and shorter stalls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "soak"))

import cast
from cli_bed import ROOT, environment

ROUNDS = 20
MEMORY_MAX_BYTES = 256 << 20
WITHIN_S = 300.0


def soak(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Runs it; returns its exit code and what it wrote."""
    command = [sys.executable, str(ROOT / "tests" / "soak" / "run.py"), "--out", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=WITHIN_S, check=False)
    written = folder / "soak.json"
    assert written.exists(), done.stderr.decode()
    assert done.stdout.decode() == (folder / "soak.md").read_text()
    return done.returncode, json.loads(written.read_text())


def test_who_was_just_started_ends_in_order(tmp_path: Path) -> None:
    """A soak ends its actors right after a round that has started one again."""
    (tmp_path / "filters").write_text("")
    daemon = cast.Daemon(tmp_path, f'[filters]\npath = "{tmp_path / "filters"}"\n')
    try:
        daemon.start()
        for actor in (cast.producer(daemon, tmp_path, "p0", 0.02), cast.consumer(daemon, tmp_path, "siem")):
            actor.start()
            assert (actor.end(WITHIN_S), actor.read_said()) == (0, "")
    finally:
        daemon.drop()


def test_kill_9_of_daemon_producers_and_consumers_loses_nothing(tmp_path: Path) -> None:
    code, found = soak(tmp_path, "--only", "kills", "--rounds", str(ROUNDS))
    assert (code, found["wrong"]) == (0, [])
    killed = found["results"]["kills"]
    assert killed["kills"]["daemon"] == ROUNDS
    assert sum(killed["kills"].values()) > ROUNDS
    assert (killed["lost_lines"], killed["doubled_lines"], killed["missed_lines"]) == (0, 0, 0)
    assert killed["journal_lines"] == killed["lines_seen"] > 0


def test_consumers_that_stand_still_cost_the_others_and_the_daemon_little(tmp_path: Path) -> None:
    """How little, in milliseconds, is for `make soak`: here is only that it goes on, and within what memory."""
    _, found = soak(tmp_path, "--only", "stalls", "--calm-s", "4", "--stall-s", "6")
    stalled = found["results"]["stalls"]
    assert 0 < stalled["most_anonymous_bytes"] <= MEMORY_MAX_BYTES
    assert stalled["lines"] > 0
    assert min(stalled["p50_ms"], stalled["p50_with_one_stopped_ms"]) > 0
