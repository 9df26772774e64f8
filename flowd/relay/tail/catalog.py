"""One stream's files: who is who at each look, and what is to be stored of it.

A file is found again by its device and inode, wherever it was renamed to, and its content is compared with what was
read of it. One that is not what it was, or nowhere any more, is gone: it is kept in mind for a while, since it may go
on in a copy. Whatever changes is stored together with the next lines of the stream, or by itself where none come.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from flowd.relay.metrics import Counters
from flowd.relay.tail.complaints import Complaints
from flowd.relay.tail.content import GzipContent
from flowd.relay.tail.file import LINGER_S, Sighting, Stamp, TailFile
from flowd.relay.tail.handles import Handles
from flowd.relay.tail.handover import Chunk
from flowd.relay.tail.identity import FileId, Fingerprint
from flowd.relay.tail.places import PatternPlace, StreamPlaces, pack_place, pattern_key
from flowd.relay.tail.strangers import Kind, judge
from flowd.relay.tail.survey import RACY_NS, Survey

FORGET_S = 600.0
"""A file that is gone is kept in mind for so long: compressing it takes minutes at most."""
GONE_MAX = 1024
"""And no more than so many files that are gone, of each stream."""

log = logging.getLogger(__name__)


class Later(NamedTuple):
    """A stranger that could not be judged yet: its state, since when that is so, of which file it is a copy, and that
    one's state."""

    stamp: Stamp
    since_s: float
    of: TailFile | None = None
    of_stamp: Stamp | None = None


class Catalog:
    """See the module; belongs to the source's thread. `files` are those that are there, by identity."""

    def __init__(
        self,
        stream: str,
        patterns: Sequence[str],
        stored: StreamPlaces,
        handles: Handles,
        complaints: Complaints,
        counters: Counters,
    ) -> None:
        self.stream = stream
        self.files: dict[FileId, TailFile] = {}
        self._patterns = frozenset(patterns)
        self._handles = handles
        self._complaints = complaints
        self._counters = counters
        self._survey = Survey(patterns, complaints)
        self._gone: list[TailFile] = []
        self._later: dict[FileId, Later] = {}
        self._unstored: dict[bytes, TailFile | PatternPlace | None] = {}
        self._is_first_look = True
        self._has_turned = False
        self._known_patterns = {os.fsdecode(place.pattern) for place in stored.patterns.values()}
        if stored.is_doubtful:
            self._known_patterns.clear()
        self._known_bases: set[str] = set()
        self._load(stored)

    @property
    def directories(self) -> set[str]:
        """Where its files are looked for."""
        return self._survey.directories

    @property
    def has_unstored(self) -> bool:
        """Whether something is to be stored, with lines or without."""
        return bool(self._unstored)

    def make_chunk(self, lines: bytes) -> Chunk:
        """These lines, or none, with everything that is to be stored: one moment's state of all files."""
        places: list[tuple[bytes, bytes | None]] = []
        advances: list[tuple[TailFile, int]] = []
        for key, what in self._unstored.items():
            if isinstance(what, TailFile):
                places.append((key, pack_place(what.place(self.stream))))
                advances.append((what, what.offset))
            else:
                places.append((key, None if what is None else pack_place(what)))
        self._unstored.clear()
        return Chunk(self.stream, lines, tuple(places), tuple(advances))

    def change(self, file: TailFile) -> None:
        """The file's place is to be stored anew."""
        self._unstored[file.key] = file

    def lose(self, file: TailFile, kind: str = "") -> None:
        """The file is not there any more, or not with what it held; `kind` is the rotation that this is, if any."""
        if self.is_followed(file):
            if kind:
                self._counters.add("flowd_tail_rotations_total", kind=kind)
            log.info("tail: %s: %s at byte %d", file.path, kind or "gone", file.offset)
        self._handles.close(file)
        if self.files.get(file.id) is file:
            del self.files[file.id]
        file.is_gone = True
        file.gone_s = None
        self._gone.append(file)
        self._has_turned = True
        self.change(file)

    def is_followed(self, file: TailFile) -> bool:
        """Whether the glob by which it was found is still wanted."""
        return file.pattern in self._patterns

    def look(self, now_s: float) -> None:
        """Finds out what has become of every file, and which are new."""
        self._has_turned = False
        seen: set[FileId] = set()
        strangers: list[Sighting] = []
        for sighting in self._survey.look(self._find_bases()):
            if sighting.id in seen:  # a hard link
                continue
            seen.add(sighting.id)
            file = self.files.get(sighting.id)
            if file is None or not self._recognise(file, sighting, now_s):
                strangers.append(sighting)
        for file in [file for id, file in self.files.items() if id not in seen]:
            self._miss(file, now_s)
        for sighting in sorted(strangers, key=lambda sighting: (sighting.is_rotated, sighting.order)):
            self._meet(sighting, now_s)
        self._mourn(now_s)
        self._later = {id: later for id, later in self._later.items() if id in seen}
        if self._is_first_look:
            self._is_first_look = False
            for pattern in self._patterns - self._known_patterns:
                place = PatternPlace(self.stream, os.fsencode(pattern))
                self._unstored[pattern_key(self.stream, place.pattern)] = place
            self._known_patterns.update(self._patterns)

    def _load(self, stored: StreamPlaces) -> None:
        for key, place in stored.files.items():
            file = TailFile.of_place(key, place)
            if self.is_followed(file):
                self._known_bases.add(file.base)
            if file.is_gone or file.id in self.files:
                file.is_gone = file.is_mourned = True
                self._gone.append(file)
            else:
                self.files[file.id] = file
        for key, pattern in stored.patterns.items():
            if os.fsdecode(pattern.pattern) not in self._patterns:
                self._unstored[key] = None  # should it come back, its rotated files are old ones

    def _find_bases(self) -> dict[str, str]:
        """The paths that files were rotated away from, with their globs."""
        return {file.base: file.pattern for file in (*self._gone, *self.files.values()) if self.is_followed(file)}

    def _recognise(self, file: TailFile, seen: Sighting, now_s: float) -> bool:
        """Whether the file is still what it was; if so, its state is taken over."""
        was_written = not (file.is_rotated or file.is_missing)
        path = file.path
        is_elsewhere = path != seen.path or (file.is_rotated and not file.is_seen)
        if is_elsewhere and not (file.offset or file.rested or self._handles.is_open(file)):
            file.is_mourned = True  # nothing tells whether it was renamed, or its inode is used again
            self.lose(file, "renamed" if was_written else "")
            return False
        file.path = seen.path
        if seen.is_gzip != file.is_gzip or not self._is_same(file, seen.stamp):
            file.path = path
            self.lose(file, ("truncated" if path == seen.path else "vanished") if was_written else "")
            return False
        if was_written and path != seen.path:
            self._counters.add("flowd_tail_rotations_total", kind="renamed")
            log.info("tail: %s: renamed to %s at byte %d", path, seen.path, file.offset)
            self._has_turned = True
        if file.see(seen, now_s):
            self.change(file)
        return True

    def _is_same(self, file: TailFile, stamp: Stamp) -> bool:
        """Compares content with the fingerprint, where the file may have changed since that was done."""
        if stamp in (file.checked, file.rested):
            return True
        if file.is_gzip or file.rested is not None:
            return file.rested is None  # compared when it is read
        if stamp.size < file.offset:
            return False
        try:
            if not file.fingerprint.matches(self._handles.use(file).read_at):
                return False
        except OSError as error:
            self._complaints.say_error(file.path, error)
            return True  # nothing is known, and nothing can be read of it
        self._complaints.clear(file.path)
        is_settled = time.time_ns() - stamp.time_ns > RACY_NS
        file.checked = stamp if is_settled else None
        return True

    def _miss(self, file: TailFile, now_s: float) -> None:
        """The file was not found where its stream's files are: it may be elsewhere, or open still."""
        if not file.is_missing:
            file.is_missing = True
            file.changed_s = now_s
            self._has_turned = True
        stamp = self._find_state(file)
        if stamp is None:
            self.lose(file, "" if file.is_rotated else "vanished")
            return
        if not self._is_same(file, stamp):
            self.lose(file, "" if file.is_rotated else "truncated")
            return
        file.take_state(stamp, now_s)
        if file.is_quiet(now_s) and not file.has_more(now_s):
            self._handles.close(file)
            if self._find_state(file) is None:
                self.lose(file, "" if file.is_rotated else "vanished")

    def _find_state(self, file: TailFile) -> Stamp | None:
        """The state of a file that is not where it was looked for; None where it cannot be read any more."""
        try:
            if self._handles.is_open(file):
                found = os.fstat(self._handles.use(file).fd)
            else:
                found = os.lstat(file.path)
        except OSError:
            return None
        if FileId(found.st_dev, found.st_ino) != file.id:
            return None
        return Stamp(found.st_size, found.st_mtime_ns)

    def _meet(self, seen: Sighting, now_s: float) -> None:
        """Takes in a file that nobody knows, or leaves it for a later look."""
        file = TailFile.of_sighting(seen, now_s)
        try:
            if self._is_first_look and self._is_old(seen):
                self._pass_over(file)
            elif seen.is_rotated:
                if not self._is_too_early(seen, now_s):
                    self._judge(file, seen, now_s)
            elif any(gone.base == seen.base and gone.offset for gone in self._gone):
                self._judge(file, seen, now_s)
            else:
                self._add(file)
        except OSError as error:
            self._complaints.say_error(seen.path, error)
        finally:
            if self.files.get(file.id) is not file:
                self._handles.close(file)

    def _is_too_early(self, seen: Sighting, now_s: float) -> bool:
        """Whether there is nothing to be judged yet, or nothing else than the last time."""
        later = self._later.get(seen.id)
        if later is None or later.stamp != seen.stamp:
            is_early = not seen.stamp.size or seen.has_twin
            if is_early:
                self._later[seen.id] = Later(seen.stamp, now_s)
            return is_early
        if seen.is_gzip and later.of is None and not seen.has_twin and now_s - later.since_s >= LINGER_S:
            self._complaints.say(seen.path, "gzip", "it is not whole, and not read")
        if not seen.stamp.size or seen.has_twin:
            return True
        return not self._has_turned and (later.of is None or later.of.stamp == later.of_stamp)

    def _is_old(self, seen: Sighting) -> bool:
        """Whether a file was rotated away before anything of its kind was followed."""
        return seen.is_rotated and seen.pattern not in self._known_patterns and seen.base not in self._known_bases

    def _judge(self, file: TailFile, seen: Sighting, now_s: float) -> None:
        gone = [other for other in self._gone if other.base == seen.base]
        present = [other for other in self.files.values() if other.base == seen.base and other.is_seen]
        later = self._later.get(seen.id)
        use = self._handles.use
        kind, of = judge(seen, use(file), gone, present, later.of if later is not None else None, use)
        if kind is Kind.LATER:
            is_old = later is not None and later.stamp == seen.stamp
            since_s = later.since_s if later is not None and is_old else now_s
            self._later[seen.id] = Later(seen.stamp, since_s, of, of.stamp if of is not None else None)
        elif kind is Kind.CONTINUES:
            assert of is not None
            log.info("tail: %s: goes on in %s at byte %d", of.path, seen.path, of.offset)
            self._gone.remove(of)
            of.become(seen, now_s)
            self._add(of)
            self._rest_if_read(of)
        elif kind is Kind.READ:
            self._pass_over(file)
        else:
            self._add(file)
            self._find_unread(file)

    def _find_unread(self, file: TailFile) -> None:
        """A file of which nothing was read yet, and that is gone, is where as much is found under a new name."""
        content = self._handles.use(file)
        if isinstance(content, GzipContent):
            file.expanded_bytes = content.expanded_bytes()
        for other in self._gone:
            if not other.is_mourned and not other.offset and other.base == file.base:
                other.is_mourned = other.stamp.size == file.size_bytes

    def _pass_over(self, file: TailFile) -> None:
        """Adds a file of which nothing is to be read that is in it now."""
        try:
            if file.is_gzip:
                file.rested = file.stamp
            else:
                file.fingerprint = Fingerprint.take(self._handles.use(file).read_at, file.stamp.size)
                file.durable = file.offset
        except OSError as error:
            self._complaints.say_error(file.path, error)
            file.rested = file.stamp
        self._add(file)
        self._handles.close(file)

    def _rest_if_read(self, file: TailFile) -> None:
        """Nothing is wanted any more of a compressed file that holds only what was read."""
        try:
            content = self._handles.use(file)
            if isinstance(content, GzipContent):
                file.expanded_bytes = content.expanded_bytes()
                if not content.read_at(file.offset, 1) and content.is_ended:
                    file.rested = file.stamp
                    self._handles.close(file)
        except OSError as error:
            self._complaints.say_error(file.path, error)

    def _add(self, file: TailFile) -> None:
        self.files[file.id] = file
        self._later.pop(file.id, None)
        self._has_turned = True
        self.change(file)
        if not file.is_rotated and self._handles.has_room:
            with suppress(OSError):  # said when it is read
                self._handles.use(file)

    def _mourn(self, now_s: float) -> None:
        """Says what was lost with the files that did not come back, and forgets those that are gone for long."""
        for file in self._gone:
            if file.gone_s is None:
                file.gone_s = now_s
                if not file.is_mourned and self.is_followed(file):
                    self._say_lost(file)
                file.is_mourned = True
        kept = [file for file in self._gone if file.offset or file.rested]  # others cannot be known again
        kept = [file for file in kept if file.gone_s is not None and now_s - file.gone_s < FORGET_S][-GONE_MAX:]
        for key in {file.key for file in self._gone} - {file.key for file in kept}:
            self._unstored[key] = None
        self._gone = kept

    def _say_lost(self, file: TailFile) -> None:
        if file.unread_bytes():
            self._counters.add("flowd_tail_lost_bytes_total", file.unread_bytes())
            log.warning("tail: %s: gone with %d bytes that were not read", file.path, file.unread_bytes())
        elif not file.is_seen and not file.is_rotated:
            log.warning("tail: %s: not found again; what was written after byte %d is lost", file.path, file.offset)
