"""Records as rows of a table: what one wants to see of a flow, or of a DNS look-up, at a glance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flowd.cli.table import render_row, shorten

COLUMNS = (
    ("TIME", 19), ("FROM", 36), ("TO", 36), ("PROTO", 5), ("PORT", 5), ("REP", 3), ("ACTION", 6), ("BYTES", 12),
)  # fmt: skip
_WIDTHS = [width for _, width in COLUMNS]
_RIGHT = [name in ("PORT", "BYTES") for name, _ in COLUMNS]


def render_head() -> str:
    """The columns' names."""
    return render_row([name for name, _ in COLUMNS], _WIDTHS, _RIGHT)


def render_record(record: dict[str, Any]) -> str:
    """One row."""
    return render_row(_row(record), _WIDTHS, _RIGHT)


def _row(record: dict[str, Any]) -> list[str]:
    """A flow, or a DNS look-up, in the table's columns; `-` for what the record does not have."""
    if "qname" in record:
        cells = [
            _time(record.get("start_time")), _end(record, "client"), str(record.get("qname")),
            "dns", "-", "-", str(record.get("rcode", "-")), "-",
        ]  # fmt: skip
    elif "line" in record and len(record) == 1:
        cells = ["-", str(record["line"]), "-", "-", "-", "-", "-", "-"]
    else:
        port = record.get("dest_port")
        sizes = [n for n in (record.get("bytes_in"), record.get("bytes_out")) if isinstance(n, int)]
        cells = [
            _time(record.get("start_time")), _end(record, "source"), _end(record, "dest"),
            str(record.get("proto", "-")),
            "-" if port is None else str(port), str(record.get("reporter", "-")), str(record.get("action", "-")),
            str(sum(sizes)) if sizes else "-",
        ]  # fmt: skip
    return [shorten(cell, width) for cell, width in zip(cells, _WIDTHS, strict=True)]


def _end(record: dict[str, Any], end: str) -> str:
    namespace, name = record.get(f"{end}_namespace"), record.get(f"{end}_name")
    if name in (None, "-", ""):
        name = record.get(f"{end}_name_aggr", "-")
    return str(name) if namespace in (None, "-", "") else f"{namespace}/{name}"


def _time(value: object) -> str:
    if isinstance(value, int):
        try:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        except (ValueError, OverflowError, OSError):
            return str(value)
    return str(value)[:19] if value else "-"
