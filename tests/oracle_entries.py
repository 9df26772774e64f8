"""Lines as entries of the Forward protocol, by plain Python: what docs/forward-sink.md promises, from what
`flowd.records` says of a line, packed by msgspec."""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flowd.records import COLUMNS_27, decode_line

DEPTH_MOST = 24
SECONDS_MAX = (1 << 32) - 1
NS = 1_000_000_000
INT_LEAST, INT_MOST = -(1 << 63), (1 << 64) - 1
TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
BLANKS = b" \t\r"


def write_entries(lines: bytes, time_ns: int, time_key: str = "") -> tuple[bytes, int]:
    """The entries of lines, and how many of them are messages."""
    pieces = lines.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    entries, messages = [], 0
    for line in pieces:
        record = read_record(line)
        found = None
        if record is None:
            messages += 1
            record = {"message": line.decode(errors="replace")}
        elif time_key:
            found = read_time(record.get(time_key))
        entries.append(pack_begin(*(found or divmod(time_ns, NS))) + msgspec.msgpack.encode(make_packable(record)))
    return b"".join(entries), messages


def read_record(line: bytes) -> dict[str, Any] | None:
    """The record that a line is; text of columns in the order of the later layout."""
    if not line.strip(BLANKS):
        return None
    record = decode_line(line)
    is_json = line.lstrip(BLANKS)[:1] == b"{"
    if not is_json:
        return None if record.keys() == {"line"} else {name: record[name] for name in COLUMNS_27 if name in record}
    if record == {"line": line.decode(errors="replace")}:
        return None  # no object can hold the whole of its own line
    return None if is_deep(record) else record


def pack_begin(seconds: int, ns: int) -> bytes:
    """An array of two, and an event time, which has 32 bits of seconds."""
    return struct.pack(">BBBII", 0x92, 0xD7, 0, min(max(seconds, 0), SECONDS_MAX), ns)


def read_time(value: Any) -> tuple[int, int] | None:
    """Seconds and nanoseconds since 1970 of a field's value; None where it is no time that an entry can have."""
    if isinstance(value, str):
        return read_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        return None
    seconds = int(value)
    return seconds, int((value - seconds) * NS)


def read_text(text: str) -> tuple[int, int] | None:
    """The same of RFC 3339."""
    found = TIME.fullmatch(text)
    if found is None:
        return None
    try:
        when = datetime(*map(int, found.group(1, 2, 3, 4, 5, 6)), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    seconds = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    sign, hours, minutes = found.group(8, 9, 10)
    if sign:
        seconds -= (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes) * 60)
    return (seconds, int((found[7] or "0").ljust(9, "0"))) if 0 <= seconds <= SECONDS_MAX else None


def is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than a record may be."""
    level = [value]
    for _ in range(DEPTH_MOST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def make_packable(value: Any) -> Any:
    """The value without what msgpack has not: integers beyond 64 bits are their digits, half characters U+FFFD."""
    if isinstance(value, dict):
        return {make_packable(key): make_packable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [make_packable(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not INT_LEAST <= value <= INT_MOST:
        return str(value)
    return value
