"""What flowd's own conditions cost: 1,000 networks and 1,000 patterns, each a rule of its own, against one of each.

The networks and patterns match nothing of the corpus, so that every line pays for all of them. With high cardinality
the addresses are new on most lines: that shows what a value costs when it is seen for the first time.
"""

from __future__ import annotations

from core_filter import GB, over
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios, timed
from settings import Settings, cut_batches

import flowd
from flowd.corpus import Cardinality

MANY = 1_000
LEAST_SHARE = 0.7
PATTERNS = ("/^zone-{}-/", "/canary-{}-blue/", r"/^zone-\d+-(?:east|west)-{}$/")
PREFIXES = (16, 20, 24, 28, 32)


def run(settings: Settings) -> list[Row]:
    """A row for each form of lines, and one for addresses that hardly repeat."""
    return [
        _measure(settings, "json", "low"),
        _measure(settings, "text24", "low"),
        _measure(settings, "json", "high"),
    ]


def write_rules(count: int) -> str:
    """A filter text with so many networks on `source_ip` and as many patterns on `dest_name_aggr`."""
    rules = []
    for number in range(count):
        prefix = PREFIXES[number % len(PREFIXES)]
        network = (
            f"100.{64 + number // 256}.{number % 256}.0/{prefix}" if prefix >= 24 else f"192.{number % 160}.0.0/16"
        )
        pattern = PATTERNS[number % len(PATTERNS)].format(number)
        rules.append(f"  <exclude>\n    key source_ip\n    cidr {network}\n  </exclude>\n")
        rules.append(f"  <exclude>\n    key dest_name_aggr\n    pattern {pattern}\n  </exclude>\n")
    return f"<filter flows>\n  @type flowd\n{''.join(rules)}</filter>\n"


def _measure(settings: Settings, form: str, cardinality: Cardinality) -> Row:
    corpus = settings.corpus_of(form, settings.scale.rules_bytes, cardinality)
    batches = list(cut_batches(corpus.path.read_bytes()))
    settings.say(f"conditions: {form}, {cardinality} cardinality")
    filters = {count: flowd.compile(write_rules(count), dialect=None) for count in (1, MANY)}
    with one_core():
        times = run_in_turns(
            {str(count): timed(over(batches, filter_set.filter)) for count, filter_set in filters.items()},
            settings.scale.rounds,
        )
    return Row(
        part="conditions",
        what=f"{MANY:,} networks and {MANY:,} patterns, {form}, {cardinality} cardinality",
        unit="GB/s",
        figure=rates(corpus.bytes / GB, times[str(MANY)]),
        peer="1 of each",
        peer_figure=rates(corpus.bytes / GB, times["1"]),
        ratio=speed_ratios(times[str(MANY)], times["1"]),
        target=Target(ratio=LEAST_SHARE),
        is_own_peer=True,
    )
