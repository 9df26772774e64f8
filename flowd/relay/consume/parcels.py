"""Batches as consumers are sent them: read from the journal once, filtered once for each view, sent to many.

A frame is copied out of the journal's file once and then shared by all messages that carry it; the few that were read
last are kept, since those who follow want the same ones. Belongs to one thread.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import zmq

from flowd.relay.deciding.views import View
from flowd.relay.journal.layout import Corrupt, Head, StreamRow
from flowd.relay.journal.reading import Reading
from flowd.wire import checksum

KEPT_BYTES = 8 << 20
"""What followers of the same stream lie apart, as a rule: a few dozen batches."""
KEPT_PARCELS = 1024


class Parcel(NamedTuple):
    """A batch to be sent: its head, the lines that the view keeps, and their crc32 and frame (None: no lines)."""

    head: Head
    lines: int
    size_bytes: int
    crc: int
    frame: zmq.Frame | None


class Parcels:
    """The batches that were read last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, str], Parcel] = OrderedDict()
        self._kept_bytes = 0

    def find(self, stream: str, sequence: int, view: View | None) -> Parcel | None:
        """One that is at hand."""
        return self._kept.get((stream, sequence, _name(view)))

    def read(self, reading: Reading, row: StreamRow, stream: str, sequence: int, view: View | None) -> Parcel | None:
        """One from the journal; None where it is not there any more. Raises Corrupt."""
        row = reading.stream(stream) or row  # this moment's: what was retired since is not damaged
        head = reading.head(row, sequence)
        if sequence < row.oldest:
            return None
        if head is None:
            raise Corrupt(f"the head of batch {sequence} is missing")
        lines = reading.lines(row, sequence, head)
        if view is None:
            count, crc = head.lines, head.crc
        else:
            applied = view.filter_set.apply(lines)
            lines, count = applied.kept, applied.kept_lines
            crc = checksum(lines) if lines else 0
        # Copied into memory of ZeroMQ's own: giving lent memory back would wake a thread for each message.
        frame = zmq.Frame(lines, copy=True) if len(lines) else None
        parcel = Parcel(head, count, len(lines), crc, frame)
        self._keep((stream, sequence, _name(view)), parcel)
        return parcel

    def _keep(self, name: tuple[str, int, str], parcel: Parcel) -> None:
        self._kept[name] = parcel
        self._kept_bytes += parcel.size_bytes
        while self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_PARCELS:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size_bytes


def _name(view: View | None) -> str:
    return "" if view is None else f"{view.name} {view.generation}"
