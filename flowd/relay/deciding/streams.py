"""The streams that the daemon has seen: each with what decides its lines, its totals, and samples of its lines.

A stream comes into being with its first batch, which is when its filters are compiled. Their number is bounded. New
filters take over in all streams at once, between two batches.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowd.relay.deciding.deciders import BYPASS_KEY, RETIRED_KEY, Counts, Deciders, RuleKey, Tally
from flowd.relay.deciding.dropped import DroppedSample
from flowd.relay.deciding.rulebook import Rulebook
from flowd.relay.deciding.sample import Sample
from flowd.relay.deciding.views import Views

if TYPE_CHECKING:
    from flowd.filterset import Borrowed, FilterSet
    from flowd.relay.deciding.tap import Tap

STREAMS_MAX = 64
"""Streams of one node: Calico writes a dozen. Each may hold tables of some MiB."""
FIRST_STREAM = "flows"
"""Is there from the start: its filters are compiled before anything is promised, and it beats from the beginning."""
EARLIER_MAX = 100_000
"""Rules whose earlier decisions are remembered by what they said; those of more that are no more become one sum."""


@dataclass(slots=True)
class Totals:
    """What a stream has carried since the daemon began."""

    batches: int = 0
    lines: int = 0
    bytes: int = 0
    kept_lines: int = 0
    kept_bytes: int = 0
    malformed_lines: int = 0
    error_lines: int = 0


class Stream:
    """What decides a stream's lines, and the totals: one thread carries and changes, others read.

    `filter_set` decides, as `generation`; it is `loaded` unless filtering is bypassed. `taps` are offered each batch;
    the thread that answers administrators sets them.
    """

    def __init__(
        self,
        name: str,
        loaded: FilterSet,
        generation: int,
        bypass: FilterSet | None,
        deciders: Deciders | None = None,
    ) -> None:
        """`deciders` are those of `loaded`, where they are known already; `decide_by` likewise."""
        self.name = name
        self.loaded = loaded
        self._deciders = deciders or Deciders(loaded)
        self.filter_set = bypass or loaded
        self.generation = generation
        self.sample = Sample()
        self.dropped = DroppedSample()
        self.taps: tuple[Tap, ...] = ()
        self._totals = Totals()
        self._earlier: dict[RuleKey, Counts] = {}
        self._lock = threading.Lock()

    def account(self, size_bytes: int, kept_bytes: int, applied: Borrowed) -> None:
        """Adds a batch to the totals, all at once."""
        with self._lock:
            totals = self._totals
            totals.batches += 1
            totals.lines += applied.lines
            totals.bytes += size_bytes
            totals.kept_lines += applied.kept_lines
            totals.kept_bytes += kept_bytes
            totals.malformed_lines += applied.malformed
            totals.error_lines += applied.errors

    def decide_by(
        self, loaded: FilterSet, generation: int, bypass: FilterSet | None, deciders: Deciders | None = None
    ) -> None:
        """From the next batch on these filters decide; what the others have decided is remembered by what it said."""
        new = deciders or Deciders(loaded)
        with self._lock:
            if self.filter_set is not self.loaded:
                self._remember(BYPASS_KEY, self.filter_set.evaluator.counters()[0])
            else:
                for key, counts in zip(self._deciders.keys, self.filter_set.evaluator.counters(), strict=True):
                    if counts[0]:
                        self._remember(key, counts)
            self.loaded = loaded
            self._deciders = new
            self.filter_set = bypass or loaded
            self.generation = generation
            if len(self._earlier) > EARLIER_MAX:
                self._sum_up_retired()

    def deciding(self) -> tuple[FilterSet, int]:
        """What decides, and as which generation: both of one moment."""
        with self._lock:
            return self.filter_set, self.generation

    def totals(self) -> Totals:
        """The totals between two batches."""
        with self._lock:
            return replace(self._totals)

    def tally(self) -> Tally:
        """What each loaded rule has decided since the daemon began."""
        with self._lock:
            deciders, generation, earlier = self._deciders, self.generation, self._earlier.copy()
            filter_set, is_bypassed = self.filter_set, self.filter_set is not self.loaded
        # Without the lock, which the thread that carries lines takes for each batch: where other filters take over
        # meanwhile, the sums are those of the moment before.
        counts = filter_set.evaluator.counters()
        if is_bypassed:
            before = earlier.get(BYPASS_KEY, (0, 0))
            earlier[BYPASS_KEY] = before[0] + counts[0][0], before[1] + counts[0][1]
            counts = [(0, 0)] * len(deciders)
        return Tally(deciders, counts, earlier, generation)

    def _remember(self, key: RuleKey, counts: Counts) -> None:
        """To be called with the lock."""
        before = self._earlier.get(key, (0, 0))
        self._earlier[key] = before[0] + counts[0], before[1] + counts[1]

    def _sum_up_retired(self) -> None:
        """Forgets by what the rules said that are no more. To be called with the lock."""
        gone = [key for key in self._earlier if key not in self._deciders.numbers and key != BYPASS_KEY]
        for key in gone:
            self._remember(RETIRED_KEY, self._earlier.pop(key))


class Streams:
    """All streams, and the filters that decide them. `get` and `decide_by` belong to the thread that carries lines."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.generation = 1
        self.is_bypassed = False
        self.views = Views()
        self._streams: dict[str, Stream] = {}
        self.views.configure(rulebook.compile_views(self.generation))

    def begin_at(self, generation: int) -> None:
        """The first filters decide as this generation: those before it have decided what is stored."""
        self.generation = generation
        for stream in self._streams.values():
            stream.generation = generation
        self.views.configure(self.rulebook.compile_views(generation))

    def get(self, name: str) -> Stream | None:
        """The stream of this name, made where it is new; None when there are too many already, or a view has the name.

        Raises what compiling its filters raises.
        """
        stream = self._streams.get(name)
        if stream is None and len(self._streams) < STREAMS_MAX and self.views.find(name) is None:
            bypass = self.rulebook.keep_everything(name) if self.is_bypassed else None
            loaded = self.rulebook.compile(name)
            stream = Stream(name, loaded, self.generation, bypass, self.rulebook.deciders(name))
            self._streams[name] = stream
        return stream

    def all(self) -> list[Stream]:
        """Every stream so far."""
        return list(self._streams.values())

    def decide_by(self, rulebook: Rulebook, is_bypassed: bool) -> int:
        """From the next batch on every stream is decided by these filters, or by none; returns their generation.

        Nothing has changed where it raises what compiling raises (for a stream that is too new to be compiled aside).
        """
        sets = {
            name: (rulebook.compile(name), rulebook.keep_everything(name) if is_bypassed else None)
            for name in self._streams
        }
        views = rulebook.compile_views(self.generation + 1)
        self.rulebook = rulebook
        self.is_bypassed = is_bypassed
        self.generation += 1
        for name, (loaded, bypass) in sets.items():
            self._streams[name].decide_by(loaded, self.generation, bypass, rulebook.deciders(name))
        self.views.configure(views)
        return self.generation
