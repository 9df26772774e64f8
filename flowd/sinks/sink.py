"""What a sink is given, and what it owes: batches in order, commits when the far end has them, and a word on how it is.

Nothing here knows a protocol, and nothing knows the daemon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


class Outgoing(Protocol):
    """A batch of kept lines as the journal has it: (epoch, stream, seq) name it for ever. `missed` lines of the stream
    before it are lost to this sink; `gap` is the reason."""

    @property
    def epoch(self) -> bytes: ...
    @property
    def seq(self) -> int: ...
    @property
    def lines(self) -> bytes: ...
    @property
    def line_count(self) -> int: ...
    @property
    def time_ns(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def missed(self) -> int: ...
    @property
    def gap(self) -> str | None: ...


class Feed(Protocol):
    """One stream's batches, from the sink's cursor on. For the sink's event loop."""

    @property
    def stream(self) -> str:
        """The stream's name, or the view's."""

    async def next(self) -> Outgoing | None:
        """The next batch; None when the daemon ends: what is under way is to be finished, and nothing more comes."""

    def commit(self, batch: Outgoing) -> None:
        """The far end has everything up to this batch: the cursor follows, soon. Returns at once."""


class Report(Protocol):
    """Where a sink says how it is. The last word counts."""

    def up(self, peer: str) -> None:
        """It delivers, to this peer."""

    def down(self, reason: str) -> None:
        """It cannot deliver now, and goes on trying: people are told this reason."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Counts under a counter's name; the sink's own name is added as the label `sink`."""


class Sink(Protocol):
    """A way off the node. `run` serves all feeds until each has ended, delivers what it took from them, and returns; it
    retries by itself, for ever. An exception means that it cannot go on as it is: it is told, and run again later, from
    the cursors."""

    async def run(self, feeds: Sequence[Feed], report: Report) -> None: ...


@runtime_checkable
class Describing(Protocol):
    """A sink that has more to say of itself than a Report takes."""

    def describe(self) -> dict[str, Any]:
        """More of how it is, as plain data for the status. Any thread may ask; nothing here waits."""
