"""`flowd compare --journal`: new filters on what a running daemon has kept, and an estimate of what it has dropped.

The journal holds kept lines only: what would be dropped of them is counted. What would be kept of the others is
estimated from the sample of dropped lines that the daemon has in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from flowd.cli.comparing.report import describe_change, find_places, render_changes, render_examples
from flowd.cli.progress import Progress
from flowd.cli.table import render_table, show_bytes, show_count, show_number, show_share
from flowd.comparison import Change, Comparison, Direction
from flowd.filterset import compile

if TYPE_CHECKING:
    from flowd.filterset import FilterSet, Format

SURE = 1.96
"""Standard deviations to either side of an estimate that hold the truth in 95 of 100 cases."""
ESTIMATED = ("CHANGE", "NEW RULE", "LINES", "BYTES", "SHARE")


class Span(NamedTuple):
    """One stretch of time of the daemon's sample: how many lines were dropped in it, how many of them were picked, and
    those of them that are wanted."""

    since_ns: int
    dropped_lines: int
    picked_lines: int
    lines: Sequence[bytes]

    @property
    def scale(self) -> float:
        """How many dropped lines one that was picked stands for."""
        return self.dropped_lines / self.picked_lines if self.picked_lines else 0.0


@dataclass(slots=True)
class Estimate:
    """What new filters would keep of the lines that a daemon dropped since `since_ns`, about.

    `sampled_lines` were looked at and stand for `stands_for_lines`. The truth lies within `plus_minus_lines` of
    `newly_kept_lines` in 95 of 100 cases. `changes` are the new rules: what they are, and estimated lines and bytes.
    """

    since_ns: int
    sampled_lines: int = 0
    stands_for_lines: float = 0.0
    newly_kept_lines: float = 0.0
    newly_kept_bytes: float = 0.0
    plus_minus_lines: float = 0.0
    changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scale(self) -> float:
        """How many dropped lines one of the sample stands for, on the whole."""
        return self.stands_for_lines / self.sampled_lines if self.sampled_lines else 0.0

    def describe(self) -> dict[str, Any]:
        """As plain data, in whole lines and bytes."""
        return {
            "is_estimate": True,
            "since_ns": self.since_ns,
            "sampled_lines": self.sampled_lines,
            "stands_for_lines": round(self.stands_for_lines),
            "scale": round(self.scale, 3),
            "newly_kept": {
                "lines": round(self.newly_kept_lines),
                "plus_minus_lines": math.ceil(self.plus_minus_lines),
                "bytes": round(self.newly_kept_bytes),
            },
            "changes": [
                {**change, "lines": round(change["lines"]), "bytes": round(change["bytes"])} for change in self.changes
            ],
        }


class Journal:
    """A daemon's journal and its sample of dropped lines, of one stream and since a time (ns since 1970)."""

    def __init__(self, consume: str, admin: str, stream: str, since_ns: int, timeout_s: float) -> None:
        self.missed_lines = 0
        """Kept lines that were retired before they could be read."""
        self._consume = consume
        self._admin = admin
        self._stream = stream
        self._since_ns = since_ns
        self._timeout_s = timeout_s

    def read_kept(self) -> Iterator[bytes]:
        """The kept lines that are stored now, a batch at a time; no cursor is left behind. Raises Unreachable and
        Refused."""
        from flowd.client import Consumer

        with Consumer(self._consume, stream=self._stream, until="newest", since_ns=self._since_ns) as reader:
            reader.connect(self._timeout_s)
            taken = reader.taken_batches
            while True:
                batch = reader.poll(self._timeout_s)
                if batch is not None:
                    self.missed_lines += batch.missed
                    yield batch.lines
                elif reader.is_done:
                    return
                elif reader.taken_batches == taken:
                    raise reader.unreachable(self._timeout_s)
                taken = reader.taken_batches

    def read_dropped(self) -> list[Span]:
        """The daemon's sample of dropped lines, without what is older than wanted. Raises Unreachable and Refused."""
        from flowd.client import request

        answer = request(self._admin, "dropped", self._timeout_s, stream=self._stream)
        return [
            Span(
                max(span["since_ns"], self._since_ns),
                span["dropped_lines"],
                span["picked_lines"],
                [
                    line
                    for line, time_ns in zip(span["lines"], span["times_ns"], strict=True)
                    if time_ns >= self._since_ns
                ],
            )
            for span in answer["spans"]
        ]


def compare_kept(journal: Journal, new: FilterSet, examples: int, form: Format, *, quiet: bool) -> Comparison:
    """Compares on the kept lines: what old filters would say of a line that was kept is that it is kept."""
    comparison = Comparison(compile("", new.stream), new, examples=examples, format=form)
    progress = Progress(None, is_shown=not quiet)
    done_bytes = 0
    try:
        for lines in journal.read_kept():
            comparison.add(lines)
            done_bytes += len(lines)
            progress.show(done_bytes)
    finally:
        progress.clear()
    return comparison


def estimate_dropped(spans: Sequence[Span], new: FilterSet, examples: int, form: Format) -> Estimate:
    """How much new filters would keep of what was dropped. Spans are strata: what they say is added up."""
    estimate = Estimate(min((span.since_ns for span in spans), default=0))
    nothing = compile("", new.stream)
    variance = 0.0
    by_rule: dict[tuple[str, str], dict[str, Any]] = {}
    for span in spans:
        comparison = Comparison(nothing, new, examples=examples, format=form, with_rules=True)
        comparison.add(b"".join(span.lines))
        kept = [pair for pair in comparison.pairs if pair.new_verdict != "D"]
        for pair in kept:
            _add_up(by_rule, pair, span.scale, examples, find_places(new))
        estimate.sampled_lines += len(span.lines)
        estimate.stands_for_lines += len(span.lines) * span.scale
        variance += _find_variance(span, sum(pair.lines for pair in kept))
    estimate.changes = sorted(by_rule.values(), key=lambda change: -change["lines"])
    estimate.newly_kept_lines = sum(change["lines"] for change in estimate.changes)
    estimate.newly_kept_bytes = sum(change["bytes"] for change in estimate.changes)
    estimate.plus_minus_lines = SURE * math.sqrt(variance)
    return estimate


def _add_up(
    by_rule: dict[tuple[str, str], dict[str, Any]],
    pair: Change,
    scale: float,
    examples: int,
    places: dict[str, str],
) -> None:
    """Adds what one rule keeps of a span's lines, scaled to all that were dropped. Which rule dropped them is not
    known any more."""
    kept = pair._replace(old_verdict="D", old_rule="")
    described = by_rule.setdefault(
        (pair.new_verdict, pair.new_rule), {**describe_change(kept, {}, places), "lines": 0.0, "bytes": 0.0}
    )
    described["lines"] += pair.lines * scale
    described["bytes"] += pair.bytes * scale
    more = [example.decode("utf-8", "replace") for example in pair.examples]
    described["examples"] = [*described["examples"], *(e for e in more if e not in described["examples"])][:examples]


def _find_variance(span: Span, kept_lines: int) -> float:
    """Of the estimate of how many of a span's dropped lines would be kept.

    The share is drawn a little towards the middle (as Agresti and Coull do), so that none of few is not taken for none
    of all. Where every dropped line was picked nothing is estimated.
    """
    if not span.picked_lines or span.picked_lines >= span.dropped_lines:
        return 0.0
    share = (kept_lines + 2) / (span.picked_lines + 4)
    unseen = 1 - span.picked_lines / span.dropped_lines
    return span.dropped_lines**2 * share * (1 - share) / span.picked_lines * unseen


def describe_journal(comparison: Comparison, estimate: Estimate, new: str, since_ns: int) -> dict[str, Any]:
    """Both as plain data."""
    places = find_places(comparison.new)
    direction: Direction = "newly dropped"
    changes = [change._replace(old_rule="") for change in comparison.changes if change.direction == direction]
    return {
        "stream": comparison.new.stream,
        "old": "",
        "new": new,
        "since_ns": since_ns,
        "lines": comparison.lines,
        "bytes": comparison.bytes,
        "newly_dropped": comparison.total(direction)._asdict(),
        "changes": [describe_change(change, {}, places) for change in changes],
        "moves": [],
        "estimate": estimate.describe(),
    }


def render_journal(described: dict[str, Any]) -> str:
    """What would be dropped of the kept lines, and about how much would be kept of the dropped ones."""
    dropped, lines = described["newly_dropped"], described["lines"]
    text = (
        f"{described['stream']}: {show_number(lines, 'line')} ({show_bytes(described['bytes'])}) in the journal, kept"
        f" since {show_time(described['since_ns'])}\n{render_changes(described)}"
    )
    text += "\n" if described["changes"] else ""
    text += (
        f"newly dropped: {show_number(dropped['lines'], 'line')} ({show_bytes(dropped['bytes'])}),"
        f" {show_share(dropped['lines'], lines)}\n"
    )
    return text + _render_estimate(described["estimate"])


def _render_estimate(estimate: dict[str, Any]) -> str:
    if not estimate["sampled_lines"]:
        return "newly kept: the daemon knows of no line that it has dropped meanwhile\n"
    kept = estimate["newly_kept"]
    is_exact = estimate["sampled_lines"] == estimate["stands_for_lines"]
    about = "" if is_exact else f"about {show_count(kept['lines'])} ± {show_count(kept['plus_minus_lines'])} lines"
    text = (
        f"newly kept: {about or show_number(kept['lines'], 'line')} ({show_bytes(kept['bytes'])}),"
        f" {show_share(kept['lines'], estimate['stands_for_lines'])}\n"
    )
    if is_exact:
        text += f"  of all {show_number(estimate['sampled_lines'], 'line')}"
    else:
        text += (
            f"  an ESTIMATE from a sample of {show_number(estimate['sampled_lines'], 'line')}, which stand for"
            f" {show_count(estimate['stands_for_lines'])} (1 for {estimate['scale']:,.1f})"
        )
    text += f" dropped since {show_time(estimate['since_ns'])}\n"
    if estimate["changes"]:
        rows = [
            (
                "newly kept",
                change["new_rule"] + (f" ({change['new_place']})" if change["new_place"] else ""),
                show_count(change["lines"]),
                show_bytes(change["bytes"]),
                show_share(change["lines"], estimate["stands_for_lines"]),
            )
            for change in estimate["changes"]
        ]
        text += "\n" + render_table(ESTIMATED, rows, ESTIMATED[2:]) + render_examples(estimate["changes"])
    return text


def show_time(time_ns: int) -> str:
    """A time as people here read it."""
    return datetime.fromtimestamp(time_ns / 1e9).isoformat(" ", "seconds")
