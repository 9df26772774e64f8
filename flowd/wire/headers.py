"""The messages of FLW/1 as plain data: a type's number and the shape of its header map.

A header is a msgpack map with string keys. Unknown keys are skipped, a missing or wrong one is an error; integers are
unsigned. msgspec checks while it decodes: it makes no object for what is skipped, and a length that the bytes do not
hold is refused before anything is allocated for it. It recurses, though, so it only gets the small headers; the large
ones go to msgpack, whose own stack is bounded.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, ClassVar

import msgpack
import msgspec

from flowd.wire.limits import HEADER_MAX_BYTES, ID_BYTES, LARGE_HEADER_MAX_BYTES

Unsigned = Annotated[int, msgspec.Meta(ge=0)]
Ident = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
RequestId = Any
"""Whatever the asker chose, an integer, a string or bytes: it comes back in the answer as it is."""


class Type(IntEnum):
    """What a message is: the fifth byte of its head."""

    HELLO = 1
    WELCOME = 2
    DATA = 3
    ACK = 4
    NAK = 5
    ERR = 6
    BYE = 7
    LIVE = 16
    HB = 17
    REQUEST = 64
    REPLY = 65


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The base of the headers; the class attributes say what the message around it may look like."""

    type: ClassVar[Type]
    has_payload: ClassVar[bool] = False
    max_bytes: ClassVar[int] = HEADER_MAX_BYTES


class Hello(Header, frozen=True, omit_defaults=True):
    """Producer → daemon: who it is. `v` are the versions it speaks; `pid` stays the same over its lives, `inc` differs
    in each; `first` is its oldest unacknowledged sequence, and None when there is none."""

    type = Type.HELLO
    v: list[Unsigned]
    pid: Ident
    inc: Unsigned = 0
    first: Unsigned | None = None


class Welcome(Header, frozen=True, omit_defaults=True):
    """Daemon → producer: go on from `last` + 1, with at most `cb` bytes and `cm` messages unacknowledged, `max` bytes a
    batch. `hb` is the heartbeat in ms."""

    type = Type.WELCOME
    v: Unsigned
    epoch: Ident
    last: Unsigned
    cb: Unsigned
    cm: Unsigned
    max: Unsigned
    hb: Unsigned


class Data(Header, frozen=True, omit_defaults=True):
    """A batch of a stream: sequence `s`, stream `st`, `n` lines, `crc` the crc32 of the payload as sent, `t` ns."""

    type = Type.DATA
    has_payload = True
    s: Unsigned
    st: str
    n: Unsigned
    crc: Unsigned
    t: Unsigned = 0


class Ack(Header, frozen=True, omit_defaults=True):
    """Everything up to `s` is decided; `cb` and `cm` are the credit from now on."""

    type = Type.ACK
    s: Unsigned
    cb: Unsigned
    cm: Unsigned


class Nak(Header, frozen=True, omit_defaults=True):
    """Batch `s` was not taken, for the reason `code`; `want` is the sequence awaited (`gap`), `retry` a pause in ms."""

    type = Type.NAK
    s: Unsigned
    code: str
    want: Unsigned | None = None
    retry: Unsigned | None = None


class Err(Header, frozen=True, omit_defaults=True):
    """The conversation is over: `code` for programs, `text` for people."""

    type = Type.ERR
    code: str
    text: str = ""


class Bye(Header, frozen=True, omit_defaults=True):
    """A clean end."""

    type = Type.BYE


class Live(Header, frozen=True, omit_defaults=True):
    """A batch of a view: epoch `e`, sequence `q`, `n` lines, `k` lines of the stream before this batch since the epoch
    began, `t` ns, `g` the generation of the filters that decided it."""

    type = Type.LIVE
    has_payload = True
    e: Ident
    q: Unsigned
    n: Unsigned
    k: Unsigned
    t: Unsigned
    g: Unsigned


class Heartbeat(Header, frozen=True, omit_defaults=True):
    """Once a second for each view: `next` is its next sequence, `k` the lines before that batch, `oldest` the
    oldest sequence that can still be fetched (the next one where nothing is kept)."""

    type = Type.HB
    e: Ident
    next: Unsigned
    k: Unsigned
    oldest: Unsigned


class Request(Header, frozen=True):
    """Administration: the operation `op` with its arguments `args`, which stand beside `id` and `op` in the map."""

    type = Type.REQUEST
    max_bytes = LARGE_HEADER_MAX_BYTES
    id: RequestId
    op: str
    args: dict[str, Any] = {}


class Reply(Header, frozen=True):
    """The answer to the request of the same `id`; `body` stands beside `id` and `ok` in the map. Where not `ok`, `body`
    has `code`, `text` and perhaps `hint`."""

    type = Type.REPLY
    max_bytes = LARGE_HEADER_MAX_BYTES
    id: RequestId
    ok: bool
    body: dict[str, Any] = {}


HEADERS: dict[Type, type[Header]] = {
    header.type: header for header in (Hello, Welcome, Data, Ack, Nak, Err, Bye, Live, Heartbeat, Request, Reply)
}


def _refuse_extension(code: int, _: bytes | memoryview) -> object:
    raise ValueError(f"msgpack extension type {code} is not part of FLW/1")


class _OpenMap:
    """Reads and writes the headers whose maps are open: named keys first, all others in one dict."""

    def __init__(self, header: type[Header], named: tuple[str, str], rest: str) -> None:
        self._header = header
        self._named = named
        self._rest = rest

    def decode(self, packed: bytes) -> Header:
        found = msgpack.unpackb(packed, ext_hook=_refuse_extension)
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
_DECODERS: dict[Type, msgspec.msgpack.Decoder[Header]] = {
    type_: msgspec.msgpack.Decoder(header, ext_hook=_refuse_extension)
    for type_, header in HEADERS.items()
    if type_ not in _OPEN
}
_encode = msgspec.msgpack.Encoder().encode


def pack_header(header: Header) -> bytes:
    """The header as a msgpack map. Raises OverflowError for an integer over 64 bits."""
    opened = _OPEN.get(header.type)
    return _encode(header if opened is None else opened.flatten(header))


def unpack_header(type_: Type, packed: bytes) -> Header:
    """The header of a message of this type; what is no such header raises ValueError, TypeError or RecursionError."""
    opened = _OPEN.get(type_)
    return _DECODERS[type_].decode(packed) if opened is None else opened.decode(packed)
