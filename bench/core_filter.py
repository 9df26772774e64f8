"""The core alone: `FilterSet.filter` on lines in memory, against the newline scan of the same batches by memchr.

Batches of 1 MiB, cut before, one thread on one core. The scan does less than any filter could: it is the floor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from measure import Row, Target, one_core, rates, ratios, run_in_turns, speed_ratios, spread, timed
from settings import NAMES_FILTER, NAMESPACE_FILTER, POD_FILTER, Corpus, Settings, cut_batches

import flowd
from flowd._core import scan_newlines, simd
from flowd.corpus import Cardinality

GB = 1e9
NAMES_SHARE = 4


class Case(NamedTuple):
    """A corpus to be filtered, and what is to be reached on it."""

    form: str
    cardinality: Cardinality = "low"
    stream: str = "flows"
    filters: str = NAMESPACE_FILTER
    target: Target | None = None
    share: int = 1
    """High cardinality is made slowly: this part of the bytes must do."""


TARGET_LEVEL = "avx512"
"""The targets are for machines that have it; others inform."""
LEVEL_0 = Target(ratio=0.4)
CASES = (
    Case("text24", target=Target(figure=5.0, ratio=0.35)),
    Case("json", target=Target(figure=5.0)),
    Case("text24-labels"),
    Case("text27"),
    Case("dns", stream="dns", filters=NAMES_FILTER),
    Case("text24", "high", share=4),
    Case("json", "high", share=2),
)


def run(settings: Settings) -> list[Row]:
    """One row a corpus, and one for names that hardly repeat."""
    return [*(_run_case(settings, case) for case in CASES), _run_names(settings)]


def _run_case(settings: Settings, case: Case) -> Row:
    corpus = settings.corpus_of(case.form, settings.scale.core_bytes // case.share, case.cardinality)
    settings.say(f"core: {case.form}, {case.cardinality} cardinality")
    batches = list(cut_batches(corpus.path.read_bytes()))
    filters = flowd.compile(case.filters, stream=case.stream)
    kept = sum(filters.filter(batch).count(b"\n") for batch in batches)
    with one_core():
        times = run_in_turns(
            {"flowd": timed(over(batches, filters.filter)), "memchr": timed(over(batches, scan_newlines))},
            settings.scale.rounds,
        )
    return Row(
        part="core",
        what=f"FilterSet.filter, {case.form}" + (", high cardinality" if case.cardinality == "high" else ""),
        unit="GB/s",
        figure=rates(corpus.bytes / GB, times["flowd"]),
        peer="newline scan (memchr)",
        peer_figure=rates(corpus.bytes / GB, times["memchr"]),
        ratio=speed_ratios(times["flowd"], times["memchr"]),
        target=case.target if simd()[0] == TARGET_LEVEL else None,
        note=_describe(corpus, kept, min(times["flowd"])),
    )


def _run_names(settings: Settings) -> Row:
    """A pattern on pods' names with aggregation off, where nearly all are new, against aggregated, where few recur."""
    settings.say("core: text24, pods' names")
    sizes: dict[str, int] = {}
    works = {}
    for cardinality in ("high", "low"):
        corpus = settings.corpus_of("text24", settings.scale.core_bytes // NAMES_SHARE, cardinality)
        sizes[cardinality] = corpus.bytes
        batches = list(cut_batches(corpus.path.read_bytes()))
        works[cardinality] = timed(over(batches, flowd.compile(POD_FILTER).filter))
    with one_core():
        times = run_in_turns(works, settings.scale.rounds)
    high, low = ([sizes[name] / GB / run_s for run_s in times[name]] for name in ("high", "low"))
    return Row(
        part="core",
        what="FilterSet.filter, text24, a pattern on source_name, aggregation level 0",
        unit="GB/s",
        figure=spread(high),
        peer="the same, aggregated",
        peer_figure=spread(low),
        ratio=ratios(high, low),
        target=LEVEL_0,
        note=f"{sizes['high']:,} bytes, of which nearly every line has a new name",
        is_own_peer=True,
    )


def over(batches: list[bytes], walk: Callable[[bytes], object]) -> Callable[[], None]:
    """The work of walking through all batches once."""

    def work() -> None:
        for batch in batches:
            walk(batch)

    return work


def _describe(corpus: Corpus, kept: int, least_s: float) -> str:
    return (
        f"{corpus.lines:,} lines of {corpus.bytes / corpus.lines:.0f} B, {kept / corpus.lines:.1%} kept, "
        f"{least_s / corpus.lines * 1e9:.0f} ns a line at best"
    )
