"""The daemon's metrics as text for Prometheus: prometheus-client writes it, in its own form or as OpenMetrics.

Nothing is counted here: each scrape asks the daemon's rooms, and costs the lines nothing. A thread that writes
thousands of samples would keep others waiting for the interpreter, so it pauses every few of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from flowd.readable import make_readable
from flowd.relay.catalogue import CATALOGUE, SECTIONS
from flowd.relay.deciding.deciders import Tally
from flowd.relay.http.rules import RuleSeries
from flowd.relay.measurements import Value
from flowd.relay.metrics import Labels, Series

PAUSE_SAMPLES = 128
"""So many samples are written in about a millisecond; another thread that wants the interpreter meanwhile would
otherwise wait for the five that Python gives each, at every call of the core or of ZeroMQ. Fewer would make a page late
on a machine that is busy, where each pause is the scheduler's."""
PAUSE_S = 50e-6
UNKNOWN = "not described: flowd/relay/catalogue.py lacks it"


class Told(Protocol):
    """Whom the metrics are of."""

    def counted(self) -> dict[Series, int]:
        """Every counter."""

    def measure(self) -> Iterator[Value]:
        """Everything else but the rules."""

    def tallies(self) -> Iterable[tuple[str, Tally]]:
        """What each stream's rules have decided."""


class Page(NamedTuple):
    """A scrape's answer, and its content type."""

    content_type: str
    body: bytes


class Exposition(Collector):
    """Writes pages of metrics, with series of at most so many `rules`. For one thread."""

    def __init__(self, told: Told, rules: int, pause: Callable[[float], None] = time.sleep) -> None:
        self._told = told
        self._rules = RuleSeries(rules)
        self._pause = pause
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def write(self, accept: str) -> Page:
        """A page as of now, in the form that a request's Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return Page(content_type, encode(self._registry))

    def describe(self) -> Iterable[Metric]:
        """Names of metrics, for the registry: it need not look for others with the same."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics, each with its series, in the catalogue's order."""
        found: dict[str, dict[Labels, float]] = {name: {} for name in CATALOGUE}
        for metrics in SECTIONS.values():
            for metric in metrics:
                found[metric.name].update(dict.fromkeys(metric.known_series(), 0))
                if metric.is_counter and not metric.labels:
                    found[metric.name][()] = 0
        for (name, labels), count in self._told.counted().items():
            found.setdefault(name, {})[labels] = count
        for name, labels, value in self._told.measure():
            found.setdefault(name, {})[labels] = value
        for name, labels, value in self._rules.measure(self._told.tallies()):
            found.setdefault(name, {})[labels] = value
        sinks = tuple(dict(labels)["sink"] for labels in found["flowd_sink_up"])
        for metric in SECTIONS["Sinks"]:
            for labels in metric.known_series(sink=sinks):
                found[metric.name].setdefault(labels, 0)
        for name, series in found.items():
            if series:
                yield self._make_metric(name, series)

    def _make_metric(self, name: str, series: dict[Labels, float]) -> Metric:
        known = CATALOGUE.get(name)
        kind = "counter" if name.endswith("_total") else "gauge"
        metric = Metric(
            name.removesuffix("_total") if kind == "counter" else name, known.help if known else UNKNOWN, kind
        )
        metric.samples = _Paused(name, series, self._pause)
        return metric


class _Paused(list[Sample]):
    """A metric's samples, made when they are written, with pauses."""

    def __init__(self, name: str, series: dict[Labels, float], pause: Callable[[float], None]) -> None:
        super().__init__()
        self._name = name
        self._series = series
        self._pause = pause

    def __iter__(self) -> Iterator[Sample]:
        for number, (labels, value) in enumerate(self._series.items(), start=1):
            yield Sample(self._name, {label: make_readable(text) for label, text in labels}, value)
            if not number % PAUSE_SAMPLES:
                self._pause(PAUSE_S)
