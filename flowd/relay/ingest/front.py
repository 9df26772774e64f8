"""A turn of the ingest lane at one socket: batches in, answers out, acknowledgements when the journal has stored."""

from __future__ import annotations

import time

from flowd.relay.ingest.lane import Ingest, Misplaced
from flowd.relay.reception import Reception

TURN_BATCHES = 16
"""Messages taken before heartbeats and subscriptions get their turn: a few milliseconds of work."""


class Front:
    """Carries what a reception brings into an ingest. For one thread; anyone may read `moved_s`, the time of its last
    step: a turn of slow batches takes long and is no standstill."""

    def __init__(self, reception: Reception, ingest: Ingest) -> None:
        self.ingest = ingest
        self.moved_s = time.monotonic()
        self._reception = reception

    def take_turn(self, now_s: float) -> bool:
        """Takes the messages that wait, up to a turn's worth; False where none did, or there is no room for more.

        The turn ends early where the journal has stored something: its producers wait to send more."""
        for taken in range(TURN_BATCHES):
            received = self._reception.receive(now_s) if self.ingest.has_room else None
            self.moved_s = time.monotonic()
            if received is None:
                return taken > 0
            peer, message = received
            try:
                answer = self.ingest.answer(peer, message)
            except Misplaced:
                self._reception.blame(peer, "type", now_s)
                continue
            if answer is not None:
                self.settle()
                self._reception.reply(peer, answer)
            if self.ingest.has_news:
                break
        return True

    def settle(self) -> None:
        """Sends the acknowledgements that are owed."""
        self.moved_s = time.monotonic()
        owed = self.ingest.owed
        if owed:
            for peer, answer in owed.items():
                self._reception.reply(peer, answer)
            owed.clear()
