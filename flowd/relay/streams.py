"""The streams that the daemon has seen: each with its filter set and its totals.

A stream comes into being with its first batch, which is when its filters are compiled. Their number is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowd.filterset import Applied, FilterSet

STREAMS_MAX = 64
"""Streams of one node: Calico writes a dozen. Each may hold tables of some MiB."""


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
    """A stream's filter set, and the totals that one thread writes and others read."""

    def __init__(self, name: str, filter_set: FilterSet, generation: int = 1) -> None:
        self.name = name
        self.filter_set = filter_set
        self.generation = generation
        self._totals = Totals()
        self._lock = threading.Lock()

    def account(self, size_bytes: int, applied: Applied) -> None:
        """Adds a batch to the totals, all at once."""
        with self._lock:
            totals = self._totals
            totals.batches += 1
            totals.lines += applied.lines
            totals.bytes += size_bytes
            totals.kept_lines += applied.kept_lines
            totals.kept_bytes += len(applied.kept)
            totals.malformed_lines += applied.malformed
            totals.error_lines += applied.errors

    def totals(self) -> Totals:
        """The totals between two batches."""
        with self._lock:
            return replace(self._totals)


class Streams:
    """All streams by name. `compile_filters` makes a stream's filter set; only one thread may ask for new streams."""

    def __init__(self, compile_filters: Callable[[str], FilterSet]) -> None:
        self._compile_filters = compile_filters
        self._streams: dict[str, Stream] = {}

    def get(self, name: str) -> Stream | None:
        """The stream of this name, made where it is new; None when there are too many already.

        Raises what compiling its filters raises.
        """
        stream = self._streams.get(name)
        if stream is None and len(self._streams) < STREAMS_MAX:
            stream = self._streams[name] = Stream(name, self._compile_filters(name))
        return stream

    def all(self) -> list[Stream]:
        """Every stream so far."""
        return list(self._streams.values())
