"""What all connections of the Forward source share. For the source's thread."""

from __future__ import annotations

import logging

from flowd.relay.forward.handover import Handover
from flowd.relay.forward.handshake import Secrets
from flowd.relay.forward.repeats import Repeats
from flowd.relay.forward.room import Room
from flowd.relay.forward.routes import Routes
from flowd.relay.metrics import Counters

TOLD_TAGS = 100
"""Tags without a stream that are told of in the log, at most: whoever makes them up does not fill it."""

log = logging.getLogger(__name__)


class Desk:
    """See the module."""

    def __init__(
        self,
        routes: Routes,
        repeats: Repeats,
        room: Room,
        handover: Handover,
        counters: Counters,
        most_bytes: int,
        secrets: Secrets | None,
    ) -> None:
        self.routes = routes
        self.repeats = repeats
        self.room = room
        self.handover = handover
        self.counters = counters
        self.most_bytes = most_bytes
        self.secrets = secrets
        self.complained: set[bytes] = set()
        """Tags that were told of in the log."""

    def complain(self, tag: bytes) -> None:
        """Tells of a tag that has no stream, once."""
        if tag not in self.complained and len(self.complained) < TOLD_TAGS:
            self.complained.add(tag)
            log.error("forward: tag %r has no stream: map it under [sources.forward.streams]", tag[:200])
