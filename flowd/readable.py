"""Names of files as text that can leave the process. A name may hold any bytes; Python keeps those that are no UTF-8 as
lone surrogates, which neither msgpack nor JSON, a metric's label or a log may have. Here they are spelled `\\xNN`.

For people and for other programs to read: a path to open is never made readable before.
"""

from __future__ import annotations

from typing import Any

_FIRST_BYTE = 0xDC00
"""Byte NN of a name stands in a str as U+DCNN, from 80 on."""


def make_readable(text: str) -> str:
    """The text with what is no UTF-8 spelled: `caf\\xe9`."""
    if text.isascii():
        return text
    return "".join(_spell(ord(char)) if "\ud800" <= char <= "\udfff" else char for char in text)


def make_all_readable(value: Any) -> Any:
    """The same for all texts in plain data: dicts, lists and tuples, keys too."""
    if isinstance(value, str):
        return make_readable(value)
    if isinstance(value, dict):
        return {make_all_readable(key): make_all_readable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [make_all_readable(inner) for inner in value]
    return value


def _spell(number: int) -> str:
    return f"\\x{number - _FIRST_BYTE:02x}" if 0xDC80 <= number <= 0xDCFF else f"\\u{number:04x}"
