"""Joins templates into lines, flush by flush: the corpus's generator.

The same form, number, seed and cardinality give the same bytes on every machine and Python. What a line holds besides
times and counters recurs from flush to flush, as it does on a node: such parts are rendered once (forms) and a line is
joined from them, so making lines is fast enough to need no second way for benchmarks.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from random import Random
from statistics import NormalDist
from time import gmtime, strftime
from typing import Final, Literal

from flowd.corpus.cluster import SUFFIX_LETTERS, Cluster, Endpoint, Flow, draw_below
from flowd.corpus.forms import (
    DEST_IP,
    DEST_NAME,
    FORMS,
    HOLES,
    JSON_FORMS,
    SOURCE_IP,
    SOURCE_NAME,
    DnsDraw,
    render_json,
    render_text,
)

Cardinality = Literal["low", "high"]

FIRST_FLUSH_S: Final = 1_700_000_000
FLUSH_S: Final = 300  # Felix's flush interval
FLUSH_LINES: Final = 2_400  # lines a flush at ordinary aggregation, give or take a sixth
DETAILED_FLUSH_LINES: Final = 12_000  # the same with aggregation off
TEMPLATES: Final = 8_192  # a power of two: an odd stride then visits each once before one comes again
WORD: Final = 65_536  # every table is read by a 16-bit word of randomness
COUNTERS: Final = 8_192

Columns = list[list[bytes]]
Prepared = tuple[tuple[bytes, ...], tuple[int, ...], list[tuple[bytes, ...]], tuple[list[bytes], ...]]


@dataclass(frozen=True, slots=True)
class Template:
    """The recurring part of a line, cut at its holes, and what its counters look like."""

    pieces: tuple[bytes, ...]
    counts: int  # 0 allowed, 1 denied at the source, 2 denied at the destination
    source: Endpoint  # of a DNS line: the client
    dest: Endpoint


def _quantiles(mean: float, deviation: float, steps: int) -> list[float]:
    """A log-normal distribution as a table, so that drawing needs no floating-point functions."""
    normal = NormalDist(mean, deviation)
    return [math.exp(normal.inv_cdf((step + 0.5) / steps)) for step in range(steps)]


def _draw_counts(rng: Random, kind: int, flow_sizes: list[float], packet_sizes: list[float]) -> tuple[int, ...]:
    flows = max(1, int(flow_sizes[draw_below(rng, len(flow_sizes))]))
    if kind:
        packets = flows * (1 + draw_below(rng, 8))
        one_way = (0, packets) if kind == 1 else (packets, 0)
        return (*one_way, one_way[0] * 60, one_way[1] * 60, flows, flows, flows)
    packets = max(1, int(packet_sizes[draw_below(rng, len(packet_sizes))] * flows))
    back = max(1, packets * (50 + draw_below(rng, 150)) // 100)
    sizes = (52 + draw_below(rng, 1_049), 52 + draw_below(rng, 1_049))
    started, completed = draw_below(rng, flows + 1), draw_below(rng, flows + 1)
    return (packets, back, packets * sizes[0], back * sizes[1], flows, started, completed)


def _make_counter_tables(rng: Random, form: str) -> list[list[tuple[bytes, ...]]]:
    """The counters' texts of allowed and denied flows, each a run for every counter hole of the form."""
    flow_sizes, packet_sizes = _quantiles(1.0, 1.2, 1_024), _quantiles(3.6, 1.6, 4_096)
    latencies = _quantiles(12.6, 1.0, 4_096)
    tables: list[list[tuple[bytes, ...]]] = []
    for kind in range(1 if form == "dns" else 3):
        table: list[tuple[bytes, ...]] = []
        for _ in range(COUNTERS):
            packets_in, packets_out, bytes_in, bytes_out, flows, started, completed = _draw_counts(
                rng, kind, flow_sizes, packet_sizes
            )
            if form == "dns":
                mean = int(latencies[draw_below(rng, len(latencies))])
                most = mean * (1 + draw_below(rng, 6))
                table.append((
                    b'"count":%d' % flows,
                    b'"latency":{"count":%d,"mean":%d,"max":%d},"latency_count":%d,"latency_mean":%d,"latency_max":%d'
                    % (flows, mean, most, flows, mean, most),
                ))  # fmt: skip
            elif form in JSON_FORMS:
                table.append((
                    b'"bytes_in":%d,"bytes_out":%d,"num_flows":%d,"num_flows_started":%d,"num_flows_completed":%d,'
                    b'"packets_in":%d,"packets_out":%d'
                    % (bytes_in, bytes_out, flows, started, completed, packets_in, packets_out),
                ))  # fmt: skip
            else:
                table.append((
                    b"%d %d %d" % (flows, started, completed),
                    b"%d %d %d %d" % (packets_in, packets_out, bytes_in, bytes_out),
                ))  # fmt: skip
        tables.append(table * (WORD // COUNTERS))
    return tables


def _open_holes(flow: Flow) -> Flow:
    """The same flow with holes where every line differs when nothing is aggregated."""

    def name(end: Endpoint, hole: str) -> str:
        return end.base + hole if end.base and end.suffix else end.base or "-"

    return replace(
        flow,
        source_ip=SOURCE_IP, dest_ip=DEST_IP,
        source_name=name(flow.source, SOURCE_NAME), dest_name=name(flow.dest, DEST_NAME),
        source_port=-1 if flow.source_port else None,
    )  # fmt: skip


def _make_templates(rng: Random, form: str, *, detailed: bool) -> list[Template]:
    cluster = Cluster(rng)
    dns = DnsDraw(cluster)
    templates: list[Template] = []
    for _ in range(TEMPLATES):
        if form == "dns":
            text, client = dns.render(detailed=detailed)
            pieces = tuple(piece.encode() for piece in re.split(f"([{HOLES}])", text))
            templates.append(Template(pieces, 0, client, client))
            continue
        flow = cluster.draw_flow(detailed=detailed)
        opened = _open_holes(flow) if detailed else flow
        text = render_json(rng, opened, newest=form == "json") if form in JSON_FORMS else render_text(opened, form)
        pieces = tuple(piece.encode() for piece in re.split(f"([{HOLES}])", text))
        counts = 0 if flow.action == "allow" else 1 if flow.reporter == "src" else 2
        templates.append(Template(pieces, counts, flow.source, flow.dest))
    return templates


def _stamp_heads(form: str, start_s: int, rng: Random) -> list[bytes]:
    """The beginnings of a flush's lines: one start time, and end times of which 15 % overrun."""
    if form == "dns":
        nanos = draw_below(rng, 1_000_000_000)
        first, last = (strftime("%Y-%m-%dT%H:%M:%S", gmtime(at)) for at in (start_s, start_s + FLUSH_S))
        head = f'{{"start_time":"{first}.{nanos:09d}Z","end_time":"{last}.{nanos:09d}Z",'
        return [head.encode()] * WORD
    layout = b'{"start_time":%d,"end_time":%d,' if form in JSON_FORMS else b"%d %d "
    on_time = layout % (start_s, start_s + FLUSH_S)
    late = [layout % (start_s, start_s + FLUSH_S + 1 + draw_below(rng, FLUSH_S)) for _ in range(77)]
    return ([on_time] * (512 - len(late)) + late) * (WORD // 512)


def _draw_words(rng: Random, number: int) -> tuple[int, ...]:
    return struct.unpack(f"<{number}H", rng.getrandbits(16 * number).to_bytes(2 * number, "little"))


def _visit(rng: Random, lines: int) -> list[int]:
    """The templates of one flush: none comes twice before all have come once."""
    at, stride = draw_below(rng, TEMPLATES), 2 * draw_below(rng, TEMPLATES // 2) + 1
    return [(at + stride * step) & (TEMPLATES - 1) for step in range(lines)]


Flush = Callable[[list[bytes], int], bytes]


def _aggregated(rng: Random, form: str) -> Flush:
    """Joins flushes from templates that have holes for counters only."""
    templates = _make_templates(rng, form, detailed=False)
    tables = _make_counter_tables(rng, form)
    fixed: Columns = [list(column) for column in zip(*(t.pieces[::2] for t in templates), strict=True)]
    kinds = [tables[template.counts] for template in templates]
    holes = len(fixed) - 1

    def join_flush(heads: list[bytes], lines: int) -> bytes:
        words = _draw_words(rng, 2 * lines)
        visited = _visit(rng, lines)
        counts = [kinds[at][word] for at, word in zip(visited, words[lines:], strict=True)]
        columns: list[Iterator[bytes]] = [map(heads.__getitem__, words[:lines])]
        for hole in range(holes):
            columns.append(map(fixed[hole].__getitem__, visited))
            columns.append(iter([texts[hole] for texts in counts]))
        columns.append(map(fixed[holes].__getitem__, visited))
        return b"".join(chain.from_iterable(zip(*columns, strict=True)))

    return join_flush


class _Names:
    """The tables from which high-cardinality values are made, each read by 16-bit words."""

    def __init__(self, rng: Random) -> None:
        letters = SUFFIX_LETTERS.encode()
        pairs = [bytes((a, b)) for a in letters for b in letters]
        triples = [bytes((a,)) + pair for a in letters for pair in pairs]
        self.pairs = (pairs * (WORD // len(pairs) + 1))[:WORD]
        self.triples = (triples * (WORD // len(triples) + 1))[:WORD]
        self.nothing = [b""] * WORD
        self.ordinals = [b"%d" % (word % 12) for word in range(WORD)]
        self.ports = [b"%d" % (1_024 + word % 64_512) for word in range(WORD)]
        self.pod_ips = [b"10.%d.%d.%d" % (48 + (n >> 16), n >> 8 & 255, n & 255) for n in range(4 * WORD)]
        self.private_ips = [b"192.168.%d.%d" % (n >> 8, n & 255) for n in range(WORD)]
        self.public_ips = [
            b"%d.%d.%d.%d" % (11 + draw_below(rng, 100), draw_below(rng, 256), n >> 8, n & 255) for n in range(WORD)
        ]

    def suffixes(self, end: Endpoint) -> tuple[list[bytes], list[bytes]]:
        if end.suffix == "random":
            return self.triples, self.pairs
        return self.nothing, self.ordinals if end.suffix else self.nothing

    def addresses(self, end: Endpoint) -> list[bytes]:
        if end.kind in ("wep", "hep"):
            return self.pod_ips
        return (self.private_ips if end.name_aggr == "pvt" else self.public_ips) * 4


def _detailed(rng: Random, form: str) -> Flush:
    """Joins flushes with nothing aggregated: new pod names, addresses and source ports on every line."""
    templates = _make_templates(rng, form, detailed=True)
    tables = _make_counter_tables(rng, form)
    names = _Names(rng)
    addresses = {end: names.addresses(end) for t in templates for end in (t.source, t.dest)}
    suffixes = {end: names.suffixes(end) for end in addresses}

    def prepare(template: Template) -> Prepared:
        """A template as text pieces, the slot that fills each hole, its counters, and its tables."""
        slots = tuple(HOLES.index(piece.decode()) for piece in template.pieces[1::2])
        source, dest = template.source, template.dest
        return (
            template.pieces[::2], slots, tables[template.counts],
            (*suffixes[source], *suffixes[dest], addresses[source], addresses[dest]),
        )  # fmt: skip

    prepared = [prepare(template) for template in templates]
    ports = names.ports
    nothing = b""

    def join_flush(heads: list[bytes], lines: int) -> bytes:
        words = _draw_words(rng, 9 * lines)
        parts: list[bytes] = []
        add = parts.append
        at = 0
        for visited in _visit(rng, lines):
            pieces, slots, counters, (stem, tail, dest_stem, dest_tail, ips, dest_ips) = prepared[visited]
            a, b, c, d, e, f, g, h, i = words[at : at + 9]
            at += 9
            counts = counters[b]
            fills = (
                counts[0], counts[-1], ips[c | (b & 3) << 16], stem[d] + tail[e], ports[f],
                dest_ips[g | (b & 12) << 14], dest_stem[h] + dest_tail[i],
            )  # fmt: skip
            add(heads[a])
            for piece, slot in zip(pieces, slots, strict=False):
                add(piece)
                add(fills[slot])
            add(pieces[-1])
        return nothing.join(parts)

    return join_flush


def generate(form: str, lines: int, seed: int = 1, cardinality: Cardinality = "low") -> Iterator[bytes]:
    """Yields `lines` lines of a form as chunks of whole lines, one chunk a flush.

    `low` cardinality is what a node writes by default (aggregated: names and addresses recur or are absent); `high`
    is aggregation off: new pod names, source ports and addresses on nearly every line.
    """
    if form not in FORMS:
        raise ValueError(f"no form {form!r}: one of {', '.join(FORMS)}")
    rng = Random(f"{form}/{cardinality}/{seed}")
    join_flush = (_detailed if cardinality == "high" else _aggregated)(rng, form)
    usual = DETAILED_FLUSH_LINES if cardinality == "high" else FLUSH_LINES
    start_s = FIRST_FLUSH_S
    while lines > 0:
        size = min(lines, usual * 5 // 6 + draw_below(rng, usual // 3))
        yield join_flush(_stamp_heads(form, start_s, rng), size)
        lines -= size
        start_s += FLUSH_S
