"""Consumers of a JetStream server that last as long as somebody reads: nothing of them is acknowledged or stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from flowd.errors import WireError
from flowd.wire.jetstream import Head

if TYPE_CHECKING:
    from nats.js import JetStreamContext
    from nats.js.api import ConsumerConfig

FORGET_S = 60.0
"""The server forgets a passing consumer of which nobody has asked for messages for so long."""
ANSWER_S = 5.0
HEADS = 256
"""How many heads are asked for at once."""


class Passing(NamedTuple):
    """Where to fetch messages, its name at the server, and how many messages waited for it when it was made."""

    pull: Any
    name: str
    waiting: int


async def open_passing(
    jetstream: JetStreamContext, stream: str, subject: str, first: int, *, is_heads_only: bool = False, **more: Any
) -> Passing:
    """A consumer of a subject from the sequence `first` on; what it has sent once it does not send again."""
    from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

    config: ConsumerConfig = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=max(first, 1),
        ack_policy=AckPolicy.NONE,
        filter_subject=subject,
        inactive_threshold=FORGET_S,
        mem_storage=True,
        num_replicas=1,
        headers_only=is_heads_only,
    ).evolve(**more)
    pull = await jetstream.pull_subscribe(subject, stream=stream, config=config)
    info = await pull.consumer_info()
    return Passing(pull, info.name, info.num_pending or 0)


async def find_batch(
    jetstream: JetStreamContext, stream: str, subject: str, start: tuple[bytes, int], first: int, last: int
) -> int:
    """The place of a batch, or of the next one of its epoch; `first` where nothing of its epoch is there. Raises
    TimeoutError where something is lost on the way."""
    epoch, seq = start
    has_epoch = False
    async with aclosing(_read_heads(jetstream, stream, subject, first)) as heads:
        async for sequence, head in heads:
            if head.epoch == epoch and head.seq >= seq:
                return sequence
            has_epoch |= head.epoch == epoch
    return last + 1 if has_epoch else first


async def has_batches(
    jetstream: JetStreamContext, stream: str, subject: str, until: tuple[bytes, int], first: int
) -> bool:
    """Whether a batch of this epoch, up to this one, stands at `first` or behind it. Raises TimeoutError where
    something is lost on the way."""
    epoch, seq = until
    async with aclosing(_read_heads(jetstream, stream, subject, first)) as heads:
        async for _, head in heads:
            if head.epoch == epoch and head.seq <= seq:
                return True
    return False


async def _read_heads(
    jetstream: JetStreamContext, stream: str, subject: str, first: int
) -> AsyncGenerator[tuple[int, Head], None]:
    """The heads of the batches that are stored now, from the sequence `first` on, each with its place."""
    passing = await open_passing(jetstream, stream, subject, first, is_heads_only=True)
    heard = 0
    try:
        while heard < passing.waiting:
            for message in await passing.pull.fetch(min(passing.waiting - heard, HEADS), timeout=ANSWER_S):
                heard += 1
                if message.metadata.sequence.consumer != heard:
                    raise TimeoutError("messages were lost with a connection")
                with suppress(WireError):  # none of ours
                    yield message.metadata.sequence.stream, Head.parse(message.headers)
    finally:
        await passing.pull.unsubscribe()


async def find_moment(jetstream: JetStreamContext, stream: str, subject: str, since_ns: int, last: int) -> int:
    """The place of the first message that was stored at this time or later: none decided later is before it."""
    from nats.js.api import DeliverPolicy

    moment = datetime.fromtimestamp(since_ns / 1e9, UTC)
    more = {"deliver_policy": DeliverPolicy.BY_START_TIME, "opt_start_seq": None, "opt_start_time": moment}
    passing = await open_passing(jetstream, stream, subject, 1, is_heads_only=True, **more)
    try:
        if not passing.waiting:
            return last + 1
        (message,) = await passing.pull.fetch(1, timeout=ANSWER_S)
        return int(message.metadata.sequence.stream)
    finally:
        await passing.pull.unsubscribe()
