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
HELD_BYTES = 64 << 20
"""What waits in all, of all nodes, for a batch before; and as much again for parts that are missing."""
PARTS_S = 900.0
"""How long the parts of a batch wait for the others: a sink sends them for as long as it lives, and this goes without
one that does not come back."""
PARTIAL_BATCHES = 1024
"""Batches of which parts wait, at most."""
LATE_BATCHES = 1024
"""Stretches of a node that have not come, and batches from before what was seen first, that are remembered: what comes
late is told from what comes twice."""
RETENTION = "retention"


class Ready(NamedTuple):
    """A batch in its turn. `sequences` are the places of its messages in the JetStream stream; `missed` lines before it
    are lost, for the reason `gap`; `lines_before` and its own lines make the lines of its epoch so far.

    `is_passed_over`: it had come already, or not all of it is there. Then it has no lines and is none to be yielded.
    """

    head: Head
    lines: bytes
    sequences: tuple[int, ...]
    missed: int = 0
    gap: str = ""
    is_passed_over: bool = False


class Mark(NamedTuple):
    """How far an epoch was yielded: the batch, and the lines sent up to it."""

    seq: int
    lines: int


class _Partial:
    """The parts of a batch that have come."""

    __slots__ = ("head", "pieces", "since_s", "size_bytes")

    def __init__(self, head: Head, now_s: float) -> None:
        self.head = head
        self.since_s = now_s
        self.size_bytes = 0
        self.pieces: dict[int, tuple[int, bytes]] = {}

    def whole(self) -> Ready:
        """The batch, of all its parts."""
        pieces = [self.pieces[part] for part in sorted(self.pieces)]
        return Ready(self.head, b"".join(piece for _, piece in pieces), tuple(found for found, _ in pieces))

    def passed_over(self) -> Ready:
        """Its messages, as what is not waited for any more."""
        return Ready(self.head, b"", tuple(found for found, _ in self.pieces.values()), is_passed_over=True)


class Order:
    """Puts the messages of many nodes in order. `marks` are how far each epoch was yielded before, where it is known;
    with `is_cut` the stream has lost messages behind them, and nothing waits for those. All messages from the sequence
    `begin` on are added, where that is known.

    What waits is bounded, in time and bytes. `duplicates` counts messages that had come already.
    """

    def __init__(
        self, marks: dict[bytes, Mark] | None = None, *, is_cut: bool = False, begin: int | None = None
    ) -> None:
        self.duplicates = 0
        self._begin = begin
        self._is_cut = is_cut
        self._marks = marks or {}
        self._chains: dict[bytes, _Chain] = {}
        self._waiting: set[bytes] = set()
        self._partials: dict[tuple[bytes, int, int], _Partial] = {}
        self._partial_bytes = 0

    @property
    def held_bytes(self) -> int:
        """What waits, in bytes of lines."""
        return self._partial_bytes + self._waiting_bytes()

    def add(self, head: Head, sequence: int, payload: bytes, now_s: float) -> list[Ready]:
        """Takes a message; returns the batches whose turn it is now, and those that are passed over."""
        chain = self._chains.get(head.epoch)
        if chain is None:
            mark = self._marks.pop(head.epoch, None) or self._mark_of(head)
            chain = self._chains[head.epoch] = _Chain(mark, self._is_cut)
        found = self._forget_parts(head) if self._partials else []
        whole: Ready | None = Ready(head, payload, (sequence,))
        if chain.has(head.seq):
            self.duplicates += 1
            return [*found, Ready(head, b"", (sequence,), is_passed_over=True)]
        if head.parts > 1:
            whole, again = self._join(head, sequence, payload, now_s)
            found += again
        if whole is not None:
            found += chain.take(whole, now_s)
        self._note_waiting(head.epoch, chain)
        while chain.is_waiting and self._waiting_bytes() > HELD_BYTES:
            found += chain.release()
        self._note_waiting(head.epoch, chain)
        return found + self._bound_parts()

    def give_up(self, now_s: float) -> list[Ready]:
        """The batches that have waited for too long: what was before them is lost, or comes late."""
        found: list[Ready] = []
        for epoch in list(self._waiting):
            chain = self._chains[epoch]
            found += chain.give_up(now_s)
            self._note_waiting(epoch, chain)
        while self._partials:
            key, oldest = next(iter(self._partials.items()))
            if now_s - oldest.since_s < PARTS_S:
                break
            found.append(self._drop(key))
        return found

    def release(self) -> list[Ready]:
        """All whole batches that wait, each node's in order: nothing more will come."""
        found: list[Ready] = []
        for epoch in list(self._waiting):
            chain = self._chains[epoch]
            while chain.is_waiting:
                found += chain.release()
        self._waiting.clear()
        return found

    def _mark_of(self, head: Head) -> Mark | None:
        """How far an epoch was whose first message to be seen this is: what was not known to be stored stands behind a
        place in the stream, and all of that is still to be seen if the place is not before the beginning."""
        known = head.acknowledged
        return Mark(known.seq, known.lines) if self._begin is not None and known.sequence + 1 >= self._begin else None

    def _waiting_bytes(self) -> int:
        return sum(self._chains[epoch].held_bytes for epoch in self._waiting)

    def _note_waiting(self, epoch: bytes, chain: _Chain) -> None:
        if chain.is_waiting:
            self._waiting.add(epoch)
        else:
            self._waiting.discard(epoch)

    def _join(self, head: Head, sequence: int, payload: bytes, now_s: float) -> tuple[Ready | None, list[Ready]]:
        """The batch, where all its parts have come; and a message that had come already."""
        key = head.epoch, head.seq, head.parts
        partial = self._partials.get(key)
        if partial is None:
            partial = self._partials[key] = _Partial(head, now_s)
        if head.part in partial.pieces:
            self.duplicates += 1
            return None, [Ready(head, b"", (sequence,), is_passed_over=True)]
        partial.pieces[head.part] = sequence, payload
        partial.size_bytes += len(payload)
        self._partial_bytes += len(payload)
        if len(partial.pieces) < head.parts:
            return None, []
        self._drop(key)
        return partial.whole(), []

    def _forget_parts(self, head: Head) -> list[Ready]:
        """Parts of a batch that was stored whole before this message was sent: the others are not there any more."""
        known = head.acknowledged.seq
        gone = [key for key in self._partials if key[0] == head.epoch and key[1] <= known and key[1] != head.seq]
        return [self._drop(key) for key in gone]

    def _bound_parts(self) -> list[Ready]:
        found = []
        while self._partials and (len(self._partials) > PARTIAL_BATCHES or self._partial_bytes > HELD_BYTES):
            found.append(self._drop(next(iter(self._partials))))
        return found

    def _drop(self, key: tuple[bytes, int, int]) -> Ready:
        partial = self._partials.pop(key)
        self._partial_bytes -= partial.size_bytes
        return partial.passed_over()


class _Chain:
    """One epoch's batches. What is below `_first` is not known; from there to `_last` all has come but `_absent`."""

    def __init__(self, mark: Mark | None, is_cut: bool) -> None:
        self.held_bytes = 0
        self._is_cut = is_cut
        self._last: int | None = mark.seq if mark is not None else None
        self._lines: int | None = mark.lines if mark is not None else None
        self._first = mark.seq if mark is not None else 0
        self._held: dict[int, tuple[Ready, float]] = {}
        self._absent: list[tuple[int, int]] = []
        self._late: set[int] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether batches wait for one before them."""
        return bool(self._held)

    def has(self, seq: int) -> bool:
        """Whether the batch has come already."""
        if seq in self._held or seq in self._late:
            return True
        if self._last is None or not self._first <= seq <= self._last:
            return False
        return not any(low <= seq <= high for low, high in self._absent)

    def take(self, whole: Ready, now_s: float) -> Iterator[Ready]:
        """The batches whose turn it is, with this one."""
        seq, previous = whole.head.seq, whole.head.previous
        if self._last is not None and seq < self._last:
            self._note_late(seq)
            yield whole._replace(missed=whole.head.missed, gap=whole.head.gap)
        elif self._last is not None and previous is not None and previous > self._last and self._may_come(whole.head):
            self._held[seq] = whole, now_s
            self.held_bytes += len(whole.lines)
            if len(self._held) > HELD_BATCHES:
                yield from self.release()
        else:
            yield self._follow(whole)
            yield from self._free()

    def give_up(self, now_s: float) -> Iterator[Ready]:
        """What has waited for too long, and what follows it."""
        while self._held and now_s - min(since for _, since in self._held.values()) >= HELD_S:
            yield from self.release()

    def release(self) -> Iterator[Ready]:
        """The first that waits, and what follows it."""
        yield self._follow(self._unhold(min(self._held)))
        yield from self._free()

    def _may_come(self, head: Head) -> bool:
        """Whether the batch before may still be on its way: it was not known to be stored when this one was sent."""
        is_cut, self._is_cut = self._is_cut, False
        return not is_cut and (head.previous is None or head.previous > head.acknowledged.seq)

    def _free(self) -> Iterator[Ready]:
        """Those that wait no more."""
        while self._held:
            seq = min(self._held)
            previous = self._held[seq][0].head.previous
            if previous is not None and self._last is not None and previous > self._last:
                return
            yield self._follow(self._unhold(seq))

    def _unhold(self, seq: int) -> Ready:
        whole, _ = self._held.pop(seq)
        self.held_bytes -= len(whole.lines)
        return whole

    def _follow(self, whole: Ready) -> Ready:
        head = whole.head
        if self._last is None:
            self._first = head.seq
        else:
            self._note_absent(self._last + 1, head.seq - 1 if head.previous is None else head.previous)
        missed = max(0, head.before - self._lines) if self._lines is not None else 0
        self._last, self._lines = head.seq, head.before + head.lines
        return whole._replace(missed=missed + head.missed, gap=head.gap or (RETENTION if missed else ""))

    def _note_absent(self, low: int, high: int) -> None:
        """These have not come: where they do after all, they are late, and not there twice."""
        if high < low:
            return
        self._absent.append((low, high))
        if len(self._absent) > LATE_BATCHES:
            self._first = self._absent.pop(0)[1] + 1

    def _note_late(self, seq: int) -> None:
        for number, (low, high) in enumerate(self._absent):
            if low <= seq <= high:
                halves = ((low, seq - 1), (seq + 1, high))
                self._absent[number : number + 1] = [half for half in halves if half[0] <= half[1]]
                return
        if len(self._late) >= LATE_BATCHES:
            self._late.remove(min(self._late))
        self._late.add(seq)
