"""The record that a rule sees in a line of 24 or 27 columns: names, types and values as the JSON form has them."""

from __future__ import annotations

import re

from oracle_json import Integer, Malformed, Value

FIRST = ["start_time", "end_time", "source_type", "source_namespace", "source_name", "source_labels"]
SECOND = ["dest_type", "dest_namespace", "dest_name", "dest_labels"]
REST = [
    "source_ip", "dest_ip", "proto", "source_port", "dest_port", "num_flows", "num_flows_started",
    "num_flows_completed", "reporter", "packets_in", "packets_out", "bytes_in", "bytes_out", "action",
]  # fmt: skip
COLUMNS_24 = FIRST + SECOND + REST
COLUMNS_27 = [
    *FIRST[:5], "source_name_aggr", FIRST[5], *SECOND[:3], "dest_name_aggr", SECOND[3], *REST, "policies",
]  # fmt: skip
ALIASES = {
    "startTime": "start_time", "endTime": "end_time", "srcType": "source_type", "srcNamespace": "source_namespace",
    "srcName": "source_name", "srcNameAggr": "source_name_aggr", "srcLabels": "source_labels", "dstType": "dest_type",
    "dstNamespace": "dest_namespace", "dstName": "dest_name", "dstNameAggr": "dest_name_aggr",
    "dstLabels": "dest_labels", "srcIP": "source_ip", "dstIP": "dest_ip", "srcPort": "source_port",
    "dstPort": "dest_port", "numFlows": "num_flows", "numFlowsStarted": "num_flows_started",
    "numFlowsCompleted": "num_flows_completed", "packetsIn": "packets_in", "packetsOut": "packets_out",
    "bytesIn": "bytes_in", "bytesOut": "bytes_out",
}  # fmt: skip
PROTOCOLS = {b"6": b"tcp", b"17": b"udp", b"1": b"icmp", b"58": b"icmp6", b"132": b"sctp", b"4": b"ipip", b"50": b"esp"}
REPORTERS = {b"out": b"src", b"in": b"dst"}
OUTSIDE = (b"pub", b"pvt")


def split_columns(line: bytes) -> list[bytes]:
    """The columns of a text line: 24 or 27 of them, else Malformed."""
    text = line[:-1] if line.endswith(b"\r") else line
    columns = text.split(b" ")
    if len(columns) in (24, 27):
        return columns
    columns = split_outside_brackets(text)
    if len(columns) != 27:
        raise Malformed(f"{len(columns)} columns")
    return columns


def split_outside_brackets(text: bytes) -> list[bytes]:
    """Columns where one that begins with `[` goes on to the first `]` that ends a column, if there is one."""
    columns = []
    rest: bytes | None = text
    while rest is not None:
        column = re.match(rb"\[[^\n]*?\](?= |$)", rest) or re.match(rb"[^ ]*", rest)
        assert column is not None
        columns.append(column.group())
        rest = rest[column.end() + 1 :] if column.end() < len(rest) else None
    return columns


def map_record(line: bytes, want: int | None = None) -> dict[bytes, Value]:
    """The mapped record of a text line, under the JSON names and their aliases."""
    columns = split_columns(line)
    if want not in (None, len(columns)):
        raise Malformed(f"{len(columns)} columns, not {want}")
    raw = dict(zip(COLUMNS_24 if len(columns) == 24 else COLUMNS_27, columns, strict=True))
    record: dict[str, Value] = {name: map_value(name, text) for name, text in raw.items()}
    for end in ("source", "dest"):
        record |= map_names(end, raw)
    for alias, name in ALIASES.items():
        record[alias] = record[name]
    return {name.encode(): value for name, value in record.items()}


def map_names(end: str, raw: dict[str, bytes]) -> dict[str, Value]:
    """Type, name and aggregated name of one end."""
    kind, name = raw[f"{end}_type"], raw[f"{end}_name"]
    aggregated = raw.get(f"{end}_name_aggr")
    if aggregated is None:
        aggregated = name
        if kind in OUTSIDE:
            aggregated = kind
        if kind in OUTSIDE or name.endswith(b"*") or (kind == b"net" and name in OUTSIDE):
            name = b"-"
    return {f"{end}_type": b"net" if kind in OUTSIDE else kind, f"{end}_name": name, f"{end}_name_aggr": aggregated}


def map_value(name: str, text: bytes) -> Value:
    """One column's value as the JSON form has it."""
    if name in ("source_ip", "dest_ip"):
        return None if text == b"-" else text
    if name in ("source_labels", "dest_labels"):
        return map_list(text, "labels")
    if name == "policies":
        return map_list(text, "all_policies")
    if name == "proto":
        return PROTOCOLS.get(text, text)
    if name == "reporter":
        return REPORTERS.get(text, text)
    if name.endswith(("_time", "_port")) or name.startswith(("num_", "packets_", "bytes_")):
        if text == b"-" and name.endswith("_port"):
            return None
        if text == b"-0":
            return Integer("0")
        return Integer(text.decode()) if re.fullmatch(rb"-?(?:0|[1-9][0-9]*)", text) else text
    return text


def map_list(text: bytes, key: str) -> Value:
    """`[a,b]` or `[a b]` as a map that holds a list; `-` is nothing, and what has no brackets stays text."""
    if text == b"-":
        return None
    if not (text.startswith(b"[") and text.endswith(b"]") and len(text) >= 2):
        return text
    return {key.encode(): list(re.split(b"[, ]", text[1:-1])) if text[1:-1] else []}
