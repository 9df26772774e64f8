"""What the links of a Forward sink carry together: batches become chunks, each goes to the server whose turn it is, and
what comes back from a broken connection goes first.

Standby servers are connected to, and get chunks, while no other is well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from flowd.sinks.forward.chunks import Chunk, Pending, Track, cut_lines, name_chunk, pack_message
from flowd.sinks.forward.entries import EntryPacker
from flowd.sinks.forward.link import Link
from flowd.sinks.forward.servers import next_turn
from flowd.sinks.forward.settings import ForwardSettings
from flowd.sinks.sink import Feed, Outgoing, Report

AHEAD_CHUNKS = 2
"""Chunks that are made before a server has room for them."""
PENDING_WINDOWS = 4
"""How many windows of batches may wait behind one that is not acknowledged."""

log = logging.getLogger(__name__)


class Delivery:
    """One run of a sink. `run` returns when the feeds have ended and everything taken from them is acknowledged."""

    def __init__(self, settings: ForwardSettings, feeds: Sequence[Feed], report: Report) -> None:
        self._settings = settings
        self._report = report
        self._tracks = [Track(feed) for feed in feeds]
        self._ready: deque[Chunk] = deque()
        self._packer = EntryPacker(settings.time_key)
        self._changes = asyncio.Event()
        self._links = [
            Link(server, settings.security, settings.node, settings.window, settings.ack_timeout_s, self)
            for server in settings.servers
        ]
        self._pending_most = PENDING_WINDOWS * settings.window * len(self._links)

    def describe(self) -> dict[str, Any]:
        """The servers, and what is not acknowledged yet. Any thread may ask."""
        return {
            "servers": [link.describe() for link in self._links],
            "under_way_batches": sum(track.batches for track in self._tracks),
        }

    async def run(self) -> None:
        """Delivers. Raises what ends a feed."""
        readers = [asyncio.ensure_future(self._read(track)) for track in self._tracks]
        others = [asyncio.ensure_future(work) for work in (self._dispatch(), *(link.run() for link in self._links))]
        finish = asyncio.ensure_future(self._finish(readers))
        try:
            done, _ = await asyncio.wait((finish, *others), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            tasks = (finish, *readers, *others)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self) -> None:
        """See Owner in `link`."""
        self._tell()
        is_needed = not any(
            link.is_well or link.state == "starting" for link in self._links if not link.server.is_standby
        )
        for link in self._links:
            if link.server.is_standby:
                link.need(is_needed)
        self._changes.set()

    def acknowledged(self, chunk: Chunk) -> None:
        """See Owner in `link`."""
        self._report.count("flowd_sink_acks_total")
        if not chunk.is_acked:
            chunk.is_acked = True
            chunk.pending.left -= 1
            for pending in chunk.pending.track.advance():
                self._report.count("flowd_sink_batches_total")
                self._report.count("flowd_sink_lines_total", pending.lines)
        self._changes.set()

    def give_back(self, chunks: list[Chunk]) -> None:
        """See Owner in `link`."""
        again = [chunk for chunk in chunks if not (chunk.is_acked or chunk.holders)]
        self._ready.extendleft(reversed(again))

    def failed(self, reason: str) -> None:
        """See Owner in `link`."""
        self._report.count("flowd_sink_connection_failures_total", reason=reason)

    def _tell(self) -> None:
        """Says whether this sink delivers."""
        well = [link.server.text for link in self._links if link.is_well]
        if well:
            self._report.up(", ".join(well))
        elif not any(link.state == "starting" for link in self._links):
            reasons = [f"{link.server.text}: {link.reason}" for link in self._links if link.reason]
            self._report.down("; ".join(reasons) or "no server is connected")

    async def _finish(self, readers: Sequence[asyncio.Future[None]]) -> None:
        """Waits for the feeds' ends, and for what is under way; not for servers that are not there."""
        await asyncio.gather(*readers)
        while any(track.batches for track in self._tracks) and any(link.is_connected for link in self._links):
            await self._wait()

    async def _wait(self) -> None:
        """Until something has changed."""
        self._changes.clear()
        await self._changes.wait()

    async def _read(self, track: Track) -> None:
        """Makes chunks of a feed's batches, a few ahead."""
        settings, stream = self._settings, track.feed.stream
        tag = settings.tag.replace("{stream}", stream).replace("{node}", settings.node)
        while (batch := await track.feed.next()) is not None:
            self._tell_missed(stream, batch)
            pieces = list(cut_lines(batch.lines, settings.chunk_bytes))
            pending = track.begin(batch, len(pieces))
            for begin, end in pieces:
                while len(self._ready) >= AHEAD_CHUNKS or track.batches > self._pending_most:
                    await self._wait()
                self._ready.append(self._make_chunk(tag, stream, pending, begin, end))
                self._changes.set()
                await asyncio.sleep(0)  # acknowledgements do not wait for the whole of a large batch

    def _make_chunk(self, tag: str, stream: str, pending: Pending, begin: int, end: int) -> Chunk:
        batch = pending.batch
        lines = batch.lines[begin:end]
        id = name_chunk(self._settings.name, stream, batch, begin, lines)
        packed = self._packer.pack(lines, batch.time_ns)
        if packed.plain:
            self._report.count("flowd_sink_plain_lines_total", packed.plain)
        return Chunk(pending, id, pack_message(tag, packed, id, self._settings.is_compressed))

    def _tell_missed(self, stream: str, batch: Outgoing) -> None:
        if batch.gap is not None or batch.missed:
            reason = batch.gap or "unknown"
            log.warning(
                "sink %s: %d lines of %s were lost to it: %s", self._settings.name, batch.missed, stream, reason
            )
            self._report.count("flowd_sink_missed_lines_total", batch.missed, reason=reason)

    async def _dispatch(self) -> None:
        """Gives chunks to servers."""
        while True:
            while self._ready and (link := self._choose()) is not None:
                chunk = self._ready.popleft()
                if chunk.is_acked:
                    continue  # by a server in doubt, which had a copy
                self._send(link, chunk)
                if link.is_well:
                    self._try_doubted(chunk)
                self._changes.set()  # there is room for another
            await self._wait()

    def _choose(self) -> Link | None:
        """Whose turn it is: of the servers that are well, standby only where no other is; else of those in doubt."""
        for is_wanted in (Link.is_preferred, Link.is_spare):
            well = [link for link in self._links if is_wanted(link)]
            if well:
                return next_turn(link for link in well if link.has_room)
        return next_turn(link for link in self._links if link.has_room)

    def _try_doubted(self, chunk: Chunk) -> None:
        """Servers in doubt get a copy of it, where they have nothing: so they can show that they are well again."""
        for link in self._links:
            if link.is_doubted and not link.server.is_standby and link.has_room and not link.holds(chunk):
                self._send(link, chunk)

    def _send(self, link: Link, chunk: Chunk) -> None:
        if chunk.sends:
            self._report.count("flowd_sink_repeated_chunks_total")
        self._report.count("flowd_sink_sent_bytes_total", len(chunk.message))
        link.send(chunk)
