"""What a Forward sink is told, as plain, checked values."""

from __future__ import annotations

from dataclasses import dataclass

from flowd.sinks.forward.security import Security
from flowd.sinks.forward.servers import Server

WINDOW = 8
CHUNK_BYTES = 1 << 20
ACK_TIMEOUT_S = 60.0
NOTHING = Security()


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """`name` is the sink's own; `node` what `{node}` in the `tag` stands for, and what a handshake says of this side.

    A chunk has at most `chunk_bytes` of lines; of each server's, `window` are under way. One that is not acknowledged
    within `ack_timeout_s` is sent again. The entries' times are found under `time_key`, where there is one.
    """

    name: str
    servers: tuple[Server, ...]
    node: str
    tag: str = "{stream}"
    is_compressed: bool = False
    time_key: str = ""
    chunk_bytes: int = CHUNK_BYTES
    window: int = WINDOW
    ack_timeout_s: float = ACK_TIMEOUT_S
    security: Security = NOTHING
