"""What the thread that carries lines does with the messages that senders of Forward brought: has their records decided
and stored, and says so.

Small messages of a stream that wait together share a batch. Each stream's order is kept.
"""

from __future__ import annotations

from flowd.relay.carrier import Carrier, Entry, retry_refused
from flowd.relay.deciding.finding import Finding
from flowd.relay.deciding.streams import Streams
from flowd.relay.forward.handover import Delivery
from flowd.relay.forward.load import RecordsEntry, RecordsLoad
from flowd.relay.forward.source import ForwardSource
from flowd.relay.metrics import Counters
from flowd.wire.limits import BATCH_BYTES

TURN_BYTES = 16 * BATCH_BYTES
"""Bytes taken before others get their turn: what the other lanes' turns carry."""
TURN_MESSAGES = 4096
"""And messages: small ones cost by their number."""
RETRY_S = 0.1
"""How soon it is looked again whether the journal has room."""


class ForwardLane:
    """Takes messages from the source's handover; belongs to the thread that carries lines."""

    def __init__(
        self, source: ForwardSource, streams: Streams, carrier: Carrier, counters: Counters, time_key: str = ""
    ) -> None:
        self._source = source
        self._handover = source.handover
        self._finding = Finding(streams, "forward", "its messages are dropped")
        self._carrier = carrier
        self._counters = counters
        self._time_key = time_key or None
        self._refused: list[Entry] = []
        self._under_way = 0

    @property
    def is_listening(self) -> bool:
        """Whether messages are taken at the moment."""
        return self._carrier.has_room and not self._refused

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will come, nothing waits, and nothing is still to be stored. What finds no room in the
        journal is not waited for: its senders have no acknowledgement, and send it again."""
        is_idle = not self._under_way and not len(self._handover)
        return self._source.is_silent and (is_idle or bool(self._refused))

    def take_turn(self, now_s: float) -> bool:
        """Takes messages that wait, up to a turn's worth, and carries them. False where none could be taken."""
        retry_refused(self._carrier, self._refused)
        gathered: dict[str, list[Delivery]] = {}
        gathered_bytes: dict[str, int] = {}
        taken = taken_bytes = 0
        while taken < TURN_MESSAGES and taken_bytes < TURN_BYTES and self.is_listening:
            delivery = self._handover.take()
            if delivery is None:
                break
            taken += 1
            taken_bytes += delivery.size_bytes
            name = delivery.stream
            gathered.setdefault(name, []).append(delivery)
            size_bytes = gathered_bytes.get(name, 0) + delivery.size_bytes
            if size_bytes >= BATCH_BYTES:
                self._carry(name, gathered.pop(name), now_s)
                size_bytes = 0
            gathered_bytes[name] = size_bytes
        for name, deliveries in gathered.items():
            self._carry(name, deliveries, now_s)
        return taken > 0

    def wait_s(self) -> float:
        """Seconds until there is something to do; for ever where nothing waits."""
        return RETRY_S if self._refused else float("inf")

    def stored(self, entry: Entry) -> None:
        """A batch is in the journal; with a load's last one, its messages are."""
        assert isinstance(entry, RecordsEntry)
        load = entry.load
        load.left -= 1
        if load.left:
            return
        self._under_way -= 1
        for reason, count in load.problems.items():
            self._counters.add("flowd_forward_malformed_entries_total", count, reason=reason)
        if load.markers:
            self._counters.add("flowd_forward_group_markers_total", load.markers)
        if load.unread_bytes:
            self._counters.add("flowd_forward_unread_bytes_total", load.unread_bytes, reason="malformed")
        self._handover.give_back(load.deliveries, is_stored=True)

    def refused(self, entry: Entry) -> None:
        """There was no room: it is kept, and nothing more is taken."""
        self._refused.append(entry)

    def _carry(self, name: str, deliveries: list[Delivery], now_s: float) -> None:
        stream = self._finding.find(name, now_s)
        if stream is None:
            self._counters.add("flowd_forward_dropped_messages_total", len(deliveries), reason="stream")
            self._handover.give_back(deliveries, is_stored=False)
            return
        self._under_way += 1
        self._carrier.carry_load(RecordsLoad(self, stream, deliveries, self._time_key))
