"""Chunks that are sent again because their acknowledgement did not arrive: those of the last while are known, and not
stored twice.

A chunk is the same where its sender, its tag and its id are. In memory only: over a restart of the daemon, a chunk that
was stored and not acknowledged is stored again.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from flowd.relay.forward.handover import Delivery

KEY_BYTES = 16


def make_key(sender: bytes, tag: bytes, chunk: bytes) -> bytes:
    """What a chunk is remembered by."""
    named = b"%d %d %s%s%s" % (len(sender), len(tag), sender, tag, chunk)
    return blake2b(named, digest_size=KEY_BYTES).digest()


class Repeats:
    """The last `most` chunks that were stored, and those that are under way. For one thread; 0 remembers nothing."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stored: OrderedDict[bytes, None] = OrderedDict()
        self._under_way: dict[bytes, Delivery] = {}

    def __len__(self) -> int:
        return len(self._stored)

    def is_stored(self, key: bytes) -> bool:
        """Whether this chunk was stored lately."""
        return key in self._stored

    def find_under_way(self, key: bytes) -> Delivery | None:
        """The delivery of this chunk, while it is not stored yet."""
        return self._under_way.get(key)

    def begin(self, key: bytes, delivery: Delivery) -> None:
        """This chunk is on its way."""
        if self._most:
            delivery.key = key
            self._under_way[key] = delivery

    def end(self, delivery: Delivery) -> None:
        """It is stored, or it was dropped and may come again."""
        if delivery.key is None:
            return
        self._under_way.pop(delivery.key, None)
        if delivery.is_stored:
            self._stored[delivery.key] = None
            if len(self._stored) > self._most:
                self._stored.popitem(last=False)
