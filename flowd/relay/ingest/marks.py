"""What the daemon knows of producers: each one's mark, and which conversation speaks for it.

The marks live in memory: a restarted daemon learns them again from HELLO's `first`. Bounded: the producers and
conversations that were quiet longest are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from flowd.wire import Hello

MARKS_MAX = 65536
"""Producers remembered: some 200 bytes each; a node has dozens."""
CONVERSATIONS_MAX = 4096
"""Conversations at a time; one that is forgotten is asked to say HELLO again."""


@dataclass(slots=True)
class Mark:
    """A producer: `last` is the highest sequence that was decided, `owner` the peer that spoke HELLO last."""

    producer: bytes
    last: int = 0
    owner: bytes = b""


class Marks:
    """All producers. For one thread."""

    def __init__(self) -> None:
        self._marks: OrderedDict[bytes, Mark] = OrderedDict()
        self._conversations: OrderedDict[bytes, Mark] = OrderedDict()

    def __len__(self) -> int:
        return len(self._conversations)

    def greet(self, peer: bytes, hello: Hello) -> Mark:
        """Begins (or begins anew) a conversation. The newest one of a producer owns its mark: what an older one still
        sends would take the newer one's sequences.

        Where the producer holds nothing before `first`, and we do not have that much, it is lost or was acknowledged by
        a daemon before us: the mark moves to just before it.
        """
        mark = self._marks.get(hello.pid)
        if mark is None:
            mark = self._marks[hello.pid] = Mark(hello.pid)
            if len(self._marks) > MARKS_MAX:
                self._marks.popitem(last=False)
        self._marks.move_to_end(hello.pid)
        if hello.first is not None and hello.first > mark.last + 1:
            mark.last = hello.first - 1
        mark.owner = peer
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
