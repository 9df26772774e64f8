"""A sink into NATS JetStream: the connection, the stream that takes the batches, and a lane for each feed.

Batches are stored once each: the server recognises what it has by its id, and what was sent before a break longer than
the server remembers is looked up before it is sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowd.errors import FlowdError
from flowd.sinks.nats.lane import Lane, Place, Window
from flowd.sinks.nats.link import AGAIN_S, DENIED, Link, Login, describe_error
from flowd.sinks.sink import Feed, Report
from flowd.wire.jetstream import SubjectTemplate

if TYPE_CHECKING:
    from nats.js import JetStreamContext

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamPlan:
    """The JetStream stream as it is made where it is missing and `is_provisioned`. What exists is never changed."""

    name: str
    is_provisioned: bool = True
    replicas: int = 1
    max_bytes: int = 10 << 30
    max_age_s: float = 86400.0
    duplicate_window_s: float = 120.0
    storage: str = "file"
    discard: str = "old"


@dataclass(frozen=True)
class NatsSink:
    """See the module. It may be run many times."""

    servers: tuple[str, ...]
    template: SubjectTemplate
    node: str
    plan: StreamPlan
    window: Window = field(default_factory=Window)
    login: Login = field(default_factory=Login)

    async def run(self, feeds: Sequence[Feed], report: Report) -> None:
        """See flowd.sinks.sink.Sink."""
        link = await self._connect(report)
        try:
            stream = link.jetstream()
            memory_s = await self._find_stream(link, stream, report)
            place = Place(self.plan.name, self.template, self.node, memory_s)
            lanes = [Lane(link, stream, place, feed, self.window, report) for feed in feeds]
            link.on_reconnected(lambda: _tell(lanes))
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.run())
        except* FlowdError as errors:
            raise errors.exceptions[0] from None
        finally:
            await link.close()

    async def _connect(self, report: Report) -> Link:
        link = Link(report)
        await link.connect(self.servers, self.login)
        return link

    async def _find_stream(self, link: Link, jetstream: JetStreamContext, report: Report) -> float:
        """Makes the stream where it is missing; returns how long it remembers ids. Tries until a server answers."""
        from nats.errors import Error as NatsError
        from nats.js.errors import NotFoundError, ServiceUnavailableError

        while True:
            try:
                try:
                    info = await jetstream.stream_info(self.plan.name)
                except NotFoundError:
                    if not self.plan.is_provisioned:
                        raise FlowdError(
                            f"there is no JetStream stream {self.plan.name!r}",
                            hint=f"make it, with the subject {self.template.pattern()!r}, or write provision = true",
                        ) from None
                    info = await jetstream.add_stream(self._wanted_stream())
                    log.info("nats: made the stream %s for %s", self.plan.name, self.template.pattern())
                self._compare(info.config)
                return float(info.config.duplicate_window or 0)
            except ServiceUnavailableError:
                report.down("the server has no JetStream, or its cluster has no leader yet")
            except (TimeoutError, NatsError) as error:
                told = link.trouble if DENIED in link.trouble.lower() else describe_error(error)
                report.down(f"stream {self.plan.name}: {told}")
                if link.is_closed:
                    raise FlowdError(
                        f"the server has ended the connection: {link.trouble}", hint="see its log"
                    ) from error
            await asyncio.sleep(AGAIN_S)

    def _wanted_stream(self) -> Any:
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig

        plan = self.plan
        return StreamConfig(
            name=plan.name,
            subjects=[self.template.pattern()],
            storage=StorageType(plan.storage),
            num_replicas=plan.replicas,
            max_bytes=plan.max_bytes,
            max_age=plan.max_age_s,
            duplicate_window=min(plan.duplicate_window_s, plan.max_age_s),
            discard=DiscardPolicy(plan.discard),
        )

    def _compare(self, found: Any) -> None:
        """Says what an existing stream has otherwise. Raises FlowdError where it would not take the batches."""
        pattern = self.template.pattern()
        if not any(_covers(subject, pattern) for subject in found.subjects or ()):
            raise FlowdError(
                f"the JetStream stream {self.plan.name!r} does not take {pattern!r}, but {found.subjects}",
                hint="add the subject to the stream, or give the sink another subject or stream",
            )
        wanted = self._wanted_stream()
        for key in ("num_replicas", "max_bytes", "max_age", "duplicate_window", "storage", "discard"):
            has, wants = getattr(found, key), getattr(wanted, key)
            if has != wants and self.plan.is_provisioned:
                log.warning(
                    "nats: the stream %s has %s = %s, and not %s; it is left as it is", self.plan.name, key, has, wants
                )


def _tell(lanes: Sequence[Lane]) -> None:
    for lane in lanes:
        lane.reconnected()


def _covers(subject: str, pattern: str) -> bool:
    """Whether a stream's subject takes everything that the other takes."""
    has, wants = subject.split("."), pattern.split(".")
    for number, token in enumerate(has):
        if token == ">":
            return number < len(wants)
        if number >= len(wants) or (token != "*" and token != wants[number]):
            return False
    return len(has) == len(wants)
