"""Lines as entries of the Forward protocol: `[time, record]` in msgpack.

A JSON line is its object; a text line a record under the JSON names; any other line, and an object that is nested more
than 24 deep, `{"message": its text}`. What msgpack cannot say is said otherwise: integers beyond 64 bits as their
digits, bytes that are not UTF-8 as U+FFFD.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flowd.records import decode_line
from flowd.sinks.forward.columns import ColumnWriter
from flowd.wire.forward import EVENT_TIME_EXT

MESSAGE_KEY = "message"
"""Under which a line stands that is no record: what fluentd's parsers call it, too."""
DEPTH_MOST = 24
"""A record that is nested deeper goes as a message: msgpack-c, and so Fluent Bit, gives up at 32 with the entry's own
array, Ruby's at 128. They would take none of the chunk, and it would be sent for ever."""
SECONDS_MAX = (1 << 32) - 1
NS = 1_000_000_000
INT_LEAST, INT_MOST = -(1 << 63), (1 << 64) - 1
"""The integers that msgpack has."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
_ENTRY = struct.Struct(">BBBII")
_ARRAY_OF_2, _FIXEXT_8 = 0x92, 0xD7
JSON_BEGINS = b"{ \t\r"
"""What a line that may be JSON begins with, or it is empty."""
_UNKNOWN = "line"
"""The key of `flowd.records` for what is no record."""


class EntryWriter:
    """Writes lines as entries. With a `time_key` an entry's time is what its record has there: seconds since 1970 as a
    number, or RFC 3339. Where that is missing or neither, and without a key, it is the batch's.

    `plain` counts the lines that were no records.
    """

    def __init__(self, time_key: str = "") -> None:
        self.plain = 0
        self._time_key = time_key
        self._columns = ColumnWriter()
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode
        self._write_record = msgspec.msgpack.Encoder().encode_into

    def write(self, lines: bytes, time_ns: int, into: bytearray) -> None:
        """Appends an entry for each line. `time_ns` is the batch's time."""
        begin = pack_begin(*divmod(time_ns, NS))
        decode, write_record, time_key = self._decode, self._write_record, self._time_key
        pieces = lines.split(b"\n")
        if not pieces[-1]:
            pieces.pop()
        for line in pieces:
            if line[:1] not in JSON_BEGINS:
                self._write_odd(line, begin, into)
                continue
            size = len(into)
            try:
                record = decode(line)
                into += begin if not time_key else self._find_begin(record, begin)
                write_record(record, into, -1)
                if line.count(b"{") + line.count(b"[") > DEPTH_MOST and is_deep(record):
                    raise RecursionError
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
                del into[size:]
                self._write_odd(line, begin, into)

    def _write_odd(self, line: bytes, begin: bytes, into: bytearray) -> None:
        """A line of columns, one that is not JSON as msgspec has it, or one with something that msgpack has not."""
        packed = self._columns.pack(line, self._time_key)
        if packed is not None:
            into += self._choose_begin(packed[1], begin) + packed[0]
            return
        record = decode_line(line)
        size = len(into)
        if record.keys() == {_UNKNOWN} and record[_UNKNOWN] == line.decode(errors="replace"):
            self.plain += 1
            record = {MESSAGE_KEY: record[_UNKNOWN]}
        into += self._find_begin(record, begin) if self._time_key else begin
        try:
            if is_deep(record):
                raise RecursionError
            self._write_record(make_packable(record), into, -1)
        except RecursionError:
            del into[size:]
            self.plain += 1
            into += begin
            self._write_record({MESSAGE_KEY: line.decode(errors="replace")}, into, -1)

    def _find_begin(self, record: dict[str, Any], begin: bytes) -> bytes:
        return self._choose_begin(record.get(self._time_key), begin)

    def _choose_begin(self, value: Any, begin: bytes) -> bytes:
        found = None if value is None else read_time(value)
        return begin if found is None else pack_begin(*found)


def pack_begin(seconds: int, ns: int) -> bytes:
    """How an entry with this time begins: an array of two, and an event time, which has 32 bits of seconds."""
    return _ENTRY.pack(_ARRAY_OF_2, _FIXEXT_8, EVENT_TIME_EXT, min(max(seconds, 0), SECONDS_MAX), ns)


def read_time(value: Any) -> tuple[int, int] | None:
    """Seconds and nanoseconds since 1970 of a field's value; None where it is no time that an entry can have."""
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= SECONDS_MAX:
        return None
    seconds = int(value)
    return seconds, int((value - seconds) * NS)


def is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than DEPTH_MOST. Walks, and does not recur."""
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


def _read_text(text: str) -> tuple[int, int] | None:
    found = _TIME.fullmatch(text)
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
