"""All followed files of all streams, a turn at a time: look at what has become of them, read, hand over.

Time comes in as an argument, so that a test can pass it. Nothing here waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowd.relay.answers import take_fitting
from flowd.relay.metrics import Counters
from flowd.relay.tail.catalog import Catalog
from flowd.relay.tail.complaints import Complaints
from flowd.relay.tail.feed import Feed
from flowd.relay.tail.file import TailFile
from flowd.relay.tail.handles import Handles
from flowd.relay.tail.handover import Handover
from flowd.relay.tail.places import unpack_places
from flowd.wire.limits import BATCH_DELAY_S

POLL_S = 0.25
"""How often files are looked at where nothing tells of changes."""
NOTICED_POLL_S = 1.0
"""The same where something does: it is not relied on."""
LOOK_SHARE = 10
"""Looking takes a tenth of the time at most: with thousands of files it is done less often."""
DESCRIBED_MAX = 500
DESCRIBED_BYTES = 256 << 10
"""Files that are described one by one, those with the largest lag: a status has to fit into an answer, and a path may
have 4 KiB."""


class Tail:
    """See the module. For one thread, but for `describe`. `poll_s` is how often it looks by itself; `is_hurried`: it
    will look as soon as may be anyway."""

    def __init__(
        self,
        globs: Mapping[str, Sequence[str]],
        places: Mapping[bytes, bytes],
        handover: Handover,
        counters: Counters,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self.poll_s = POLL_S
        self.is_hurried = False
        self._handover = handover
        self._handles = Handles(is_ending)
        stored, bad = unpack_places(places, list(globs))
        if bad:
            counters.add("flowd_tail_errors_total", bad, reason="place")
        complaints = Complaints(counters)
        self._catalogs = [
            Catalog(stream, patterns, stored[stream], self._handles, complaints, counters)
            for stream, patterns in globs.items()
        ]
        self._feeds = [Feed(catalog, self._handles, complaints, counters) for catalog in self._catalogs]
        self._due_s = float("-inf")
        self._soonest_s = float("-inf")

    def turn(self, now_s: float) -> float:
        """Does what is due. Returns the seconds until the next look; 0 where there is more to do now."""
        if now_s >= self._due_s:
            self.look(now_s)
        if self.read(now_s):
            return 0.0
        if any(feed.wants_look for feed in self._feeds):
            self.hurry()
        return max(0.0, self._due_s - now_s)

    def hurry(self) -> None:
        """Something has changed: looks as soon as may be."""
        self.is_hurried = True
        self._due_s = min(self._due_s, self._soonest_s)

    def look(self, now_s: float) -> None:
        """Finds out what has become of the files."""
        began_s = time.monotonic()
        self.is_hurried = False
        for catalog, feed in zip(self._catalogs, self._feeds, strict=True):
            catalog.look(now_s)
            feed.prepare(now_s)
        least_s = max(BATCH_DELAY_S, LOOK_SHARE * (time.monotonic() - began_s))
        self._soonest_s = now_s + least_s
        self._due_s = now_s + max(self.poll_s, least_s)

    def read(self, now_s: float) -> bool:
        """Hands over a chunk of each stream that has one and has room for it; False where there is none."""
        is_busy = False
        for catalog, feed in zip(self._catalogs, self._feeds, strict=True):
            if feed.has_more:
                if self._handover.has_room(catalog.stream):
                    chunk = feed.next_chunk(now_s)
                    if chunk is not None:
                        self._handover.put(chunk)
                    is_busy = True
            elif catalog.has_unstored and self._handover.has_room(catalog.stream):
                self._handover.put(catalog.make_chunk(b""))
        return is_busy

    def directories(self) -> set[str]:
        """Where a change is worth a look."""
        return set().union(*(catalog.directories for catalog in self._catalogs))

    def describe(self, now_s: float) -> dict[str, Any]:
        """What is followed, and how far it is. Any thread may call it."""
        files = [
            (catalog.stream, file)
            for catalog in self._catalogs
            for file in list(catalog.files.values())
            if catalog.is_followed(file) and (file.lag_bytes() or not file.is_rotated)
        ]
        files.sort(key=lambda found: (-found[1].lag_bytes(), found[1].path))
        return {
            "followed_files": len(files),
            "open_files": len(self._handles),
            "lag_bytes": sum(file.lag_bytes() for _, file in files),
            "lag_s": max((file.lag_s(now_s) for _, file in files), default=0.0),
            "files": take_fitting(
                (_describe_file(stream, file, now_s) for stream, file in files[:DESCRIBED_MAX]), DESCRIBED_BYTES
            ),
        }

    def close(self) -> None:
        """Closes every file."""
        self._handles.close_all()


def _describe_file(stream: str, file: TailFile, now_s: float) -> dict[str, Any]:
    return {
        "stream": stream,
        "path": file.path,
        "is_rotated": file.is_rotated or file.is_missing,
        "offset": file.durable,
        "read_offset": file.offset,
        "size": file.size_bytes,
        "lag_bytes": file.lag_bytes(),
        "lag_s": file.lag_s(now_s),
    }
