"""Two threads against one: `FilterSet.filter` of one filter set, called from two threads, on twice the cores.

The same batches, one thread doing all of them or each of two doing half. The filter set is shared, as in a daemon.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from core_filter import GB, over
from measure import Row, Target, rates, run_in_turns, speed_ratios, timed
from settings import NAMESPACE_FILTER, Settings, cut_batches

import flowd

THREADS = 2
TARGET = Target(ratio=1.8)
FORMS = ("text24", "json")


def run(settings: Settings) -> list[Row]:
    """A row for each form; none on a machine of one core."""
    if len(os.sched_getaffinity(0)) < THREADS:
        settings.say("threads: this machine has one core")
        return []
    with ThreadPoolExecutor(THREADS) as pool:
        return [_measure(settings, form, pool) for form in FORMS]


def _measure(settings: Settings, form: str, pool: ThreadPoolExecutor) -> Row:
    corpus = settings.corpus_of(form, settings.scale.core_bytes)
    settings.say(f"threads: {form}, {THREADS} threads")
    batches = list(cut_batches(corpus.path.read_bytes()))
    filters = flowd.compile(NAMESPACE_FILTER)
    times = run_in_turns(
        {
            "one": timed(over(batches, filters.filter)),
            "two": timed(_shared(pool, [over(batches[n::THREADS], filters.filter) for n in range(THREADS)])),
        },
        settings.scale.rounds,
    )
    return Row(
        part="threads",
        what=f"FilterSet.filter, {form}, {THREADS} threads",
        unit="GB/s",
        figure=rates(corpus.bytes / GB, times["two"]),
        peer="one thread",
        peer_figure=rates(corpus.bytes / GB, times["one"]),
        ratio=speed_ratios(times["two"], times["one"]),
        target=TARGET,
        note="not bound to a core; one filter set for both threads",
        is_own_peer=True,
    )


def _shared(pool: ThreadPoolExecutor, works: list[Callable[[], None]]) -> Callable[[], None]:
    """The works, each in a thread, until the last one has ended."""

    def work() -> None:
        for done in [pool.submit(each) for each in works]:
            done.result()

    return work
