"""Fetches from the journal what a subscriber missed, and counts how much of it was there.

For one thread. One gap at a time is fetched; those that are noticed meanwhile lie behind it and make it longer.
"""

from __future__ import annotations

import logging
import os
import time

from flowd.client.batch import Batch
from flowd.client.consumer import Consumer
from flowd.client.continuity import Gap

PATIENCE_S = 10.0
"""How long the consume socket may give nothing before the rest is given up as lost."""

log = logging.getLogger(__name__)


class Recovery:
    """`begin` a gap, then `poll` while it `is_under_way`."""

    def __init__(
        self,
        endpoint: str,
        server_key: str | None,
        secret_file: str | os.PathLike[str] | None,
        view: str,
        filter: str | None,
        dialect: str | None,
    ) -> None:
        self._lines = 0
        self._batches = 0
        self._endpoint = endpoint
        is_tcp = endpoint.startswith("tcp://")
        self._server_key = server_key if is_tcp else None
        self._secret_file = secret_file if is_tcp else None
        self._view = view
        self._filter = filter
        self._dialect = dialect
        self._gaps: list[Gap] = []
        self._consumer: Consumer | None = None
        self._heard_s = 0.0

    @property
    def recovered_lines(self) -> int:
        """Of the stream's lines that were missed, those that are or will be fetched (before a view's filter)."""
        return self._lines - (self._consumer.missed_lines if self._consumer is not None else 0)

    @property
    def recovered_batches(self) -> int:
        """The same of batches."""
        return self._batches - (self._consumer.missed_batches if self._consumer is not None else 0)

    @property
    def is_under_way(self) -> bool:
        """Whether there is more to fetch."""
        return bool(self._gaps)

    def begin(self, gap: Gap) -> None:
        """Takes a gap to be fetched, after those before it."""
        self._gaps.append(gap)
        self._lines += gap.lines
        self._batches += gap.batches

    def poll(self, deadline_s: float | None) -> Batch | None:
        """The next fetched batch; None where none came until the deadline, or where this gap is done."""
        gap = self._gaps[0]
        consumer = self._open(gap)
        patience_s = max(0.0, self._heard_s + PATIENCE_S - time.monotonic())
        left_s = patience_s if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        batch = consumer.poll(min(left_s, patience_s))
        if batch is not None:
            self._heard_s = time.monotonic()
            batch.view = self._view
            return batch
        if consumer.is_done:
            # Of a journal that is gone nobody knows the numbers: then nothing counts as recovered.
            is_whole = consumer.taken_batches + consumer.missed_batches >= gap.batches
            self._finish(gap, consumer, is_recovered=is_whole)
        elif time.monotonic() >= self._heard_s + PATIENCE_S:
            log.warning("subscriber: %s gave nothing for %g s: what was missed is lost", self._endpoint, PATIENCE_S)
            self._finish(gap, consumer, is_recovered=False)
        return None

    def close(self) -> None:
        """Gives up what is not fetched."""
        for gap in self._gaps[1:]:
            self._lines -= gap.lines
            self._batches -= gap.batches
        if self._gaps and self._consumer is not None:
            self._finish(self._gaps[0], self._consumer, is_recovered=False)
        self._gaps.clear()

    def _open(self, gap: Gap) -> Consumer:
        if self._consumer is None:
            self._heard_s = time.monotonic()
            self._consumer = Consumer(
                self._endpoint,
                "",
                self._view,
                start=(gap.epoch, gap.first),
                until=(gap.epoch, gap.last),
                filter=self._filter,
                dialect=self._dialect,
                server_key=self._server_key,
                secret_file=self._secret_file,
            )
        return self._consumer

    def _finish(self, gap: Gap, consumer: Consumer, *, is_recovered: bool) -> None:
        self._lines -= min(gap.lines, consumer.missed_lines) if is_recovered else gap.lines
        self._batches -= min(gap.batches, consumer.missed_batches) if is_recovered else gap.batches
        consumer.close()
        self._consumer = None
        del self._gaps[0]
