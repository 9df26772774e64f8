"""FLW/1, the protocol between flowd's daemon and its clients, as `docs/wire.md` defines it.

Headers, frames and limits only: nothing here opens a socket but `sockets`, which sets the options that all lanes share.
"""

from flowd.wire.frames import FLAG_ZSTD, Buffer, Message, checksum, count_lines, encode, open_payload, parse
from flowd.wire.headers import (
    Ack,
    Bye,
    Data,
    Err,
    Header,
    Heartbeat,
    Hello,
    Live,
    Nak,
    Reply,
    Request,
    Type,
    Welcome,
)

__all__ = [
    "FLAG_ZSTD",
    "Ack",
    "Buffer",
    "Bye",
    "Data",
    "Err",
    "Header",
    "Heartbeat",
    "Hello",
    "Live",
    "Message",
    "Nak",
    "Reply",
    "Request",
    "Type",
    "Welcome",
    "checksum",
    "count_lines",
    "encode",
    "open_payload",
    "parse",
]
