"""Records in msgpack: `FilterSet.apply_records` on runs of Forward entries in memory, from bytes to kept JSON lines.

The records are the corpus' flow lines, packed as fluentd packs them, in chunks of 1 MiB, on one core. The peers do the
same with libraries that make objects: msgspec decodes a chunk, a look at two fields stands for the filter, and msgspec
writes the lines; msgpack and json likewise. They keep as many records.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec
from core_filter import GB, over
from measure import Row, Target, one_core, rates, run_in_turns, speed_ratios, timed
from settings import BATCH_BYTES, NAMESPACE_FILTER, Settings

import flowd
from flowd.errors import FlowdError
from flowd.messages import write_records

TARGET = Target(figure=0.5)
SHARE = 4
"""Records are packed slowly, by Python: this part of the bytes must do."""
PEERS_SHARE = 8
"""And of these, for the peers."""
TIME = struct.Struct(">II")
THIRD_FILTER = """\
<filter flows>
  @type grep
  <regexp>
    key dest_namespace
    pattern ^(?:kube-system|hipstershop)$
  </regexp>
</filter>
"""
"""Keeps about a third of the corpus' lines."""


def run(settings: Settings) -> list[Row]:
    """One row a filter, the documented one beside the peers; by bytes of msgpack."""
    corpus = settings.corpus_of("json", settings.scale.core_bytes // SHARE)
    settings.say("records: packing")
    chunks = pack_chunks(corpus.path.read_bytes().splitlines())
    size = sum(map(len, chunks))
    some = chunks[: max(1, len(chunks) // PEERS_SHARE)]
    lists = [as_list(chunk) for chunk in some]
    filters = {
        "the documented namespace filter": flowd.compile(NAMESPACE_FILTER),
        "no filters": flowd.compile(""),
        "a filter that keeps a third": flowd.compile(THIRD_FILTER),
    }
    peers: dict[str, Callable[[bytes], int]] = {"msgspec": keep_by_msgspec, "msgpack and json": keep_by_msgpack}
    first = filters["the documented namespace filter"]
    check_peers(first, peers, some[0])
    works = {name: timed(over(chunks, filter_set.apply_records)) for name, filter_set in filters.items()}
    works |= {name: timed(over(lists, keep)) for name, keep in peers.items()}
    works["every record written"] = timed(over(chunks, write_records))
    with one_core():
        times = run_in_turns(works, settings.scale.rounds)
    some_size = sum(map(len, some))
    # Seconds for the same work: the peers had a part of it.
    peer_s = [seconds * size / some_size for seconds in times["msgspec"]]
    rows = [row_of(name, filter_set, chunks, size, times[name]) for name, filter_set in filters.items()]
    others = rates(some_size / GB, times["msgpack and json"]).median
    beside = Row(
        part="records",
        what=f"{rows[0].what}, beside objects",
        unit="GB/s",
        figure=rows[0].figure,
        peer="msgspec",
        peer_figure=rates(some_size / GB, times["msgspec"]),
        ratio=speed_ratios(times["the documented namespace filter"], peer_s),
        note=f"msgpack.unpackb and json.dumps {others:.3f} GB/s",
    )
    written = Row("records", "every record written as a line", "GB/s", rates(size / GB, times["every record written"]))
    return [*rows, beside, written]


def row_of(name: str, filter_set: flowd.FilterSet, chunks: list[bytes], size: int, times: list[float]) -> Row:
    """What one filter set did."""
    applied = [filter_set.apply_records(chunk) for chunk in chunks]
    records = sum(one.read.records for one in applied)
    kept = sum(one.kept_records for one in applied)
    lines_bytes = sum(len(one.kept) for one in applied)
    return Row(
        part="records",
        what=f"{name}, PackedForward of {size // records:,} B a record",
        unit="GB/s",
        figure=rates(size / GB, times),
        target=TARGET,
        note=f"{kept:,} of {records:,} records kept, {lines_bytes / size:.2f} bytes of lines a byte",
    )


def pack_chunks(lines: list[bytes]) -> list[bytes]:
    """The lines' records as entries with EventTimes, in chunks of about 1 MiB."""
    chunks: list[bytes] = []
    chunk = bytearray()
    for number, line in enumerate(lines):
        time = msgpack.ExtType(0, TIME.pack(1_700_000_000 + number // 1000, number % 1000 * 1_000_000))
        chunk += msgpack.packb([time, json.loads(line)])
        if len(chunk) >= BATCH_BYTES:
            chunks.append(bytes(chunk))
            chunk.clear()
    return [*chunks, bytes(chunk)] if chunk else chunks


def is_kept(record: dict[str, Any]) -> bool:
    """What the documented filter says, written in Python."""
    return "dev" not in record["source_namespace"] and "dev" not in record["dest_namespace"]


_decode_list = msgspec.msgpack.Decoder(ext_hook=lambda _, data: data).decode
_encode_line = msgspec.json.Encoder().encode


def keep_by_msgspec(run: bytes) -> int:
    """The kept records of a list of entries as lines, by msgspec; how many."""
    kept = [_encode_line(record) for _, record in _decode_list(run) if is_kept(record)]
    return b"\n".join(kept).count(b"\n") + 1


def keep_by_msgpack(run: bytes) -> int:
    """The same by msgpack and json."""
    entries = msgpack.unpackb(run)
    kept = [json.dumps(record, separators=(",", ":"), ensure_ascii=False) for _, record in entries if is_kept(record)]
    return "\n".join(kept).count("\n") + 1


def as_list(chunk: bytes) -> bytes:
    """A run of entries as one list, since libraries read one object: Forward mode's form."""
    return b"\xdd" + struct.pack(">I", write_records(chunk)[1].records) + chunk


def check_peers(filters: flowd.FilterSet, peers: dict[str, Callable[[bytes], int]], chunk: bytes) -> None:
    """All keep as many records of a chunk, or the comparison is none."""
    wanted = filters.apply_records(chunk).kept_records
    for name, keep in peers.items():
        if keep(as_list(chunk)) != wanted:
            raise FlowdError(f"records: {name} keeps {keep(as_list(chunk))} records, flowd {wanted}")
