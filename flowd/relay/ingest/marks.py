"""What the daemon knows of producers: each one's mark, and which conversation speaks for it.

The marks are the journal's; here are those of producers that spoke lately, with what is under way. Bounded: the
producers and conversations that were quiet longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowd.wire import Hello

if TYPE_CHECKING:
    from flowd.relay.carrier import Entry

MARKS_MAX = 65536
"""Producers held in memory: some 300 bytes each; a node has dozens. The journal has them all."""
CONVERSATIONS_MAX = 4096
"""Conversations at a time; one that is forgotten is asked to say HELLO again."""


@dataclass(slots=True)
class Mark:
    """A producer: `last` is the highest sequence that is stored, `taken` the highest that was decided, `owner` the peer
    that spoke HELLO last. `refused` are decided batches that found no room, by sequence: they are not decided again."""

    producer: bytes
    last: int = 0
    taken: int = 0
    owner: bytes = b""
    incarnation: int = 0
    refused: dict[int, Entry] = field(default_factory=dict)


class Marks:
    """All producers. For one thread. `find_stored` gives the last stored sequence of one that is not in memory."""

    def __init__(self, find_stored: Callable[[bytes], int]) -> None:
        self._find_stored = find_stored
        self._marks: OrderedDict[bytes, Mark] = OrderedDict()
        self._conversations: OrderedDict[bytes, Mark] = OrderedDict()

    def __len__(self) -> int:
        return len(self._conversations)

    def greet(self, peer: bytes, hello: Hello) -> Mark:
        """Begins (or begins anew) a conversation. The newest one of a producer owns its mark: what an older one still
        sends would take the newer one's sequences.

        Where the producer holds nothing before `first`, and we do not have that much, it is lost or was acknowledged by
        a journal before ours: the mark moves to just before it.
        """
        mark = self._marks.get(hello.pid)
        if mark is None:
            last = self._find_stored(hello.pid)
            mark = self._marks[hello.pid] = Mark(hello.pid, last, last)
            if len(self._marks) > MARKS_MAX:
                self._marks.popitem(last=False)
        self._marks.move_to_end(hello.pid)
        if hello.first is not None and hello.first > mark.taken + 1:
            mark.last = mark.taken = hello.first - 1
        mark.owner = peer
        mark.incarnation = hello.inc
        self._conversations[peer] = mark
        self._conversations.move_to_end(peer)
        if len(self._conversations) > CONVERSATIONS_MAX:
            self._conversations.popitem(last=False)
        return mark

    def find(self, peer: bytes) -> Mark | None:
        """The mark of the producer that this peer said it is."""
        mark = self._conversations.get(peer)
        if mark is not None:
            self._conversations.move_to_end(peer)
            if mark.producer in self._marks:
                self._marks.move_to_end(mark.producer)
        return mark

    def part(self, peer: bytes) -> None:
        """Ends a conversation; the mark stays."""
        self._conversations.pop(peer, None)
