"""Batches as consumers are sent them: read from the journal once, filtered once for each view, sent to many.

A batch is copied out of the journal's file once, into a frame that all messages share which carry it, or into bytes for
the daemon's own sinks; the few that were read last are kept, since those who follow want the same ones. Belongs to one
thread.
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


class ParcelKey(NamedTuple):
    """Which batch, by which view (None: all of it), and whether it is for who is in this process."""

    stream: str
    sequence: int
    view: View | None
    is_inside: bool


class Parcel(NamedTuple):
    """A batch to be sent: its head, the lines that the view keeps, and their crc32 (0 inside, where nobody looks) and
    payload (None: no lines)."""

    head: Head
    lines: int
    size_bytes: int
    crc: int
    payload: bytes | zmq.Frame | None


class Parcels:
    """The batches that were read last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, str, bool], Parcel] = OrderedDict()
        self._kept_bytes = 0

    def find(self, key: ParcelKey) -> Parcel | None:
        """One that is at hand."""
        return self._kept.get(_name(key))

    def read(self, reading: Reading, row: StreamRow, key: ParcelKey) -> Parcel | None:
        """One from the journal; None where it is not there any more. Raises Corrupt."""
        _, sequence, view, is_inside = key
        try:
            head = reading.head(row, sequence)
            if head is None:
                raise Corrupt(f"the head of batch {sequence} is missing")
            lines = reading.lines(row, sequence, head)
        except Corrupt:
            now = reading.stream(key.stream) or row
            if sequence < now.oldest:
                return None  # what was retired this moment is not damaged
            raise
        if view is None:
            count, crc = head.lines, head.crc
        else:
            applied = view.filter_set.apply(lines)
            lines, count = applied.kept, applied.kept_lines
            crc = checksum(lines) if lines and not is_inside else 0
        payload: bytes | zmq.Frame | None = None
        if is_inside:
            payload = bytes(lines)
        elif len(lines):
            # Copied into memory of ZeroMQ's own: giving lent memory back would wake a thread for each message.
            payload = zmq.Frame(lines, copy=True)
        parcel = Parcel(head, count, len(lines), crc, payload)
        self._keep(_name(key), parcel)
        return parcel

    def _keep(self, name: tuple[str, int, str, bool], parcel: Parcel) -> None:
        self._kept[name] = parcel
        self._kept_bytes += parcel.size_bytes
        while self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_PARCELS:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.size_bytes


def _name(key: ParcelKey) -> tuple[str, int, str, bool]:
    view = key.view
    return key.stream, key.sequence, "" if view is None else f"{view.name} {view.generation}", key.is_inside
