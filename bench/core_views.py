"""Views in one pass: 1, 10 and 100 filter sets of five rules over the same lines, against one set by itself.

Batches of 1 MiB in, for each view a buffer of what it keeps out. Of the realistic kind each view keeps a few per cent:
one workload, or every sixth one namespace, of those with at most a twentieth of the lines. Of the hostile kind each
drops a fifth of its own choice, so that a hundred views copy eighty times what came. `decided` is the same without the
copies: it is known of each view how many lines and bytes it keeps, and which.

One set by itself is the mean of five of the views, each over all batches. Seconds are the thread's own on the
processor.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from random import Random
from typing import NamedTuple

from core_filter import GB, over
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios
from settings import Settings, cut_batches

import flowd
from flowd.fanout import FanOut
from flowd.filterset import FilterSet
from flowd.memory import keep_freed_memory
from flowd.records import decode_lines

VIEWS = (1, 10, 100)
MANY = VIEWS[-1]
LEAST_SHARE = 0.5
"""Of the throughput of one view, with a hundred of the realistic kind."""
PEER_STEP = 23
"""Every so manyth view is run by itself, too: of five one keeps a namespace."""
ALONE_BATCHES = 4
"""So many batches show what a hundred views cost one by one: fifty times as much."""
NAMELESS = {"-", "pvt", "pub"}
MOST_SHARE = 0.05
"""Of the lines, that a realistic view may keep."""
DROPPED_SHARE = 0.1
"""Of the lines, by their source and again by their destination: hostile views keep four fifths."""


class Names(NamedTuple):
    """The workloads and namespaces of a corpus, how many of its lines' ends they are, and of how many lines."""

    workloads: Counter[str]
    namespaces: Counter[str]
    lines: int

    def rare(self, known: Counter[str]) -> list[str]:
        """Of these names those that few lines have, the most frequent first."""
        return [name for name, count in known.most_common() if count <= MOST_SHARE * self.lines]


def run(settings: Settings) -> list[Row]:
    """For each form and kind of views a row for each number of them, and one without copies."""
    keep_freed_memory()  # as the daemon does
    return [
        row
        for form in ("text24", "json")
        for kind, write_views in (("realistic", write_realistic), ("hostile", write_hostile))
        for row in _measure(settings, form, kind, write_views)
    ]


def read_names(batches: list[bytes]) -> Names:
    """The names in the first batches: of so many workloads that each view has one, where the corpus has them."""
    names = Names(Counter(), Counter(), 0)
    for batch in batches:
        records = decode_lines(batch)
        for record in records:
            for end in ("source", "dest"):
                names.workloads[record[f"{end}_name_aggr"]] += 1
                names.namespaces[record[f"{end}_namespace"]] += 1
        names = names._replace(lines=names.lines + len(records))
        if len(names.rare(names.workloads)) >= MANY + len(NAMELESS):
            break
    for name in NAMELESS:
        names.workloads.pop(name, None)
        names.namespaces.pop(name, None)
    return names


def write_realistic(names: Names) -> Iterator[str]:
    """Texts of views that keep what one workload, or one namespace, sends or receives, but for three exceptions."""
    workloads = cycle(names.rare(names.workloads))  # a small run knows fewer
    namespaces = iter(names.rare(names.namespaces))
    for number in range(MANY):
        own = next(namespaces, None) if number % 6 == 5 else None
        key, own = ("namespace", own) if own is not None else ("name_aggr", next(workloads))
        ends = "".join(_write_rule("regexp", f"{end}_{key}", f"^{re.escape(own)}$") for end in ("source", "dest"))
        yield _write_filter(f"<or>\n{ends}</or>\n", _write_exceptions())


def write_hostile(names: Names) -> Iterator[str]:
    """Texts of views that each drop a fifth of the lines: workloads drawn for it, the same for each run."""
    for number in range(MANY):
        rng = Random(number)
        chosen = [_draw_workloads(rng, names.workloads) for _ in range(2)]
        rules = [
            _write_rule("exclude", f"{end}_name_aggr", f"^(?:{'|'.join(map(re.escape, workloads))})$")
            for end, workloads in zip(("source", "dest"), chosen, strict=True)
        ]
        yield _write_filter(*rules, _write_exceptions())


def _draw_workloads(rng: Random, workloads: Counter[str]) -> list[str]:
    names = list(workloads)
    rng.shuffle(names)
    left = DROPPED_SHARE * workloads.total()
    drawn = []
    for name in names:
        if workloads[name] <= left:
            left -= workloads[name]
            drawn.append(name)
    return drawn


def _write_exceptions() -> str:
    exceptions = {"action": "^deny$", "dest_port": "^8443$", "proto": "^(?:1|icmp)$"}
    return "".join(_write_rule("exclude", key, pattern) for key, pattern in exceptions.items())


def _write_rule(kind: str, key: str, pattern: str) -> str:
    return f"<{kind}>\nkey {key}\npattern /{pattern}/\n</{kind}>\n"


def _write_filter(*rules: str) -> str:
    return "<filter flows>\n@type grep\n" + "".join(rules) + "</filter>\n"


def _measure(settings: Settings, form: str, kind: str, write_views: Callable[[Names], Iterator[str]]) -> Iterator[Row]:
    corpus = settings.corpus_of(form, settings.scale.rules_bytes // 2)
    batches = list(cut_batches(corpus.path.read_bytes()))
    settings.say(f"views: {form}, {kind}")
    sets = [flowd.compile(text) for text in write_views(read_names(batches))]
    fan_outs = {count: FanOut([filter_set.twin() for filter_set in sets[:count]]) for count in VIEWS}
    many = fan_outs[MANY]
    share = _check(many, sets, batches[:2])
    with one_core():
        times = run_in_turns(
            {
                "one": _alone(batches, sets[::PEER_STEP]),
                **{str(count): partial(_run, over(batches, fan_out.apply)) for count, fan_out in fan_outs.items()},
                "decided": partial(_run, over(batches, many.decide)),
            },
            settings.scale.rounds,
        )
        one_by_one = [_run(over(batches[:ALONE_BATCHES], filter_set.apply_borrowing)) for filter_set in sets]
    slower = sum(one_by_one) / min(times[str(MANY)]) * len(batches) / len(batches[:ALONE_BATCHES])
    for name in (*map(str, VIEWS), "decided"):
        is_target = name == str(MANY) and kind == "realistic"
        count = MANY if name == "decided" else int(name)
        yield Row(
            part="views",
            what=f"{count} view{'s' if count > 1 else ''} in one pass, {kind}, {form}"
            + (", decided only" if name == "decided" else ""),
            unit="GB/s",
            figure=rates(corpus.bytes / GB, times[name]),
            peer="one view by itself",
            peer_figure=rates(corpus.bytes / GB, times["one"]),
            ratio=speed_ratios(times[name], times["one"]),
            target=Target(ratio=LEAST_SHARE) if is_target else None,
            note=f"each keeps {share:.1%} in the mean; one by one takes {slower:.0f} times as long"
            if name == str(MANY)
            else "",
            is_own_peer=True,
            point=(f"{kind}, {form}", count) if name != "decided" else None,
            axis="views in one pass",
        )


def _run(work: Callable[[], None]) -> float:
    began_s = time.thread_time()
    work()
    return time.thread_time() - began_s


def _check(fan_out: FanOut, sets: list[FilterSet], batches: list[bytes]) -> float:
    """What the views keep, in the mean; both ways keep the same."""
    kept_bytes = 0
    for batch in batches:
        kept = fan_out.apply(batch).kept
        if kept != [filter_set.filter(batch) for filter_set in sets]:
            raise flowd.FlowdError("views in one pass keep other lines than one by one")
        kept_bytes += sum(len(memoryview(lines)) for lines in kept)
    return kept_bytes / sum(map(len, batches)) / len(sets)


def _alone(batches: list[bytes], sets: list[FilterSet]) -> Callable[[], float]:
    """A contestant: the seconds of one of these sets, in the mean."""

    def run_alone() -> float:
        return sum(_run(over(batches, filter_set.apply_borrowing)) for filter_set in sets) / len(sets)

    return run_alone
