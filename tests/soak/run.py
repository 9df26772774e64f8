"""`make soak`: kill -9 at random moments and consumers that stand still, for as long as it takes to trust the daemon.

    python tests/soak/run.py
    python tests/soak/run.py --rounds 100 --calm-s 10 --stall-s 30 --only kills

Writes soak.json and soak.md into the folder given. Exit code 1 where a line was lost or doubled, or a bound was not
kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import kills
import stalls

from flowd.cli.talk import paint, say, say_failure
from flowd.errors import EXIT_DONE, EXIT_NO, FlowdError

ANONYMOUS_MAX_BYTES = 256 << 20
P99_MOVED_MAX = 1.10


def judge(results: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    found = []
    killed, stalled = results.get("kills"), results.get("stalls")
    if killed is not None:
        bad = ("lost_lines", "doubled_lines", "missed_lines")
        found += [f"{what.replace('_', ' ')}: {killed[what]}" for what in bad if killed[what]]
        found += killed["wrong"]
    if stalled is not None:
        if stalled["most_anonymous_bytes"] > ANONYMOUS_MAX_BYTES:
            found.append(f"the daemon held {stalled['most_anonymous_bytes'] / 2**20:.0f} MiB of its own")
        moved = stalled["p99_with_one_stopped_ms"] / max(stalled["p99_ms"], 1e-9)
        stalled["p99_moved_by"] = round(moved, 3)
        if moved > P99_MOVED_MAX:
            found.append(f"the others' p99 moved by {moved:.2f} while one consumer was stopped")
    return found


def render(results: dict[str, Any], wrong: list[str]) -> str:
    """The report."""
    lines = ["# Soak", ""]
    for part, found in results.items():
        lines += [f"## {part}", "", "| what | figure |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in found.items() if name != "wrong"]
        lines.append("")
    lines += ["All bounds kept." if not wrong else "Not as it should be:", "", *(f"- {what}" for what in wrong)]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills and stalls flowd until one may trust it.")
    parser.add_argument("--rounds", type=int, default=1000, help="rounds of random kill -9 (%(default)s)")
    parser.add_argument("--calm-s", type=float, default=60.0, help="seconds with, and without, one consumer stopped")
    parser.add_argument("--stall-s", type=float, default=600.0, help="seconds with every consumer stopped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("kills", "stalls"), action="append")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), metavar="DIR", help="where the report goes")
    chosen = parser.parse_args()
    parts = chosen.only or ["kills", "stalls"]
    results: dict[str, Any] = {}

    def tell(text: str) -> None:
        say(paint(f"soak: {text}", "dim"))

    try:
        with tempfile.TemporaryDirectory(prefix="flowd-soak-") as folder:
            if "kills" in parts:
                (Path(folder) / "kills").mkdir()
                results["kills"] = kills.soak(Path(folder) / "kills", chosen.rounds, chosen.seed, tell)
            if "stalls" in parts:
                (Path(folder) / "stalls").mkdir()
                results["stalls"] = stalls.soak(Path(folder) / "stalls", chosen.calm_s, chosen.stall_s, tell)
    except FlowdError as error:
        say_failure(error)
        return EXIT_NO
    wrong = judge(results)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "soak.json").write_text(json.dumps({"results": results, "wrong": wrong}, indent=1) + "\n")
    (chosen.out / "soak.md").write_text(render(results, wrong))
    print(render(results, wrong), end="")
    return EXIT_NO if wrong else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
