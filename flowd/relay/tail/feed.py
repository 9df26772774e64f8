"""What one stream's files have more, as chunks: whole lines of one file, or of several where each has few.

A piece that was read counts only if the file still holds what stood before it: then it was not truncated meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque

from flowd.relay.metrics import Counters
from flowd.relay.tail.catalog import Catalog
from flowd.relay.tail.complaints import Complaints
from flowd.relay.tail.content import GzipContent
from flowd.relay.tail.file import TailFile
from flowd.relay.tail.follower import Follower, group_files
from flowd.relay.tail.handles import Handles
from flowd.relay.tail.handover import Chunk
from flowd.relay.tail.reader import Cut
from flowd.wire.limits import BATCH_BYTES, LINE_MAX_BYTES

log = logging.getLogger(__name__)


class Feed:
    """Reads a catalog's files; belongs to the source's thread. `wants_look`: a file is not what it was."""

    def __init__(self, catalog: Catalog, handles: Handles, complaints: Complaints, counters: Counters) -> None:
        self.wants_look = False
        self._catalog = catalog
        self._handles = handles
        self._complaints = complaints
        self._counters = counters
        self._ready: deque[Follower] = deque()

    @property
    def has_more(self) -> bool:
        """Whether there may be something to read before the next look."""
        return bool(self._ready)

    def prepare(self, now_s: float) -> None:
        """Finds the paths with something to read. To be called after each look."""
        self.wants_look = False
        followers = group_files(filter(self._catalog.is_followed, self._catalog.files.values()))
        self._ready = deque(follower for follower in followers.values() if follower.choose(now_s) is not None)

    def next_chunk(self, now_s: float) -> Chunk | None:
        """The next lines, and the places that go with them; None where there turned out to be none."""
        parts: list[bytes] = []
        room_bytes = BATCH_BYTES
        while self._ready:
            follower = self._ready[0]
            file = follower.choose(now_s)
            if file is None:
                self._ready.popleft()
                continue
            if parts and (file.is_gzip or file.stamp.size - file.offset > room_bytes):
                break
            self._ready.popleft()
            self._ready.append(follower)
            cut = self._read(file, room_bytes, now_s)
            if cut is None:
                file.is_blocked = True
                continue
            if cut.lines:
                parts.append(cut.lines)
                room_bytes -= len(cut.lines)
            if room_bytes <= 0 or not cut.lines:
                break
        if not parts:
            return None
        lines = parts[0] if len(parts) == 1 else b"".join(parts)
        self._counters.add("flowd_tail_bytes_total", len(lines))
        return self._catalog.make_chunk(lines)

    def _read(self, file: TailFile, limit: int, now_s: float) -> Cut | None:
        """Reads once, and moves the file's offset over what was read. None leaves the file until the next look."""
        was_skipping = file.reader.skip_from >= 0
        try:
            cut = self._cut(file, limit, now_s)
        except OSError as error:
            self._complaints.say_error(file.path, error)
            self.wants_look = True
            return None
        if cut is None:
            file.stalled = file.stamp
            return None
        if file.reader.skip_from >= 0 and not was_skipping:
            self._counters.add("flowd_tail_skipped_lines_total", reason="too_long")
            log.warning(
                "tail: %s: the line at byte %d is longer than %d bytes and is skipped",
                file.path,
                file.offset,
                LINE_MAX_BYTES,
            )
        file.fingerprint.advance(cut.consumed)
        self._catalog.change(file)
        return cut

    def _cut(self, file: TailFile, limit: int, now_s: float) -> Cut | None:
        content = self._handles.use(file)
        if not file.fingerprint.is_known and not file.fingerprint.matches(content.read_at):
            self._catalog.lose(file)
            self.wants_look = True
            return None
        if isinstance(content, GzipContent):
            return self._cut_gzip(file, content, now_s)
        cut = file.reader.read(content, file.offset, limit, is_last=file.is_quiet(now_s))
        if cut is not None and not file.fingerprint.matches(content.read_at):
            self.wants_look = True
            return None
        return cut

    def _cut_gzip(self, file: TailFile, content: GzipContent, now_s: float) -> Cut | None:
        cut = file.reader.read(content, file.offset)
        if cut is not None or not (content.is_ended or file.is_quiet(now_s)):
            return cut
        cut = file.reader.read(content, file.offset, is_last=True)
        if cut is None:
            if content.is_broken or not content.is_ended:
                self._complaints.say(file.path, "gzip", "it is damaged, or its end is missing; its rest is lost")
            file.rested = file.stamp
            self._catalog.change(file)
            self._handles.close(file)
        return cut
