"""The messages of FLW/1 as plain data: a type's number and the shape of its header map.

`packing` turns them into bytes and back. The keys are those of `docs/wire.md`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, ClassVar

import msgspec

from flowd.wire.limits import HEADER_MAX_BYTES, ID_BYTES, LARGE_HEADER_MAX_BYTES

Unsigned = Annotated[int, msgspec.Meta(ge=0)]
Ident = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
EpochEnd = tuple[Ident, Unsigned, Unsigned]
"""An epoch that another goes on from, the first sequence of that other in this stream, and the lines before it."""
RecordTimes = tuple[Unsigned, Unsigned]
"""The earliest and the latest of the times, in ns since 1970, that a batch's kept records came with."""
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
    ATTACH = 32
    ATTACHED = 33
    BATCH = 34
    CREDIT = 35
    COMMIT = 36
    COMMITTED = 37
    GONE = 38
    GONE_OK = 39
    CAUGHT_UP = 40
    FENCED = 41
    VIEW = 42
    VIEW_OK = 43
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
    began, `t` ns, `g` the generation of the filters that decided it. Where the view filters its stream further, `m` is
    how many lines of the stream the batch has. Where epoch `e` goes on from another, `b` is that one's end. `ft` are
    the records' own times, where they came with any."""

    type = Type.LIVE
    has_payload = True
    e: Ident
    q: Unsigned
    n: Unsigned
    k: Unsigned
    t: Unsigned
    g: Unsigned
    m: Unsigned | None = None
    b: EpochEnd | None = None
    ft: RecordTimes | None = None


class Heartbeat(Header, frozen=True, omit_defaults=True):
    """Once a second for each view: `next` is its next sequence, `k` the lines before that batch, `oldest` the
    oldest sequence that can still be fetched (the next one where nothing is kept). `b` as in LIVE."""

    type = Type.HB
    e: Ident
    next: Unsigned
    k: Unsigned
    oldest: Unsigned
    b: EpochEnd | None = None


Position = tuple[Ident, Unsigned]
"""A batch of a stream: its epoch and sequence."""
Start = str | Position
"""Where to begin: `cursor`, `oldest`, `newest`, or the first batch wanted."""


class Attach(Header, frozen=True, omit_defaults=True):
    """Consumer → daemon: send me stream `st` from `start` on, with credit for `cb` bytes and `cm` messages.

    `c` is the consumer's name, under which its cursor is kept; without one there is no cursor. `vw` names a view, or
    `flt` is a filter of the consumer's own in the dialect `dl`. Where `start` is `cursor` and there is none, `since`
    (ns: the first batch decided then or later) or `last` (the batch with the n-th line from the end) say where to
    begin, else it is the oldest. `until` is the last batch wanted, or `newest` for what is stored at the moment. `inc`
    tells one attached consumer from another of its name; with `again` it attaches only if none other has since it did.
    """

    type = Type.ATTACH
    max_bytes = LARGE_HEADER_MAX_BYTES
    st: str
    cb: Unsigned
    cm: Unsigned
    c: str = ""
    vw: str | None = None
    flt: str | None = None
    dl: str | None = None
    start: Start = msgspec.field(default="cursor", name="from")
    since: Unsigned | None = None
    last: Unsigned | None = None
    until: Start | None = None
    inc: Unsigned = 0
    again: bool = False


class Attached(Header, frozen=True, omit_defaults=True):
    """The next batch sent has sequence `next`; stored are `oldest` to `newest` (newest = oldest - 1 where nothing is);
    `gen` is the attachment's generation."""

    type = Type.ATTACHED
    e: Ident
    next: Unsigned
    oldest: Unsigned
    newest: Unsigned
    gen: Unsigned


class Batch(Header, frozen=True, omit_defaults=True):
    """A stored batch: epoch `e`, sequence `q`, `n` lines, `t` ns, `crc` of the payload as sent, `g` the generation of
    the filters that decided it, `gen` that of the attachment. `k`, `m` and `ft` as in Live."""

    type = Type.BATCH
    has_payload = True
    e: Ident
    q: Unsigned
    n: Unsigned
    t: Unsigned
    crc: Unsigned
    g: Unsigned
    gen: Unsigned
    k: Unsigned = 0
    m: Unsigned | None = None
    ft: RecordTimes | None = None


class Credit(Header, frozen=True, omit_defaults=True):
    """Consumer → daemon: `cb` more bytes and `cm` more messages may be sent."""

    type = Type.CREDIT
    cb: Unsigned
    cm: Unsigned


class Commit(Header, frozen=True, omit_defaults=True):
    """Consumer → daemon: everything up to `q` is done with; `gen` is the attachment's generation."""

    type = Type.COMMIT
    q: Unsigned
    gen: Unsigned


class Committed(Header, frozen=True, omit_defaults=True):
    """The cursor stands behind `q`, durably."""

    type = Type.COMMITTED
    q: Unsigned


class Gone(Header, frozen=True, omit_defaults=True):
    """Batches from `want` on are not there any more, `oldest` is the next one that is. `lost` are numbers of batches
    and lines, `why` is `retention`, `epoch` or `corrupt`. Where `least` is set, it was that much at least."""

    type = Type.GONE
    want: Unsigned
    oldest: Unsigned
    lost: tuple[Unsigned, Unsigned]
    why: str
    least: bool = False


class GoneOk(Header, frozen=True, omit_defaults=True):
    """Consumer → daemon: the loss is taken note of; go on."""

    type = Type.GONE_OK


class CaughtUp(Header, frozen=True, omit_defaults=True):
    """There is nothing more to send at the moment, or up to the end that was asked for; `next` comes next."""

    type = Type.CAUGHT_UP
    next: Unsigned


class Fenced(Header, frozen=True, omit_defaults=True):
    """Another consumer of this name has attached to the stream: this attachment is over."""

    type = Type.FENCED


class View(Header, frozen=True, omit_defaults=True):
    """Make a view of stream `st` by the filter `flt` in the dialect `dl`, for the live lane."""

    type = Type.VIEW
    max_bytes = LARGE_HEADER_MAX_BYTES
    st: str
    flt: str
    dl: str | None = None


class ViewOk(Header, frozen=True, omit_defaults=True):
    """The view is there under the name `vw`, as generation `g`; equal filters share one."""

    type = Type.VIEW_OK
    vw: str
    g: Unsigned


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
    header.type: header
    for header in (
        *(Hello, Welcome, Data, Ack, Nak, Err, Bye),
        *(Live, Heartbeat),
        *(Attach, Attached, Batch, Credit, Commit, Committed, Gone, GoneOk, CaughtUp, Fenced, View, ViewOk),
        *(Request, Reply),
    )
}
