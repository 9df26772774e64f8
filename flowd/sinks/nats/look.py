"""What a JetStream stream has of one subject: the heads of its messages, without their payloads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from flowd.wire.jetstream import Head

if TYPE_CHECKING:
    from nats.js import JetStreamContext

ANSWER_S = 5.0
FETCH_MESSAGES = 256
FORGET_S = 30.0
"""The server forgets what was asked for, when nobody has come for it for so long."""


class Found(NamedTuple):
    """A stored message: its head, and its sequence in the JetStream stream."""

    head: Head
    sequence: int


async def find_last(jetstream: JetStreamContext, stream: str, subject: str) -> Found | None:
    """The last message of a subject, None where there is none."""
    from nats.js.api import ConsumerConfig, DeliverPolicy

    config = ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT)
    async with _reading(jetstream, stream, subject, config) as (pull, waiting):
        if not waiting:
            return None
        (message,) = await pull.fetch(1, timeout=ANSWER_S)
        return Found(Head.parse(message.headers), message.metadata.sequence.stream)


async def find_since(jetstream: JetStreamContext, stream: str, subject: str, first: int, last: int) -> list[Found]:
    """The messages of a subject from the sequence `first` to `last`."""
    from nats.js.api import ConsumerConfig, DeliverPolicy

    if first > last:
        return []
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=first)
    found: list[Found] = []
    async with _reading(jetstream, stream, subject, config) as (pull, waiting):
        while waiting > 0:
            messages = await pull.fetch(min(waiting, FETCH_MESSAGES), timeout=ANSWER_S)
            waiting -= len(messages)
            for message in messages:
                sequence = message.metadata.sequence.stream
                if sequence > last:
                    return found
                found.append(Found(Head.parse(message.headers), sequence))
    return found


@asynccontextmanager
async def _reading(
    jetstream: JetStreamContext, stream: str, subject: str, config: Any
) -> AsyncIterator[tuple[JetStreamContext.PullSubscription, int]]:
    """A passing consumer of a subject's headers, and how many messages wait for it."""
    from nats.js.api import AckPolicy

    config = config.evolve(
        ack_policy=AckPolicy.NONE,
        headers_only=True,
        filter_subject=subject,
        inactive_threshold=FORGET_S,
        num_replicas=1,
    )
    pull = await jetstream.pull_subscribe(subject, stream=stream, config=config)
    try:
        info = await pull.consumer_info()
        yield pull, (info.num_pending or 0)
        await jetstream.delete_consumer(stream, info.name)
    finally:
        await asyncio.shield(pull.unsubscribe())
