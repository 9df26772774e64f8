"""A value's text as Ruby's `to_s` gives it in a fluentd worker, and the scrubbing of invalid UTF-8 before a match.

The rules are those of Ruby up to 3.3 started with `-Eascii-8bit:ascii-8bit`, as fluentd starts its workers.
"""

from __future__ import annotations

import codecs
import math

from oracle_json import Integer, Value

INSPECTED = {
    "\a": r"\a", "\b": r"\b", "\t": r"\t", "\n": r"\n", "\v": r"\v", "\f": r"\f", "\r": r"\r", "\x1b": r"\e",
    '"': r"\"", "\\": r"\\",
}  # fmt: skip


def _one_question_mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?", error.end  # Python's decoder reports one maximal ill-formed part at a time, as Ruby scrubs


codecs.register_error("flowd-scrub", _one_question_mark)


def scrub(text: bytes) -> bytes:
    """The text with one `?` for each maximal ill-formed part; the same bytes if it is valid UTF-8."""
    return text.decode("utf-8", "flowd-scrub").encode()


def to_s(value: Value) -> bytes:
    """What a pattern is matched against; nothing is the empty text."""
    if value is None:
        return b""
    return value if isinstance(value, bytes) else inspect(value).encode()


def inspect(value: Value) -> str:
    """The text of a value inside a list or map, and of numbers and words anywhere."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integer):
        return value.digits
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, bytes):
        return inspect_string(value)
    if isinstance(value, list):
        return "[" + ", ".join([inspect(part) for part in value]) + "]"
    return "{" + ", ".join([f"{inspect_string(key)}=>{inspect(part)}" for key, part in value.items()]) + "}"


def float_text(value: float) -> str:
    """Fixed notation from 1e-4 to 1e15 and above it while there is a fraction, else scientific; always a point."""
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    digits, exponent = _shortest_digits(abs(value))
    if digits == "0":
        return sign + "0.0"
    if exponent >= -4 and (exponent < 15 or len(digits) > exponent + 1):
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        whole = digits[: exponent + 1].ljust(exponent + 1, "0")
        return f"{sign}{whole}.{digits[exponent + 1 :] or '0'}"
    mark = "-" if exponent < 0 else "+"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}e{mark}{abs(exponent):02d}"


def _shortest_digits(value: float) -> tuple[str, int]:
    """The shortest digits that read back as the value, and the power of ten of the first."""
    mantissa, _, power = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = len(whole) - 1 + int(power or 0)
    digits = whole + fraction
    zeros = len(digits) - len(digits.lstrip("0"))
    stripped = digits.strip("0")
    return (stripped, exponent - zeros) if stripped else ("0", 0)


def inspect_string(text: bytes) -> str:
    """A string in double quotes, with everything but printable ASCII escaped."""
    characters = text.decode("utf-8", "surrogateescape")
    out = []
    for at, character in enumerate(characters):
        code = ord(character)
        if character in INSPECTED:
            out.append(INSPECTED[character])
        elif character == "#" and characters[at + 1 : at + 2] in ("{", "$", "@"):
            out.append(r"\#")
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02X}")
        elif 0x20 <= code < 0x7F:
            out.append(character)
        else:
            out.append(f"\\u{{{code:X}}}" if code > 0xFFFF else f"\\u{code:04X}")
    return '"' + "".join(out) + '"'
