"""How long filters take to compile: 1 to 10,000 rules on one field, as words and as regular expressions.

`flowd.compile` alone: reading the text, building every engine that the rules need, nothing filtered. One thread.
"""

from __future__ import annotations

from core_rules import FIELDS, write_rules
from measure import Row, one_core, run_in_turns, spread, timed
from settings import Settings

import flowd

KINDS = {"words": "canary-{}-blue", "regular expressions": r"^zone-\d+-(?:east|west)-{}$"}
MANY, ROUNDS_OF_MANY = 10_000, 2
"""So many rules take many seconds: they are compiled less often, and nothing of it is a warm-up."""


def run(settings: Settings) -> list[Row]:
    """A row for each kind of pattern and number of rules."""
    return [_measure(settings, kind, count) for kind in KINDS for count in settings.scale.rules]


def _measure(settings: Settings, kind: str, count: int) -> Row:
    settings.say(f"compile: {count:,} {kind}")
    text = write_rules(count, FIELDS["low"], (KINDS[kind],))
    compile_once = timed(lambda: flowd.compile(text))
    with one_core():
        if count < MANY:
            times = run_in_turns({kind: compile_once}, settings.scale.rounds)[kind]
        else:
            times = [compile_once() for _ in range(ROUNDS_OF_MANY)]
    return Row(
        part="compile",
        what=f"flowd.compile, {count:,} {'rule' if count == 1 else 'rules'}, {kind}",
        unit="ms",
        figure=spread([run_s * 1000 for run_s in times]),
        note=f"{spread(times).median / count * 1e6:,.0f} µs a rule, {len(text):,} bytes of text",
        point=(kind, count),
    )
