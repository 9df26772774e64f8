"""What rules cost: 1 to 10,000 exclude patterns on one field, the throughput as a share of that with one.

The patterns are prefixes, substrings and regular expressions in turn, each in a section of its own, and match nothing
of the corpus, so that every line pays for all of them. With high cardinality the field's values are new on most lines:
that shows what a value costs when it is seen for the first time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from core_filter import GB, over
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios, timed
from settings import Settings, cut_batches

import flowd
from flowd.corpus import Cardinality
from flowd.filterset import FilterSet

SHARE_AT = 1_000
"""The number of rules for which there is a target; fewer reach it too, more inform."""
LEAST_SHARE = 0.7
HIGH_RULES = (1, 100, 1_000)
HIGH_PART = 8
FIELDS = {"low": "dest_name_aggr", "high": "dest_name"}
TWO_FIELDS = ("source_name_aggr", "dest_name_aggr")
TWO_FIELDS_TARGET = Target(ratio=0.8)
PATTERNS = ("^zone-{}-", "canary-{}-blue", r"^zone-\d+-(?:east|west)-{}$")


def run(settings: Settings) -> list[Row]:
    """One row for each number of rules."""
    low = _measure(settings, settings.scale.rules, "low", settings.scale.rules_bytes)
    fewer = tuple(count for count in HIGH_RULES if count in settings.scale.rules)
    high = _measure(settings, fewer, "high", settings.scale.rules_bytes // HIGH_PART)
    return [*low, *high, _measure_two_fields(settings, max(settings.scale.rules))]


def write_rules(count: int, field: str, patterns: Sequence[str] = PATTERNS) -> str:
    """A filter text with so many exclude rules, each in a section of its own, of these patterns in turn."""
    return "".join(_write_sections(count, field, patterns))


def _write_sections(count: int, field: str, patterns: Sequence[str]) -> Iterator[str]:
    for number in range(count):
        pattern = patterns[number % len(patterns)].format(number)
        yield f"<filter flows>\n  @type grep\n  <exclude>\n    key {field}\n    pattern /{pattern}/\n  </exclude>\n"
        yield "</filter>\n"


def _measure_two_fields(settings: Settings, count: int) -> Row:
    """So many patterns on each of two fields, against one on each."""
    corpus = settings.corpus_of("text24", settings.scale.rules_bytes)
    batches = list(cut_batches(corpus.path.read_bytes()))
    settings.say(f"rules: {count:,} on each of two fields")
    filters = {
        number: flowd.compile("".join(write_rules(number, field) for field in TWO_FIELDS)) for number in (count, 1)
    }
    with one_core():
        times = run_in_turns(
            {str(number): timed(over(batches, filter_set.filter)) for number, filter_set in filters.items()},
            settings.scale.rounds,
        )
    return Row(
        part="rules",
        what=f"{count:,} exclude patterns on each of two fields, text24",
        unit="GB/s",
        figure=rates(corpus.bytes / GB, times[str(count)]),
        peer="1 pattern on each",
        peer_figure=rates(corpus.bytes / GB, times["1"]),
        ratio=speed_ratios(times[str(count)], times["1"]),
        target=TWO_FIELDS_TARGET,
        is_own_peer=True,
    )


def _measure(settings: Settings, counts: tuple[int, ...], cardinality: Cardinality, size_bytes: int) -> list[Row]:
    corpus = settings.corpus_of("text24", size_bytes, cardinality)
    batches = list(cut_batches(corpus.path.read_bytes()))
    compiled: dict[int, tuple[FilterSet, float]] = {}
    for count in counts:
        settings.say(f"rules: compiling {count:,}")
        began_s = time.perf_counter()
        filters = flowd.compile(write_rules(count, FIELDS[cardinality]))
        compiled[count] = (filters, time.perf_counter() - began_s)
    settings.say(f"rules: {cardinality} cardinality")
    with one_core():
        times = run_in_turns(
            {str(count): timed(over(batches, filters.filter)) for count, (filters, _) in compiled.items()},
            settings.scale.rounds,
        )
    return [
        Row(
            part="rules",
            what=f"{count:,} exclude pattern{'s' if count > 1 else ''} on one field, text24"
            + (", high cardinality" if cardinality == "high" else ""),
            unit="GB/s",
            figure=rates(corpus.bytes / GB, times[str(count)]),
            peer="1 pattern",
            peer_figure=rates(corpus.bytes / GB, times["1"]),
            ratio=speed_ratios(times[str(count)], times["1"]),
            target=Target(ratio=LEAST_SHARE) if count == SHARE_AT and cardinality == "low" else None,
            note=f"compiled in {took_s:.2f} s",
            is_own_peer=True,
            point=(f"{FIELDS[cardinality]}, {cardinality} cardinality", count),
        )
        for count, (_, took_s) in compiled.items()
    ]
