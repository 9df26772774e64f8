"""What the core's speed depends on, one thing at a time: rules, form, cardinality, share kept, length of lines.

Every row is lines of one corpus through one filter set, in one thread on one core; the rows of a group run in turns,
and its first row is their peer. Rules match nothing, so that every line pays for all of them. What is kept is set by a
pattern on the hash in pods' names; the note says how much that came out to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from core_filter import GB, over
from core_rules import FIELDS, write_rules
from measure import Row, one_core, rates, ratios, run_in_turns, timed
from settings import Corpus, Settings, cut_batches

import flowd
from flowd.corpus import Cardinality

FORMS = ("text24", "text24-labels", "text27", "json")
DNS_FIELD = "qname"
KEPT = {"all": "^zone-0-$", "three quarters": "[0-3]-[*]$", "half": "[0-7]-[*]$", "few": "[0-9a-f]-[*]$", "none": "."}
PART_BYTES = 4
"""Of what the rules' part walks through: there are many rows here."""


class Point(NamedTuple):
    """A corpus and a filter text."""

    what: str
    corpus: Corpus
    filters: str
    stream: str = "flows"
    place: tuple[str, int] | None = None
    """Where it is in the plot."""


def run(settings: Settings) -> list[Row]:
    """Groups of rows: rules by form, rules with high cardinality, the share kept."""
    counts = [count for count in settings.scale.rules if count != 10]
    rows: list[Row] = []
    for form in FORMS:
        rows += _measure(settings, _vary_rules(settings, form, "low", counts))
    rows += _measure(settings, _vary_rules(settings, "dns", "low", counts))
    for form in ("text24", "json"):
        rows += _measure(settings, _vary_rules(settings, form, "high", [count for count in counts if count <= 1_000]))
    for form in ("text24", "json"):
        rows += _measure(settings, _vary_share(settings, form))
    return rows


def _corpus(settings: Settings, form: str, cardinality: Cardinality) -> Corpus:
    return settings.corpus_of(form, settings.scale.rules_bytes // PART_BYTES, cardinality)


def _vary_rules(settings: Settings, form: str, cardinality: Cardinality, counts: Sequence[int]) -> list[Point]:
    corpus = _corpus(settings, form, cardinality)
    stream = "dns" if form == "dns" else "flows"
    field = DNS_FIELD if form == "dns" else FIELDS[cardinality]
    return [
        Point(
            f"{form}, {cardinality} cardinality, {count:,} rule{'s' if count > 1 else ''}",
            corpus,
            write_rules(count, field).replace("<filter flows>", f"<filter {stream}>"),
            stream,
            (f"{form}, {cardinality} cardinality", count),
        )
        for count in counts
    ]


def _vary_share(settings: Settings, form: str) -> list[Point]:
    corpus = _corpus(settings, form, "low")
    return [
        Point(f"{form}, {share} kept", corpus, write_rules(1, FIELDS["low"], (pattern,)))
        for share, pattern in KEPT.items()
    ]


def _measure(settings: Settings, points: list[Point]) -> list[Row]:
    settings.say(f"core-grid: {points[0].what} to {points[-1].what.rpartition(', ')[2]}")
    sets = {point.what: flowd.compile(point.filters, stream=point.stream) for point in points}
    batches = list(cut_batches(points[0].corpus.path.read_bytes()))
    kept = {what: sum(filters.filter(batch).count(b"\n") for batch in batches) for what, filters in sets.items()}
    with one_core():
        times = run_in_turns(
            {what: timed(over(batches, filters.filter)) for what, filters in sets.items()}, settings.scale.rounds
        )
    corpus, first = points[0].corpus, points[0].what
    places = {point.what: point.place for point in points}
    return [
        Row(
            part="core-grid",
            what=what,
            unit="GB/s",
            figure=rates(corpus.bytes / GB, times[what]),
            peer=first if what != first else "",
            peer_figure=rates(corpus.bytes / GB, times[first]) if what != first else None,
            ratio=ratios(times[first], times[what]) if what != first else None,
            note=f"{corpus.bytes / corpus.lines:.0f} B a line, {kept[what] / corpus.lines:.1%} kept, "
            f"{min(times[what]) / corpus.lines * 1e9:.0f} ns a line at best",
            is_own_peer=True,
            point=places[what],
        )
        for what in times
    ]
