"""JSON as flowd's verdicts define it, spelled out byte by byte: the structure of a line, and strict values.

Slow and obvious on purpose; it shares nothing with the core. A line is malformed if its top-level structure is broken
or a value that a rule reads is not valid JSON; values that nobody reads are only walked over.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

BLANKS = b" \t\r\n"
CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}
ESCAPES = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

sys.setrecursionlimit(200_000)  # values nest as deep as a line likes; pure Python frames take no C stack


class Malformed(Exception):
    """The line has no verdict but M."""


@dataclass(frozen=True)
class Integer:
    """A whole number of any size, by its canonical digits."""

    digits: str


Value = None | bool | Integer | float | bytes | list["Value"] | dict[bytes, "Value"]


def split_members(line: bytes) -> list[tuple[bytes, bytes]]:
    """The raw keys (without quotes) and raw values of the object that a line holds."""
    text = line.strip(BLANKS)
    if not text.startswith(b"{"):
        raise Malformed("not an object")
    members: list[tuple[bytes, bytes]] = []
    at = _skip_blanks(text, 1)
    if text[at : at + 1] == b"}":
        at += 1
    else:
        while True:
            key_end = _end_of_string(text, at)
            colon = _skip_blanks(text, key_end)
            if text[colon : colon + 1] != b":":
                raise Malformed("no colon after a key")
            end = _end_of_value(text, colon + 1)
            value = text[colon + 1 : end].strip(BLANKS)
            if not value:
                raise Malformed("no value after a colon")
            members.append((text[at + 1 : key_end - 1], value))
            at = _skip_blanks(text, end + 1)
            if text[end : end + 1] == b"}":
                break
    if at != len(text):
        raise Malformed("more after the closing brace")
    return members


def _skip_blanks(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return at


def _end_of_string(text: bytes, at: int) -> int:
    """The place after the closing quote of the string that begins at `at`."""
    if text[at : at + 1] != b'"':
        raise Malformed("no string where one belongs")
    at += 1
    while at < len(text):
        if text[at] == ord('"'):
            return at + 1
        at += 2 if text[at] == ord("\\") else 1
    raise Malformed("a string without end")


def _end_of_value(text: bytes, at: int) -> int:
    """The place of the comma or brace that ends a top-level value; inside it only strings and brackets count."""
    open_brackets: list[int] = []
    while at < len(text):
        byte = text[at]
        if byte == ord('"'):
            at = _end_of_string(text, at)
            continue
        if not open_brackets and byte in b",}":
            return at
        if not open_brackets and byte in b":]":
            raise Malformed("a colon or bracket between top-level members")
        if byte in CLOSING:
            open_brackets.append(CLOSING[byte])
        elif byte in b"}]" and open_brackets.pop() != byte:
            raise Malformed("a bracket closed by another kind")
        at += 1
    raise Malformed("the object does not end")


def decode_key(raw: bytes) -> bytes:
    """A key with its escapes decoded; Malformed where they are broken. Nothing else of a key is validated."""
    return _decode_string(raw, strict=False)


def _decode_string(raw: bytes, *, strict: bool) -> bytes:
    """The bytes that a string stands for; `strict` refuses raw control characters and lone surrogates."""
    out = bytearray()
    at = 0
    while at < len(raw):
        byte = raw[at : at + 1]
        if byte != b"\\":
            if strict and byte < b" ":
                raise Malformed("a raw control character")
            out += byte
            at += 1
            continue
        letter = raw[at + 1 : at + 2]
        at += 2
        if letter in ESCAPES and letter:
            out += ESCAPES[letter]
            continue
        if letter != b"u":
            raise Malformed("an unknown escape")
        unit, at = _read_unit(raw, at)
        if 0xD800 <= unit < 0xDC00 and raw[at : at + 2] == b"\\u":
            low, after = _read_unit(raw, at + 2)
            if 0xDC00 <= low < 0xE000:
                unit, at = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), after
        if 0xD800 <= unit < 0xE000:
            if strict:
                raise Malformed("a lone surrogate")
            out += chr(unit).encode("utf-8", "surrogatepass")
        else:
            out += chr(unit).encode()
    return bytes(out)


def _read_unit(raw: bytes, at: int) -> tuple[int, int]:
    digits = raw[at : at + 4]
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
        raise Malformed("four hex digits are missing")
    return int(digits, 16), at + 4


def parse_value(raw: bytes, *, strict: bool) -> Value:
    """A value that a rule reads; Malformed if it is not valid JSON to its last byte."""
    value, at = _parse(raw, _skip_blanks(raw, 0), strict)
    if _skip_blanks(raw, at) != len(raw):
        raise Malformed("more than one value")
    return value


def _parse(raw: bytes, at: int, strict: bool) -> tuple[Value, int]:
    first = raw[at : at + 1]
    if first == b'"':
        end = _end_of_string(raw, at)
        return _decode_string(raw[at + 1 : end - 1], strict=strict), end
    if first == b"{":
        return _parse_map(raw, at + 1, strict)
    if first == b"[":
        return _parse_list(raw, at + 1, strict)
    for text, value in ((b"null", None), (b"true", True), (b"false", False)):
        if raw.startswith(text, at):
            return value, at + len(text)
    number = NUMBER.match(raw, at)
    if number is None:
        raise Malformed("no value")
    if number.group(1) is None and number.group(2) is None:
        digits = number.group().decode()
        return Integer("0" if digits == "-0" else digits), number.end()
    return float(number.group()), number.end()


def _parse_map(raw: bytes, at: int, strict: bool) -> tuple[Value, int]:
    found: dict[bytes, Value] = {}
    at = _skip_blanks(raw, at)
    if raw[at : at + 1] == b"}":
        return found, at + 1
    while True:
        end = _end_of_string(raw, at)
        key = _decode_string(raw[at + 1 : end - 1], strict=strict)
        at = _skip_blanks(raw, end)
        if raw[at : at + 1] != b":":
            raise Malformed("no colon after a nested key")
        found[key], at = _parse(raw, _skip_blanks(raw, at + 1), strict)
        at = _skip_blanks(raw, at)
        if raw[at : at + 1] == b"}":
            return found, at + 1
        if raw[at : at + 1] != b",":
            raise Malformed("no comma between nested members")
        at = _skip_blanks(raw, at + 1)


def _parse_list(raw: bytes, at: int, strict: bool) -> tuple[Value, int]:
    found: list[Value] = []
    at = _skip_blanks(raw, at)
    if raw[at : at + 1] == b"]":
        return found, at + 1
    while True:
        value, at = _parse(raw, at, strict)
        found.append(value)
        at = _skip_blanks(raw, at)
        if raw[at : at + 1] == b"]":
            return found, at + 1
        if raw[at : at + 1] != b",":
            raise Malformed("no comma between list members")
        at = _skip_blanks(raw, at + 1)
