"""The streams that the daemon has seen: each with what decides its lines, its totals, and samples of its lines.

A stream comes into being with its first batch, which is when its filters are compiled. Their number is bounded. New
filters take over in all streams at once, between two batches.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from flowd.program import SAMPLED
from flowd.relay.deciding.dropped import DroppedSample
from flowd.relay.deciding.rulebook import Rulebook, RuleKey, key_deciders
from flowd.relay.deciding.sample import Sample
from flowd.relay.deciding.views import Views

if TYPE_CHECKING:
    from flowd.filterset import Borrowed, FilterSet, Hits

STREAMS_MAX = 64
"""Streams of one node: Calico writes a dozen. Each may hold tables of some MiB."""
FIRST_STREAM = "flows"
"""Is there from the start: its filters are compiled before anything is promised, and it beats from the beginning."""
BYPASS = "bypass"
"""Decides while filtering is bypassed."""
RETIRED = "retired"
"""The rules of earlier filters that are no more, together."""


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


class Decided(NamedTuple):
    """What a rule has decided since the daemon began, over all filters that had it.

    `is_shadow` rules only count; of what a rule would drop one line in `sample` is let go, and counted as
    `<name>.sampled`; from `until_ns` on (0: never) it does nothing.
    """

    name: str
    lines: int
    bytes: int
    file: str = ""
    line: int = 0
    is_shadow: bool = False
    sample: int = 0
    until_ns: int = 0


class Stream:
    """What decides a stream's lines, and the totals: one thread carries and changes, others read.

    `filter_set` decides, as `generation`; it is `loaded` unless filtering is bypassed.
    """

    def __init__(self, name: str, loaded: FilterSet, generation: int, bypass: FilterSet | None) -> None:
        self.name = name
        self.loaded = loaded
        self.filter_set = bypass or loaded
        self.generation = generation
        self.sample = Sample()
        self.dropped = DroppedSample()
        self._totals = Totals()
        self._earlier: defaultdict[RuleKey, list[int]] = defaultdict(lambda: [0, 0])
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

    def decide_by(self, loaded: FilterSet, generation: int, bypass: FilterSet | None) -> None:
        """From the next batch on these filters decide; what the others have decided is remembered by what it said."""
        with self._lock:
            for key, (lines, size_bytes) in self._hits().items():
                self._earlier[key][0] += lines
                self._earlier[key][1] += size_bytes
            self.loaded = loaded
            self.filter_set = bypass or loaded
            self.generation = generation

    def deciding(self) -> tuple[FilterSet, int]:
        """What decides, and as which generation: both of one moment."""
        with self._lock:
            return self.filter_set, self.generation

    def totals(self) -> Totals:
        """The totals between two batches."""
        with self._lock:
            return replace(self._totals)

    def decided(self) -> list[Decided]:
        """What each loaded rule has decided since the daemon began, in the rules' order; `default`, and where there
        are such lines, what was kept by bypassing and what was decided by rules that are no more."""
        with self._lock:
            loaded = self.loaded
            sums = {key: (lines, size_bytes) for key, (lines, size_bytes) in self._earlier.items()}
            for key, (lines, size_bytes) in self._hits().items():
                before = sums.get(key, (0, 0))
                sums[key] = before[0] + lines, before[1] + size_bytes
        # A group decides as a whole: it is found where its first rule stands.
        places = {rule.group: rule for rule in reversed(loaded.rules)} | {rule.name: rule for rule in loaded.rules}
        found = []
        for name, key in sorted(key_deciders(loaded).items(), key=lambda decider: decider[0] == "default"):
            decided = Decided(name, *sums.pop(key, (0, 0)))
            place = places.get(name.removesuffix(SAMPLED))
            if place is not None:
                decided = decided._replace(
                    file=place.file,
                    line=place.line,
                    is_shadow=place.is_shadow,
                    sample=place.sample,
                    until_ns=place.until_ns,
                )
            found.append(decided)
        bypassed = sums.pop(((BYPASS,), 0), None)
        if bypassed is not None:
            found.append(Decided(BYPASS, *bypassed))
        retired = [sum(counts) for counts in zip(*sums.values(), strict=True)]
        if any(retired):
            found.append(Decided(RETIRED, *retired))
        return found

    def _hits(self) -> dict[RuleKey, Hits]:
        """What the deciding set has decided, by what its rules say. To be called with the lock."""
        hits = self.filter_set.hits
        if self.filter_set is not self.loaded:
            return {((BYPASS,), 0): hits["default"]}
        return {key: hits[name] for name, key in key_deciders(self.loaded).items()}


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
            stream = Stream(name, self.rulebook.compile(name), self.generation, bypass)
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
            self._streams[name].decide_by(loaded, self.generation, bypass)
        self.views.configure(views)
        return self.generation
