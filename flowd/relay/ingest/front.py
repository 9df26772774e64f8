"""A turn of the ingest lane at one socket: batches in, answers out, acknowledgements put together."""

from __future__ import annotations

import time

from flowd.relay.ingest.lane import Ingest, Misplaced
from flowd.relay.reception import Reception
from flowd.wire import Ack

TURN_BATCHES = 16
"""Messages taken before heartbeats and subscriptions get their turn: a few milliseconds of work."""
ACKNOWLEDGED_TOGETHER = 4
"""Batches that one acknowledgement covers while more wait: half a producer's window, so that it never runs dry."""


class Front:
    """Carries what a reception brings into an ingest. For one thread; anyone may read `moved_s`, the time of its last
    step: a turn of slow batches takes long and is no standstill."""

    def __init__(self, reception: Reception, ingest: Ingest) -> None:
        self._reception = reception
        self._ingest = ingest
        self._owed: dict[bytes, Ack] = {}
        self.moved_s = time.monotonic()

    def take_turn(self, now_s: float) -> bool:
        """Carries the batches that wait, up to a turn's worth; False where nothing waited."""
        for taken in range(TURN_BATCHES):
            received = self._reception.receive(now_s)
            if received is None:
                self._acknowledge()
                return taken > 0
            peer, message = received
            try:
                answer = self._ingest.answer(peer, message)
            except Misplaced:
                self._reception.blame(peer, "type", now_s)
                continue
            if isinstance(answer, Ack):
                self._owed[peer] = answer
                if taken % ACKNOWLEDGED_TOGETHER == ACKNOWLEDGED_TOGETHER - 1:
                    self._acknowledge()
            elif answer is not None:
                self._acknowledge()
                self._reception.reply(peer, answer)
        self._acknowledge()
        return True

    def _acknowledge(self) -> None:
        """Sends the acknowledgements that are owed: one a producer, since each covers all before it."""
        self.moved_s = time.monotonic()
        for peer, answer in self._owed.items():
            self._reception.reply(peer, answer)
        self._owed.clear()
