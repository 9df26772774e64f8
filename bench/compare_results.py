"""Two results.json side by side: what became faster or slower beyond noise, what did not, what is new or gone.

    python bench/compare_results.py OLD.json NEW.json
    python bench/compare_results.py OLD.json NEW.json -e    # exit code 1 where anything became slower

A figure has moved where its median did by more than 3 % and the runs of old and new do not overlap: the slowest of
the one is faster than the fastest of the other. A figure of a single run has no spread: it must move by 10 %. Where
the row has a peer other than flowd, the ratio to it must have moved, too, by the same rule: a figure that moved with
its peer shows that the machine did.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout that is not installed

import msgspec
from report import FORMAT

from flowd.cli.table import render_table, shorten
from flowd.cli.talk import paint, say, say_failure
from flowd.errors import EXIT_DONE, EXIT_IO, EXIT_NO, FlowdError

MOVED = 0.03
MOVED_SINGLE = 0.10
HEADERS = ("PART", "WHAT", "OLD", "NEW", "CHANGE", "RATIO", "VERDICT")
PEER_LETTERS = 28
RIGHT = ("OLD", "NEW", "CHANGE", "RATIO")
SAME, FASTER, SLOWER, WITH_PEER, NEW, GONE = "same", "faster", "SLOWER", "with its peer", "new", "gone"
COLOURS = {FASTER: "green", SLOWER: "red"}
MACHINE_PARTS = ("cpu", "cores", "kernel", "python", "simd", "engines", "compiler", "peers")
"""What of the machine makes figures another thing; its load and the date do not."""


class BadResults(FlowdError):
    """A file that is no results.json of this form."""

    exit_code = EXIT_IO


class Runs(msgspec.Struct, frozen=True):
    """A figure or a ratio: the median, the least, the most, and each run."""

    median: float
    least: float
    most: float
    runs: tuple[float, ...]


class ResultRow(msgspec.Struct, frozen=True):
    """A row of results.json, as far as a comparison looks at it."""

    part: str
    what: str
    unit: str
    figure: Runs
    less_is_better: bool
    peer: str = ""
    ratio: Runs | None = None
    is_own_peer: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same row in another file."""
        return self.part, self.what, self.peer


class Results(msgspec.Struct, frozen=True):
    """A results.json."""

    format: int
    machine: dict[str, Any]
    scale: dict[str, Any]
    corpora: list[dict[str, Any]]
    rows: list[ResultRow]


@dataclass(frozen=True, slots=True)
class Move:
    """A row of either file or both, and what became of it. `change` is that of the median: 0.05 is 5 % more."""

    verdict: str
    old: ResultRow | None
    new: ResultRow | None
    change: float | None = None
    ratio_change: float | None = None

    @property
    def row(self) -> ResultRow:
        """The newer of its rows."""
        row = self.new or self.old
        assert row is not None
        return row


def read_results(path: Path) -> Results:
    """Reads a results.json. Raises BadResults with the file's name and what is wrong in it."""
    hint = "bench/run.py writes results.json beside its report"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadResults(f"{path}: {error.strerror}", hint=hint) from None
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadResults(f"{path}: not JSON: {error}", hint=hint) from None
    written = found.get("format") if isinstance(found, dict) else None
    if written != FORMAT:
        was = "no format" if written is None else f"format {written}"
        raise BadResults(
            f"{path}: {was}, but format {FORMAT} is read here",
            hint="measure both with the same bench/run.py; older ones did not write every run",
        )
    try:
        results = msgspec.convert(found, Results)
    except msgspec.ValidationError as error:
        raise BadResults(f"{path}: {error}", hint=hint) from None
    keys = [row.key for row in results.rows]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise BadResults(f"{path}: the row {', '.join(filter(None, twice))} stands there twice")
    return results


def compare(old: Results, new: Results) -> list[Move]:
    """Every row of either, in the new one's order, those that are gone last."""
    before, after = ({row.key: row for row in results.rows} for results in (old, new))
    moves = [_judge(before[key], row) if key in before else Move(NEW, None, row) for key, row in after.items()]
    return moves + [Move(GONE, row, None) for key, row in before.items() if key not in after]


def find_differences(old: Results, new: Results) -> list[str]:
    """Why figures of these files might not be comparable at all: another machine, corpus or scale, in words."""
    found = [
        f"the machine's {part}: {_show(old.machine.get(part))}, now {_show(new.machine.get(part))}"
        for part in MACHINE_PARTS
        if old.machine.get(part) != new.machine.get(part)
    ]
    found += [
        f"the scale's {part}: {_show(old.scale.get(part))}, now {_show(new.scale.get(part))}"
        for part in sorted(old.scale.keys() | new.scale.keys())
        if old.scale.get(part) != new.scale.get(part)
    ]
    before, after = ({corpus.get("path"): corpus.get("sha256") for corpus in each.corpora} for each in (old, new))
    found += [
        f"the corpus {name}: sha256 {before[name]}, now {after[name]}"
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    ]
    return found


def _judge(old: ResultRow, new: ResultRow) -> Move:
    direction = _direction(old.figure, new.figure)
    ratio_change = _change(old.ratio, new.ratio) if old.ratio and new.ratio else None
    verdict = SAME
    if direction:
        verdict = FASTER if (direction > 0) != new.less_is_better else SLOWER
        if old.ratio and new.ratio and not new.is_own_peer:
            wanted = 1 if verdict == FASTER else -1  # of a ratio, much is always good
            verdict = verdict if _direction(old.ratio, new.ratio) == wanted else WITH_PEER
    return Move(verdict, old, new, _change(old.figure, new.figure), ratio_change)


def _change(old: Runs, new: Runs) -> float | None:
    """That of the median, as a share; None of nothing."""
    return new.median / old.median - 1 if old.median else None


def _direction(old: Runs, new: Runs) -> int:
    """1 where it is more beyond noise, -1 where it is less, otherwise 0."""
    threshold = MOVED if min(len(old.runs), len(new.runs)) > 1 else MOVED_SINGLE
    if abs(new.median - old.median) <= threshold * abs(old.median):
        return 0
    return int(new.least > old.most) - int(new.most < old.least)


def describe(moves: list[Move], differences: list[str]) -> dict[str, Any]:
    """The comparison as plain data."""
    return {
        "rule": {"moved": MOVED, "moved_of_single_runs": MOVED_SINGLE, "runs_overlap": False},
        "differences": differences,
        "rows": [
            {
                "part": move.row.part,
                "what": move.row.what,
                "peer": move.row.peer,
                "unit": move.row.unit,
                "verdict": move.verdict.lower(),
                "old": msgspec.to_builtins(move.old.figure) if move.old else None,
                "new": msgspec.to_builtins(move.new.figure) if move.new else None,
                "change": move.change,
                "ratio_change": move.ratio_change,
            }
            for move in moves
        ],
    }


def render(moves: list[Move]) -> str:
    """The comparison as a table, and a line that counts its verdicts."""
    cells = [
        (
            move.row.part,
            _name(move.row),
            _figure(move.old),
            _figure(move.new),
            _percent(move.change),
            _percent(move.ratio_change),
            move.verdict,
        )
        for move in moves
    ]
    counts = {verdict: sum(move.verdict == verdict for move in moves) for verdict in
              (SLOWER, FASTER, SAME, WITH_PEER, NEW, GONE)}  # fmt: skip
    told = ", ".join(
        paint(f"{count} {verdict}", COLOURS[verdict], stream=sys.stdout) if count and verdict in COLOURS
        else f"{count} {verdict}"
        for verdict, count in counts.items()
    )  # fmt: skip
    return render_table(HEADERS, cells, RIGHT) + f"\n{told}\n"


def _name(row: ResultRow) -> str:
    """What it is, and beside whom where that is not flowd itself."""
    return row.what if row.is_own_peer or not row.peer else f"{row.what} / {shorten(row.peer, PEER_LETTERS)}"


def _figure(row: ResultRow | None) -> str:
    return f"{row.figure.median:.4g} {row.unit}" if row else "-"


def _percent(change: float | None) -> str:
    return "-" if change is None else f"{change:+.1%}"


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Says what became faster or slower between two results.json.")
    parser.add_argument("old", type=Path, metavar="OLD.json")
    parser.add_argument("new", type=Path, metavar="NEW.json")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("-e", "--exit-code", action="store_true", help="end with 1 where anything became slower")
    chosen = parser.parse_args()
    try:
        old, new = read_results(chosen.old), read_results(chosen.new)
    except BadResults as error:
        say_failure(error)
        return error.exit_code
    moves, differences = compare(old, new), find_differences(old, new)
    for difference in differences:
        say(paint(f"NOT THE SAME: {difference}", "red"))
    if differences:
        say("hint: figures of different machines, corpora or scales say little about flowd")
    print(json.dumps(describe(moves, differences)) + "\n" if chosen.output == "json" else render(moves), end="")
    return EXIT_NO if chosen.exit_code and any(move.verdict == SLOWER for move in moves) else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
