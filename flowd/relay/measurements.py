"""What the daemon's rooms are like at this moment, as values of the catalogue's metrics: for whoever asks for them all.

Only reads, and waits for nothing. What one thread counts for itself is in Counters; this is the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from heapq import nlargest
from typing import Any

from flowd import _core
from flowd._version import __version__
from flowd.relay.catalogue import CATALOGUE
from flowd.relay.deciding.streams import Stream
from flowd.relay.deciding.views import View, is_registered_name
from flowd.relay.journal.layout import Corrupt, Cursor, StreamRow
from flowd.relay.journal.reading import Reading
from flowd.relay.journal.store import Store
from flowd.relay.metrics import Labels

CONSUMERS_TOLD = 500
"""Consumers with series of their own: there may be 4,096 cursors, most of them forgotten ones."""
HEADS_LOOKED = 16
"""Heads of batches that are looked at for a consumer: each takes some microseconds."""
REGISTERED = "registered"
"""The one name for all views that clients have registered: theirs are made of digests, and come and go."""
RELOADED = ("loaded", "unchanged")
"""Results of reloads after which what decides is what the files say."""

Value = tuple[str, Labels, float]
"""A metric's name, labels with their values, and the value now."""


def measure_state(health: Mapping[str, Any], concerns: Iterable[str], producers: int) -> Iterator[Value]:
    """What runs, and how it is."""
    concerned = set(concerns)
    yield "flowd_up", (), health["state"] != "ended"
    yield "flowd_build_info", (("version", __version__), ("simd", _core.simd()[0])), 1
    for state in CATALOGUE["flowd_state"].labels["state"]:
        yield "flowd_state", (("state", state),), state == health["state"]
    for concern in sorted(concerned.union(CATALOGUE["flowd_degraded"].labels["concern"])):
        yield "flowd_degraded", (("concern", concern),), concern in concerned
    yield "flowd_producers", (), producers


def measure_sinks(sinks: Mapping[str, Mapping[str, Any]]) -> Iterator[Value]:
    """Which sinks deliver."""
    for name, described in sinks.items():
        yield "flowd_sink_up", (("sink", name), ("type", described["type"])), described["state"] == "up"


def measure_filters(reloader: Mapping[str, Any]) -> Iterator[Value]:
    """Which filters decide, and what came of the last attempt to load some."""
    last = reloader["last_reload"]
    yield "flowd_generation", (), reloader["generation"]
    yield "flowd_bypass", (), reloader["bypass"]
    yield "flowd_last_reload_success", (), last["result"] in RELOADED
    yield "flowd_last_reload_time_seconds", (), last["time_ns"] / 1e9


def measure_streams(
    streams: Iterable[Stream], views: Iterable[View], subscribers: Mapping[str, int]
) -> Iterator[Value]:
    """What each stream has carried, and who listens."""
    for stream in streams:
        labels = (("stream", stream.name),)
        totals = stream.totals()
        yield "flowd_lines_total", labels, totals.lines
        yield "flowd_bytes_total", labels, totals.bytes
        yield "flowd_batches_total", labels, totals.batches
        yield "flowd_kept_lines_total", labels, totals.kept_lines
        yield "flowd_kept_bytes_total", labels, totals.kept_bytes
        yield "flowd_dropped_lines_total", labels, totals.lines - totals.kept_lines
        yield "flowd_malformed_lines_total", labels, totals.malformed_lines
        yield "flowd_error_lines_total", labels, totals.error_lines
        yield "flowd_subscribers", labels, subscribers.get(stream.name, 0)
    listeners: dict[Labels, int] = {}
    for view in views:
        name = REGISTERED if is_registered_name(view.name) else view.name
        place: Labels = (("stream", view.stream), ("view", name))
        listeners[place] = listeners.get(place, 0) + subscribers.get(view.name, 0)
    for listened, number in listeners.items():
        yield "flowd_view_subscribers", listened, number


def measure_tail(described: Mapping[str, Any]) -> Iterator[Value]:
    """How far the followed files are."""
    yield "flowd_tail_files", (), described["followed_files"]
    yield "flowd_tail_lag_bytes", (), described["lag_bytes"]
    yield "flowd_tail_lag_seconds", (), described["lag_s"]


def measure_journal(store: Store, max_bytes: int, *, commits: int, is_full: bool) -> Iterator[Value]:
    """How full the journal is, and how far it reaches back."""
    stat = store.stat()
    yield "flowd_journal_bytes", (), stat.used_bytes
    yield "flowd_journal_max_bytes", (), max_bytes
    yield "flowd_journal_file_bytes", (), stat.file_bytes
    yield "flowd_journal_batches", (), stat.batches
    yield "flowd_journal_is_full", (), is_full
    yield "flowd_journal_commits_total", (), commits
    with store.read() as reading:
        reaches = {name: _age_s(store, reading, row, row.oldest) for name, row in store.streams().items()}
    for name, age_s in reaches.items():
        if age_s is not None:
            yield "flowd_journal_reach_seconds", (("stream", name),), age_s


def measure_consumers(store: Store, attached: Iterable[tuple[str, str]]) -> Iterator[Value]:
    """How far behind each consumer with a cursor is; `attached` are the consumers and streams of those that are here.

    A journal whose pages are damaged tells of none.
    """
    rows = store.streams()
    here = set(attached)
    told: list[Value] = []
    with suppress(Corrupt), store.read() as reading:
        cursors = reading.cursors()
        behind = {name: _lag_batches(rows.get(name[1], StreamRow(0)), cursor) for name, cursor in cursors.items()}
        told.append(("flowd_consumers_left_off", (), max(0, len(cursors) - CONSUMERS_TOLD)))
        for name in nlargest(CONSUMERS_TOLD, behind, key=behind.__getitem__):
            labels = (("consumer", name[0]), ("stream", name[1]))
            row, cursor = rows.get(name[1], StreamRow(0)), cursors[name]
            place = row.next - behind[name]
            told.append(("flowd_consumer_attached", labels, name in here))
            told.append(("flowd_consumer_lag_batches", labels, behind[name]))
            told.append(("flowd_consumer_gone_batches", labels, max(0, row.oldest - place)))
            told.append(("flowd_consumer_lag_bytes", labels, _lag_bytes(reading, row, max(place, row.oldest))))
            if cursor.sequence is not None:
                told.append(("flowd_consumer_lag_lines", labels, max(0, row.lines - cursor.lines)))
            age_s = _age_s(store, reading, row, max(place, row.oldest)) if place < row.next else 0.0
            if age_s is not None:
                told.append(("flowd_consumer_lag_seconds", labels, age_s))
    yield from told


def _lag_batches(row: StreamRow, cursor: Cursor) -> int:
    """From the cursor, or where it has none from the oldest batch that it can get."""
    place = row.oldest if cursor.sequence is None else cursor.sequence + 1
    return max(0, row.next - place)


def _lag_bytes(reading: Reading, row: StreamRow, first: int) -> int:
    """The bytes of all batches from this one on: of some that lie evenly among them, times as many as there are."""
    batches = max(0, row.next - first)
    looked = min(batches, HEADS_LOOKED)
    found = []
    for number in range(looked):
        with suppress(Corrupt):
            head = reading.head(row, first + batches * number // looked)
            found += [head.size_bytes] if head is not None else []
    return sum(found) * batches // len(found) if found else 0


def _age_s(store: Store, reading: Reading, row: StreamRow, sequence: int) -> float | None:
    """How long ago a batch was stored; 0 where it is still to come, None where its head cannot be read."""
    if sequence >= row.next:
        return 0.0
    age_ns = reading.age_of(row, sequence)
    return max(0.0, (store.clock.now_ns() - age_ns) / 1e9) if age_ns else None
