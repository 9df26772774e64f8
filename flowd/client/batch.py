"""A batch as programs get it: kept lines of a stream or a view, live or from the journal. Public API."""

from __future__ import annotations

from typing import Any


class Batch:
    """Kept lines of a view, as one publication or one stored batch brought them.

    `epoch` and `seq` name the batch; `time_ns` is when it was decided; `generation` says by which filters. `missed` is
    how many of the stream's lines were lost before it since the batch yielded last; where the daemon said why, `gap` is
    its word: `retention`, `epoch` or `corrupt`. `record_times_ns` are the earliest and the latest of the times that the
    batch's records came with, by their senders' clocks; None where they came with none, as lines of files do.
    """

    __slots__ = (
        "_line_count", "epoch", "gap", "generation", "lines", "missed", "record_times_ns", "seq", "time_ns", "view",
    )  # fmt: skip

    def __init__(
        self,
        view: str,
        epoch: bytes,
        seq: int,
        lines: bytes,
        *,
        time_ns: int = 0,
        generation: int = 0,
        missed: int = 0,
        gap: str | None = None,
        record_times_ns: tuple[int, int] | None = None,
        line_count: int | None = None,
    ) -> None:
        self.view = view
        self.epoch = epoch
        self.seq = seq
        self.time_ns = time_ns
        self.generation = generation
        self.lines = lines
        self.missed = missed
        self.gap = gap
        self.record_times_ns = record_times_ns
        self._line_count = line_count

    @property
    def line_count(self) -> int:
        """How many lines the batch came with: the daemon has counted them, which takes longer than to copy them."""
        return self.lines.count(b"\n") if self._line_count is None else self._line_count

    def records(self) -> list[dict[str, Any]]:
        """The lines decoded: JSON lines as dicts, text lines as dicts under the JSON names; see `flowd.records`."""
        from flowd.records import decode_lines

        return decode_lines(self.lines)

    def __repr__(self) -> str:
        return f"<Batch {self.view} {self.epoch.hex()[:8]}/{self.seq}: {len(self.lines)} bytes, missed {self.missed}>"
