"""Where a connection's bytes come, and where they stay: the entries of a large message are a part of the buffer they
came into, which is given up to whoever carries them. Small ones are copied, so that their buffer can be used again.

Knows how many bytes a message lacks, not what they mean. For the source's thread.
"""

from __future__ import annotations

from flowd.relay.forward.room import Room

READ_BYTES = 64 << 10
"""A buffer's size, while no message asks for more."""
LEAST_BYTES = 4 << 10
"""What is free for a read, at least, where nobody knows how much is to come."""
EAGER_BYTES = 4 << 20
"""A message has its whole buffer at once up to this size, where there is room; of larger ones it grows as they come, so
that a length alone takes no memory."""
COPIED_BYTES = 4 << 10
"""Entries up to this size are copied out of the buffer."""


class Buffer:
    """See the module. `missing` is how many bytes the message that begins at `begin` lacks, at least; `partial_bytes`
    is what is accounted for in the room.

    Invariants:
    1. What lies in `view` from `begin` to `end` was received and is no whole message that was handed over.
    2. A buffer that `is_lent` is never written below `end`, nor resized.
    """

    __slots__ = ("_bytes", "_room", "_usual", "begin", "end", "is_lent", "missing", "partial_bytes", "view")

    def __init__(self, room: Room) -> None:
        self.begin = self.end = 0
        self.missing = 1
        self.partial_bytes = 0
        self.is_lent = False
        self._room = room
        self._usual = READ_BYTES
        self._bytes = bytearray()
        self.view = memoryview(self._bytes)

    def find_free(self) -> memoryview:
        """Where the next bytes are to go. Whoever writes there moves `end`."""
        # Little is moved together with what is free behind it; much stays where it is while the rest of it has room.
        is_little = self.end - self.begin <= COPIED_BYTES
        wanted = max(self.missing, LEAST_BYTES) if is_little else self.missing
        if len(self._bytes) - self.end < min(wanted, READ_BYTES):
            self._make_room()
        return self.view[self.end :]

    def pass_message(self, end: int) -> None:
        """The message that ends here is done with."""
        size = end - self.begin
        # The next one is about as large: were the buffer short of it by a few bytes, all of it would be copied.
        self._usual = max(READ_BYTES, min(size + size // 32 + LEAST_BYTES, EAGER_BYTES))
        self.missing = 1
        self.begin = end

    def reuse(self) -> None:
        """Begins at the front again where nothing is left to be read: of a new buffer, if this one is lent or large."""
        if self.begin == self.end and (self.is_lent or len(self._bytes) > READ_BYTES):
            self.release()
        elif self.begin == self.end:
            self.begin = self.end = 0

    def release(self) -> None:
        """Gives the buffer up: there is nothing in it that is still to be read."""
        self._use(bytearray())
        self.begin = self.end = 0

    def _make_room(self) -> None:
        """Makes room for what the message needs: in this buffer, where nobody else has a part of it, or in another."""
        partial = self.end - self.begin
        wanted = max(partial + max(self.missing, LEAST_BYTES, partial), self._usual)
        if not self.is_lent and wanted <= len(self._bytes):
            self._bytes[:partial] = self._bytes[self.begin : self.end]
        else:
            most = EAGER_BYTES if self._room.is_ample else READ_BYTES
            size = min(wanted, max(most, 2 * partial))
            buffer = bytearray(size)
            buffer[:partial] = self.view[self.begin : self.end]
            self._use(buffer)
        self.begin, self.end = 0, partial

    def _use(self, buffer: bytearray) -> None:
        partial_bytes = max(0, len(buffer) - READ_BYTES)
        self._room.partial_bytes += partial_bytes - self.partial_bytes
        self.partial_bytes = partial_bytes
        self._bytes = buffer
        self.view = memoryview(buffer)
        self.is_lent = False
