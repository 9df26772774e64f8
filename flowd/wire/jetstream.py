"""How batches stand in a JetStream stream: subjects, ids and headers, for the sink that writes and the consumer that
reads. Nothing here needs a NATS library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from flowd.errors import FlowdError, WireError

SUBJECT = "flowd.{stream}.{node}"
"""Where a node's batches of a stream go, unless another subject is configured."""
JETSTREAM = "FLOWD"
"""The JetStream stream that holds them all."""
CURSORS = "FLOWD_CURSORS"
"""The bucket in which consumers keep their cursors."""
SEPARATOR = "~"
"""Stands for a dot of a name in a subject, where a dot would begin another token. No name of flowd has it."""
MESSAGE_ID = "Nats-Msg-Id"
"""By this header a server recognises what it has stored already."""

SCHEMES = ("nats://", "tls://")
"""How the URL of a JetStream stream begins."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_EPOCH, _STREAM, _NODE, _SEQ = "Flowd-Epoch", "Flowd-Stream", "Flowd-Node", "Flowd-Seq"
_PART, _LINES, _BEFORE, _PREVIOUS = "Flowd-Part", "Flowd-Lines", "Flowd-Lines-Before", "Flowd-Previous"
_ACKNOWLEDGED, _TIME, _GENERATION = "Flowd-Acknowledged", "Flowd-Time", "Flowd-Generation"
_MISSED, _GAP = "Flowd-Missed", "Flowd-Gap"
_PARTS_MAX = 1 << 16
_NUMBER_MAX = (1 << 64) - 1


def is_jetstream_url(endpoint: str) -> bool:
    """Whether a consumer's endpoint is a JetStream stream, and not a daemon."""
    return endpoint.startswith(SCHEMES)


class SubjectTemplate(NamedTuple):
    """A subject with `{stream}` and `{node}` in it, each a token of its own."""

    text: str

    @staticmethod
    def parse(text: str) -> SubjectTemplate:
        """Raises FlowdError where the text is no such subject."""
        tokens = text.split(".")
        for token in tokens:
            if token not in ("{stream}", "{node}") and not _TOKEN.fullmatch(token):
                raise FlowdError(f"subject {text!r}: {token!r} is no token", hint=f"write {SUBJECT!r}, or the like")
        for wanted in ("{stream}", "{node}"):
            if tokens.count(wanted) != 1:
                hint = f"write {SUBJECT!r}: each node's batches of a stream have a subject of their own"
                raise FlowdError(f"subject {text!r} names {wanted} {tokens.count(wanted)} times", hint=hint)
        return SubjectTemplate(text)

    def subject(self, stream: str, node: str) -> str:
        """Where this node's batches of this stream go."""
        return self.text.replace("{stream}", as_token(stream)).replace("{node}", as_token(node))

    def pattern(self, stream: str | None = None, node: str | None = None) -> str:
        """The subjects of a stream and a node, or of all."""
        filled = self.text.replace("{stream}", "*" if stream is None else as_token(stream))
        return filled.replace("{node}", "*" if node is None else as_token(node))


def as_token(name: str) -> str:
    """A stream's or node's name as one token of a subject."""
    return name.replace(".", SEPARATOR)


class Acknowledged(NamedTuple):
    """How far a node's batches of a stream were known to be stored: all up to the batch `seq`, with `lines` lines in
    the epoch. What was not is behind `sequence` in the JetStream stream, if it is there."""

    sequence: int = 0
    seq: int = 0
    lines: int = 0


class Head(NamedTuple):
    """What the headers of a message say: it holds part `part` of `parts` of the batch (epoch, stream, seq) of a node.

    `lines` is the number of lines of the batch, `before` that of the lines that the node has sent of the stream before
    it in this epoch, and `previous` the last batch sent before it (None: not known). `acknowledged` is of the moment
    when it was sent. `missed` lines are lost to the node's journal before the batch, for the reason `gap`.
    """

    epoch: bytes
    stream: str
    node: str
    seq: int
    part: int
    parts: int
    lines: int
    before: int
    previous: int | None
    acknowledged: Acknowledged
    time_ns: int
    generation: int
    missed: int = 0
    gap: str = ""

    @property
    def message_id(self) -> str:
        """Names the message for ever: epoch, stream and seq, and the part of how many where there are several."""
        batch = f"{self.epoch.hex()}/{self.stream}/{self.seq}"
        return batch if self.parts == 1 else f"{batch}/{self.part}/{self.parts}"

    def as_headers(self) -> dict[str, str]:
        """For a message."""
        headers = {
            MESSAGE_ID: self.message_id,
            _EPOCH: self.epoch.hex(),
            _STREAM: self.stream,
            _NODE: self.node,
            _SEQ: str(self.seq),
            _LINES: str(self.lines),
            _BEFORE: str(self.before),
            _ACKNOWLEDGED: " ".join(map(str, self.acknowledged)),
            _TIME: str(self.time_ns),
            _GENERATION: str(self.generation),
        }
        if self.parts > 1:
            headers[_PART] = f"{self.part}/{self.parts}"
        if self.previous is not None:
            headers[_PREVIOUS] = str(self.previous)
        if self.missed or self.gap:
            headers[_MISSED] = str(self.missed)
            headers[_GAP] = self.gap
        return headers

    @staticmethod
    def parse(headers: Mapping[str, str] | None) -> Head:
        """Raises WireError `headers` where these are none of a batch."""
        found = headers or {}
        try:
            part, _, parts = found.get(_PART, "1/1").partition("/")
            previous = found.get(_PREVIOUS)
            head = Head(
                bytes.fromhex(found[_EPOCH]),
                found[_STREAM],
                found[_NODE],
                int(found[_SEQ]),
                int(part),
                int(parts),
                int(found[_LINES]),
                int(found[_BEFORE]),
                None if previous is None else int(previous),
                Acknowledged(*map(int, found[_ACKNOWLEDGED].split(" "))),
                int(found[_TIME]),
                int(found[_GENERATION]),
                int(found.get(_MISSED, 0)),
                found.get(_GAP, ""),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise WireError("headers", f"the message's headers are none of a batch: {error!r}") from error
        numbers = (
            *(head.seq, head.lines, head.before, head.previous or 0, head.time_ns, head.generation, head.missed),
            *head.acknowledged,
        )
        if (
            min(numbers) < 0
            or max(numbers) > _NUMBER_MAX
            or not 1 <= head.part <= head.parts <= _PARTS_MAX
            or len(head.epoch) != 16
        ):
            raise WireError("headers", "the message's headers name what no batch has")
        return head


def cut_payload(lines: bytes, most_bytes: int) -> list[memoryview | bytes]:
    """A batch's lines in pieces that a server takes: cut behind lines, and within one only where it is longer."""
    if len(lines) <= most_bytes:
        return [lines]
    pieces: list[memoryview | bytes] = []
    view = memoryview(lines)
    begin = 0
    while begin < len(lines):
        end = min(begin + most_bytes, len(lines))
        if end < len(lines):
            last = lines.rfind(b"\n", begin, end)
            end = last + 1 if last >= begin else end
        pieces.append(view[begin:end])
        begin = end
    return pieces
