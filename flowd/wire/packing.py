"""Headers as bytes and back: a msgpack map with string keys.

Unknown keys are skipped, a missing or wrong one is an error; integers are unsigned. msgspec checks while it decodes: it
makes no object for what is skipped, and a length that the bytes do not hold is refused before anything is allocated for
it. It recurses, though, so it only gets the small headers; the large ones go to msgpack, whose own stack is bounded.
"""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec

from flowd.errors import FlowdError
from flowd.readable import make_all_readable, make_readable
from flowd.wire.headers import HEADERS, Header, Reply, Request, Type
from flowd.wire.limits import HEADER_MAX_BYTES


def _refuse_extension(code: int, _: bytes | memoryview) -> object:
    raise ValueError(f"msgpack extension type {code} is not part of FLW/1")


class _OpenMap:
    """Reads and writes the headers whose maps are open: named keys first, all others in one dict."""

    def __init__(self, header: type[Header], named: tuple[str, str], rest: str) -> None:
        self._header = header
        self._named = named
        self._rest = rest

    def convert(self, found: Any) -> Header:
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise ValueError("a header is a map with string keys")
        fields = {name: found.pop(name) for name in self._named if name in found}
        if type(fields.get("id")) not in (int, str, bytes):
            raise ValueError("`id` is to be an integer, a string or bytes")
        return msgspec.convert({**fields, self._rest: found}, self._header)

    def flatten(self, header: Header) -> dict[str, Any]:
        rest: dict[str, Any] = getattr(header, self._rest)
        return {name: getattr(header, name) for name in self._named} | rest


_OPEN: dict[Type, _OpenMap] = {
    Type.REQUEST: _OpenMap(Request, ("id", "op"), "args"),
    Type.REPLY: _OpenMap(Reply, ("id", "ok"), "body"),
}
_LARGE = frozenset(type_ for type_, header in HEADERS.items() if header.max_bytes > HEADER_MAX_BYTES)
_DECODERS: dict[Type, msgspec.msgpack.Decoder[Header]] = {
    type_: msgspec.msgpack.Decoder(header, ext_hook=_refuse_extension)
    for type_, header in HEADERS.items()
    if type_ not in _LARGE
}
_encode = msgspec.msgpack.Encoder().encode


def pack_header(header: Header) -> bytes:
    """The header as a msgpack map. Raises OverflowError for an integer over 64 bits, and FlowdError for a name or a
    filter that is no UTF-8."""
    opened = _OPEN.get(header.type)
    if opened is not None:
        return pack_value(opened.flatten(header))
    try:
        return _encode(header)
    except UnicodeEncodeError as error:
        text = make_readable(error.object)
        raise FlowdError(f"not UTF-8, and so it cannot be sent: {text[:200]}", hint="write it in UTF-8") from None


def pack_value(value: Any) -> bytes:
    """Plain data as msgpack, with the bytes of files' names that are no UTF-8 spelled."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(make_all_readable(value))


def unpack_header(type_: Type, packed: bytes) -> Header:
    """The header of a message of this type; what is no such header raises ValueError, TypeError or RecursionError."""
    if type_ not in _LARGE:
        return _DECODERS[type_].decode(packed)
    found = msgpack.unpackb(packed, ext_hook=_refuse_extension)
    opened = _OPEN.get(type_)
    return msgspec.convert(found, HEADERS[type_]) if opened is None else opened.convert(found)
