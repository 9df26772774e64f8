"""Finds the stream of what a source has brought, again and again: one that cannot be carried now is tried later.

A stream cannot be where its filters have problems, where there are too many, or where a view has its name. Then only
the source knows whether its lines can wait. Belongs to the thread that carries lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from flowd.errors import FlowdError
from flowd.relay.deciding.streams import Stream, Streams

STREAM_RETRY_S = 5.0
"""How often a stream is tried that cannot be carried: that may mean to compile its filters."""
FAILED_MAX = 1024
"""Names that are remembered as such: whoever makes them up is told of again, and takes no memory."""

log = logging.getLogger(__name__)


class Finding:
    """`source` and `meanwhile` are for the log: who brings lines, and what becomes of those of a stream that cannot be
    carried. `on_failure` is called once for each."""

    def __init__(
        self, streams: Streams, source: str, meanwhile: str, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._streams = streams
        self._source = source
        self._meanwhile = meanwhile
        self._on_failure = on_failure
        self._again_s: dict[str, float] = {}

    @property
    def again_s(self) -> float:
        """When one is to be tried again, on the clock of `find`: infinity where none is."""
        return min(self._again_s.values(), default=float("inf"))

    def find(self, name: str, now_s: float) -> Stream | None:
        """The stream; None where it cannot be carried now."""
        if now_s < self._again_s.get(name, 0.0):
            return None
        has_failed = name in self._again_s
        try:
            stream = self._streams.get(name)
            problem = "there are too many streams, or a view has its name"
        except (FlowdError, OSError) as error:
            stream, problem = None, str(error)
        if stream is None:
            if not has_failed and len(self._again_s) >= FAILED_MAX:
                self._again_s.clear()
            self._again_s[name] = now_s + STREAM_RETRY_S
            if not has_failed:
                self._on_failure()
                log.error("%s: stream %s: %s: %s", self._source, name, self._meanwhile, problem)
        elif has_failed:
            del self._again_s[name]
            log.warning("%s: stream %s is carried again", self._source, name)
        return stream
