"""One consumer's place in one stream, while it is attached: where it stands, what it may be sent, what it was told.

Pure state: no sockets, no journal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowd.wire.limits import SEQUENCE_MAX

if TYPE_CHECKING:
    from flowd.relay.consume.door import Door
    from flowd.relay.deciding.views import View
    from flowd.wire import Gone


@dataclass(slots=True)
class Credit:
    """What a consumer may still be sent. A batch that is larger than the whole window goes alone.

    The window is the first credit that it gave: more than that is never missing.
    """

    window_bytes: int
    size_bytes: int
    messages: int

    def lasts_for(self, size_bytes: int) -> bool:
        """Whether a batch of this size may be sent."""
        if self.messages < 1:
            return False
        return size_bytes <= self.size_bytes or 0 < self.window_bytes <= self.size_bytes

    def take(self, size_bytes: int) -> None:
        """A batch was sent."""
        self.messages -= 1
        self.size_bytes = max(0, self.size_bytes - size_bytes)

    def add(self, size_bytes: int, messages: int) -> bool:
        """More may be sent. False where that is more than there can be: then it is as much as there can."""
        self.size_bytes += size_bytes
        self.window_bytes = self.window_bytes or self.size_bytes
        self.messages += messages
        is_sound = max(self.size_bytes, self.messages) <= SEQUENCE_MAX
        self.size_bytes = min(self.size_bytes, SEQUENCE_MAX)
        self.messages = min(self.messages, SEQUENCE_MAX)
        return is_sound


@dataclass(slots=True)
class Sent:
    """What an attachment was sent, and what it was told is lost."""

    batches: int = 0
    bytes: int = 0
    lost_batches: int = 0
    lost_lines: int = 0


@dataclass(slots=True, eq=False)
class Attachment:
    """A consumer that is attached to a stream.

    `next` is the sequence to be sent next; `until` the last one wanted, if there is one. `gone` is a loss that it has
    not taken note of yet, and `is_gone_said` whether it was told; `owed_commits` are sequences whose COMMITTED is to be
    said.
    """

    front: Door
    peer: bytes
    key: str
    consumer: str
    stream: str
    view: View | None
    generation: int
    next: int
    credit: Credit
    until: int | None = None
    gone: Gone | None = None
    is_gone_said: bool = False
    owed_commits: deque[int] = field(default_factory=deque)
    is_caught_up: bool = False
    is_over: bool = False
    blocked_until_s: float = 0.0
    heard_s: float = 0.0
    told_s: float = 0.0
    sent: Sent = field(default_factory=Sent)

    @property
    def is_replay(self) -> bool:
        """Whether it reads up to an end, and leaves others the way."""
        return self.until is not None

    def lose(self, gone: Gone) -> None:
        """A loss that is to be told before anything more is sent."""
        self.gone = gone
        self.is_gone_said = False
        self.is_caught_up = False
        self.sent.lost_batches += gone.lost[0]
        self.sent.lost_lines += gone.lost[1]

    def take_note(self) -> bool:
        """The consumer has taken note of its loss; False where it was told of none."""
        if self.gone is None or not self.is_gone_said:
            return False
        self.next = max(self.next, self.gone.oldest)
        self.gone = None
        return True
