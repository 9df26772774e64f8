"""The bounds of the wire protocol FLW/1, each with its reason. Nothing here does anything."""

from __future__ import annotations

import re

VERSION = 1

HEAD_BYTES = 8
"""`FLW`, version, type, flags, two zero bytes: one aligned word."""

HEADER_MAX_BYTES = 4096
"""An ordinary header is a dozen small values; what is larger is hostile or broken."""

LARGE_HEADER_MAX_BYTES = 1 << 20
"""REQUEST and REPLY carry filter texts and status tables."""

PAYLOAD_MAX_BYTES = 4 << 20
"""One line of an audit log can reach 1.5 MB; 4 MiB holds every line that collectors write."""

LINE_MAX_BYTES = PAYLOAD_MAX_BYTES - 1
"""A line without its newline: with it, it fills a payload."""

FRAME_MAX_BYTES = PAYLOAD_MAX_BYTES + (64 << 10)
"""What a socket takes at all. The 64 KiB above the payload's bound let a slightly oversized batch be answered with NAK
`too_big`; anything larger ends its connection inside ZeroMQ, and its sender hears nothing."""

BATCH_BYTES = 256 << 10
"""Where a batch is cut: large enough that a message costs little beside its filtering, small enough for caches."""

BATCH_DELAY_S = 0.05
"""A line waits no longer than this for others to share its batch."""

CREDIT_MESSAGES = 32
"""Batches a producer may have under way: half a socket's high-water mark, so that nothing is dropped on the way."""

CREDIT_BYTES = 16 * BATCH_BYTES
"""Bytes a producer may have under way: half of them are stored by one commit while it sends the other half."""

HEARTBEAT_MS = 1000
"""How often a view's heartbeat is published, and what WELCOME announces as `hb`."""

HIGH_WATER_MARK = 64
"""Messages queued for one peer: with 256 KiB batches 16 MiB, which bounds what a stalled peer can hold."""

SEQUENCE_MAX = (1 << 64) - 1
"""Integers on the wire are unsigned 64-bit."""

ID_BYTES = 16
"""Producer ids and epochs are random: 128 bits never collide."""

STREAM_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
"""A legal stream or view name: it stands in topics, metrics and file names unescaped."""


def is_stream_name(name: str) -> bool:
    """Whether `name` may name a stream or a view on the wire."""
    return STREAM_NAME.fullmatch(name) is not None
