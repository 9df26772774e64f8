"""The order of each node's batches, and what is lost between them: messages in, batches out. Knows no connection.

A sink has several messages under way. Where a server is lost, one may be refused and come to stand behind those that
were sent after it. Each says which batch was sent before it, so that those after wait for the one before, for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flowd.wire.jetstream import Head

HELD_S = 30.0
"""How long a batch waits for the one before it: longer than a sink needs to notice, and a cluster to elect."""
HELD_BATCHES = 1024
"""How many batches of a node wait at most: more than a sink's window."""
LATE_BATCHES = 1024
"""Batches of a node from before what was seen first that are remembered, so that none is yielded twice."""
RETENTION = "retention"


class Ready(NamedTuple):
    """A batch in its turn. `sequences` are the places of its messages in the JetStream stream; `missed` lines before it
    are lost, for the reason `gap`; `lines_before` and its own lines make the lines of its epoch so far."""

    head: Head
    lines: bytes
    sequences: tuple[int, ...]
    missed: int = 0
    gap: str = ""


class Mark(NamedTuple):
    """How far an epoch was yielded: the batch, and the lines sent up to it."""

    seq: int
    lines: int


class Order:
    """Puts the messages of many nodes in order. `marks` are how far each epoch was yielded before, where it is known;
    with `is_cut` the stream has lost messages behind them, and nothing waits for those.

    `duplicates` counts messages that had come already.
    """

    def __init__(self, marks: dict[bytes, Mark] | None = None, *, is_cut: bool = False) -> None:
        self.duplicates = 0
        self._is_cut = is_cut
        self._marks = marks or {}
        self._chains: dict[bytes, _Chain] = {}
        self._waiting: set[bytes] = set()

    def add(self, head: Head, sequence: int, payload: bytes, now_s: float) -> list[Ready]:
        """Takes a message; returns the batches whose turn it is now, and with none what is to be passed over: a message
        that had come already makes a batch without lines."""
        chain = self._chains.get(head.epoch)
        if chain is None:
            chain = self._chains[head.epoch] = _Chain(self._marks.pop(head.epoch, None), self._is_cut)
        whole = chain.join(head, sequence, payload)
        if whole is None:
            return []
        if chain.has(whole.head):
            self.duplicates += 1
            return [whole._replace(lines=b"")]
        found = list(chain.take(whole, now_s))
        if chain.is_waiting:
            self._waiting.add(head.epoch)
        else:
            self._waiting.discard(head.epoch)
        return found

    def give_up(self, now_s: float) -> list[Ready]:
        """The batches that have waited for too long: what was before them is lost, or comes late."""
        found: list[Ready] = []
        for epoch in list(self._waiting):
            chain = self._chains[epoch]
            found += chain.give_up(now_s)
            if not chain.is_waiting:
                self._waiting.discard(epoch)
        return found


class _Chain:
    """One epoch's batches."""

    def __init__(self, mark: Mark | None, is_cut: bool) -> None:
        self._is_cut = is_cut
        self._last: int | None = mark.seq if mark is not None else None
        self._lines: int | None = mark.lines if mark is not None else None
        self._first = mark.seq + 1 if mark is not None else 0
        self._parts: dict[int, dict[int, tuple[int, bytes]]] = {}
        self._held: dict[int, tuple[Ready, float]] = {}
        self._absent: set[int] = set()
        self._late: set[int] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether batches wait for one before them."""
        return bool(self._held)

    def join(self, head: Head, sequence: int, payload: bytes) -> Ready | None:
        """The batch, where all its parts have come."""
        if head.parts == 1:
            return Ready(head, payload, (sequence,))
        parts = self._parts.setdefault(head.seq, {})
        parts[head.part] = sequence, payload
        if len(parts) < head.parts:
            return None
        del self._parts[head.seq]
        pieces = [parts[part] for part in sorted(parts)]
        return Ready(head, b"".join(piece for _, piece in pieces), tuple(found for found, _ in pieces))

    def has(self, head: Head) -> bool:
        """Whether the batch has come already."""
        if head.seq in self._held:
            return True
        if self._last is None or head.seq > self._last or head.seq in self._absent:
            return False
        return head.seq >= self._first or head.seq in self._late

    def take(self, whole: Ready, now_s: float) -> Iterator[Ready]:
        """The batches whose turn it is, with this one."""
        seq, previous = whole.head.seq, whole.head.previous
        if self._last is None:
            self._first = seq
            yield self._follow(whole)
        elif seq < self._last:
            self._note_late(seq)
            yield whole._replace(missed=whole.head.missed, gap=whole.head.gap)
        elif previous is not None and previous > self._last and self._may_come(whole.head):
            self._held[seq] = whole, now_s
            if len(self._held) > HELD_BATCHES:
                yield from self._release()
            return
        else:
            yield self._follow(whole)
        yield from self._free()

    def _may_come(self, head: Head) -> bool:
        """Whether the batch before may still be on its way: it was not known to be stored when this one was sent."""
        is_cut, self._is_cut = self._is_cut, False
        if head.previous is not None and (is_cut or head.previous <= head.acknowledged.seq):
            self._note_absent(head.previous)
            return False
        return True

    def give_up(self, now_s: float) -> Iterator[Ready]:
        """What has waited for too long, and what follows it."""
        while self._held and now_s - min(since for _, since in self._held.values()) >= HELD_S:
            yield from self._release()

    def _release(self) -> Iterator[Ready]:
        whole, _ = self._held.pop(min(self._held))
        if whole.head.previous is not None:
            self._note_absent(whole.head.previous)
        yield self._follow(whole)
        yield from self._free()

    def _free(self) -> Iterator[Ready]:
        """Those that wait no more."""
        while self._held:
            seq = min(self._held)
            whole, _ = self._held[seq]
            previous = whole.head.previous
            if previous is not None and self._last is not None and previous > self._last:
                return
            del self._held[seq]
            yield self._follow(whole)

    def _follow(self, whole: Ready) -> Ready:
        head = whole.head
        missed = max(0, head.before - self._lines) if self._lines is not None else 0
        self._last, self._lines = head.seq, head.before + head.lines
        return whole._replace(missed=missed + head.missed, gap=head.gap or (RETENTION if missed else ""))

    def _note_absent(self, seq: int) -> None:
        if len(self._absent) >= LATE_BATCHES:
            self._absent.remove(min(self._absent))
        self._absent.add(seq)

    def _note_late(self, seq: int) -> None:
        self._absent.discard(seq)
        if len(self._late) >= LATE_BATCHES:
            self._late.remove(min(self._late))
        self._late.add(seq)
