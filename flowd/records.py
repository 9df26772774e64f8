"""Lines decoded into dicts, on the subscriber's side: JSON lines as they are, text lines under the JSON names.

For people's programs, a line at a time; the daemon never decodes. A line that is neither JSON nor text of 24 or 27
columns becomes `{"line": its text}`: it was kept, so it is shown.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

Record = dict[str, Any]

_FIRST = ("start_time", "end_time", "source_type", "source_namespace", "source_name", "source_labels")
_SECOND = ("dest_type", "dest_namespace", "dest_name", "dest_labels")
_REST = (
    "source_ip", "dest_ip", "proto", "source_port", "dest_port", "num_flows", "num_flows_started",
    "num_flows_completed", "reporter", "packets_in", "packets_out", "bytes_in", "bytes_out", "action",
)  # fmt: skip
COLUMNS_24 = (*_FIRST, *_SECOND, *_REST)
COLUMNS_27 = (
    *_FIRST[:5],
    "source_name_aggr",
    _FIRST[5],
    *_SECOND[:3],
    "dest_name_aggr",
    _SECOND[3],
    *_REST,
    "policies",
)
PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmp6", "132": "sctp", "4": "ipip", "50": "esp"}
REPORTERS = {"out": "src", "in": "dst"}
OUTSIDE = ("pub", "pvt")
_LISTS = {"source_labels": "labels", "dest_labels": "labels", "policies": "all_policies"}
_NULLABLE = frozenset(("source_ip", "dest_ip", "source_port", "dest_port"))
_NUMBERS = frozenset(name for name in COLUMNS_24 if re.search(r"_time$|_port$|^num_|^packets_|^bytes_", name))
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_INTEGER_MAX_DIGITS = 4000
"""Python refuses to read longer integers by default; such a column stays text."""
_COLUMN = re.compile(r"(\[[^\n]*?\]|[^ ]*)(?: |$)")

_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


def decode_lines(lines: bytes) -> list[Record]:
    """One record a line, in order."""
    ends = lines.split(b"\n")
    if ends and not ends[-1]:
        ends.pop()
    return [decode_line(line) for line in ends]


def decode_line(line: bytes) -> Record:
    """The record that a line is; never raises."""
    record = _decode_json_line(line) if line.lstrip(b" \t\r")[:1] == b"{" else _decode_text_line(line)
    return {"line": line.decode(errors="replace")} if record is None else record


def _decode_json_line(line: bytes) -> Record | None:
    try:
        return _decode_json(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # what msgspec is too strict for: invalid UTF-8, raw control characters, NaN
    try:
        found = json.loads(line.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _decode_text_line(line: bytes) -> Record | None:
    text = line.decode(errors="replace").removesuffix("\r")
    columns = text.split(" ")
    if len(columns) not in (24, 27):
        columns = _split_outside_brackets(text)
        if len(columns) != 27:
            return None
    raw = dict(zip(COLUMNS_24 if len(columns) == 24 else COLUMNS_27, columns, strict=True))
    record = {name: _map_column(name, column) for name, column in raw.items()}
    for end in ("source", "dest"):
        record.update(_map_end(end, raw))
    return record


def _split_outside_brackets(text: str) -> list[str]:
    """Columns of the later layouts, whose lists have spaces inside their brackets."""
    columns = []
    place = 0
    while place <= len(text):
        found = _COLUMN.match(text, place)
        if found is None:
            break
        columns.append(found[1])
        place = found.end() if found.end() > found.end(1) else len(text) + 1
    return columns


def _map_column(name: str, column: str) -> Any:
    """A column's value under the JSON names; types and names of the two ends are `_map_end`'s."""
    if column == "-" and name in _NULLABLE:
        return None
    if name in _LISTS:
        return _map_list(_LISTS[name], column)
    if name == "proto":
        return PROTOCOLS.get(column, column)
    if name == "reporter":
        return REPORTERS.get(column, column)
    if name in _NUMBERS and len(column) < _INTEGER_MAX_DIGITS and _INTEGER.fullmatch(column):
        return int(column)
    return column


def _map_list(key: str, column: str) -> Any:
    if column == "-":
        return None
    if not (len(column) >= 2 and column[0] == "[" and column[-1] == "]"):
        return column
    return {key: re.split("[, ]", column[1:-1]) if column[1:-1] else []}


def _map_end(end: str, raw: dict[str, str]) -> dict[str, str]:
    """Type, name and aggregated name of one end: text says in one word what JSON says in two."""
    kind, name = raw[f"{end}_type"], raw[f"{end}_name"]
    aggregated = raw.get(f"{end}_name_aggr")
    if aggregated is None:
        aggregated = kind if kind in OUTSIDE else name
        if kind in OUTSIDE or name.endswith("*") or (kind == "net" and name in OUTSIDE):
            name = "-"
    return {f"{end}_type": "net" if kind in OUTSIDE else kind, f"{end}_name": name, f"{end}_name_aggr": aggregated}
