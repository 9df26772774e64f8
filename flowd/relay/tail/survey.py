"""What there is now: the regular files that a stream's globs match, and those rotated away from them.

Links are followed: a file is known by its real path, and its rotated files are looked for where it really is. Nothing
here remembers files; what cannot be looked at is complained of.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from flowd.relay.tail.complaints import Complaints
from flowd.relay.tail.file import Sighting, Stamp
from flowd.relay.tail.identity import FileId
from flowd.relay.tail.names import GZIP_ENDING, Form, find_forms, is_compressed

RACY_NS = 2_000_000_000
"""What changed less than so long ago may change again without its time of change showing it: clocks of file systems are
that coarse at worst."""
LISTING_MAX_S = 10.0
"""A directory is listed anew at least so often, whatever its time of change says."""


class Listing(NamedTuple):
    """The names in a directory, and those among them that a rotated file may have."""

    time_ns: int
    listed_s: float
    is_racy: bool
    names: frozenset[str]
    forms: tuple[tuple[str, tuple[Form, ...]], ...]


class Survey:
    """Looks for one stream's files; belongs to the source's thread. `directories` are those where files were looked
    for: a change in one of them is worth another look."""

    def __init__(self, patterns: Iterable[str], complaints: Complaints) -> None:
        self.directories: set[str] = set()
        self._patterns = tuple(patterns)
        self._complaints = complaints
        self._listings: dict[str, Listing] = {}
        self._real_directories: dict[str, str] = {}

    def look(self, known: Mapping[str, str]) -> list[Sighting]:
        """Every file that is there: first those that are written, then those that were rotated away.

        `known` are the bases that had files before, with their globs: they may be between two files just now.
        """
        self._real_directories.clear()
        self.directories.clear()
        matched = self._match()
        bases = {**known, **matched}
        rotated = self._find_rotated(bases, matched)
        found = []
        for path, pattern in matched.items():
            if path in rotated:
                continue
            if is_compressed(path):
                self._complaints.say(path, "compressed", "a compressed file is not followed by itself")
                continue
            sighting = self._see(path, path, pattern)
            if sighting is not None:
                found.append(sighting)
        for path, (form, base, has_twin) in rotated.items():
            sighting = self._see(path, base, bases[base], form, has_twin)
            if sighting is not None:
                found.append(sighting)
        for directory in self._listings.keys() - self.directories:
            del self._listings[directory]
        return found

    def _match(self) -> dict[str, str]:
        """The real paths that globs match, with their globs; a glob without wildcards is a path, there or not."""
        matched: dict[str, str] = {}
        for pattern in self._patterns:
            try:
                if glob.has_magic(pattern):
                    paths = self._expand(pattern)
                else:
                    paths = [pattern]
                for path in paths:
                    real = self._resolve(path)
                    if real is not None:
                        matched.setdefault(real, pattern)
            except (OSError, ValueError) as error:  # ValueError: a NUL in it
                self._complaints.say_error(pattern, error)
        return matched

    def _expand(self, pattern: str) -> list[str]:
        root = os.path.dirname(pattern)
        while glob.has_magic(root):
            root = os.path.dirname(root)
        self.directories.add(root)
        try:
            os.scandir(root).close()  # glob itself passes over what it cannot read
            self._complaints.clear(root)
        except OSError as error:
            self._complaints.say_error(root, error)
            return []
        return glob.glob(pattern, recursive=True)

    def _resolve(self, path: str) -> str | None:
        """The path without links; None for a link that leads nowhere."""
        directory, name = os.path.split(path)
        if directory not in self._real_directories:
            self._real_directories[directory] = os.path.realpath(directory)
        real = os.path.join(self._real_directories[directory], name)
        try:
            if stat.S_ISLNK(os.lstat(real).st_mode):
                real = os.path.realpath(real, strict=True)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._complaints.say_error(path, error)
                return None
            if os.path.islink(real):
                return None
        self._complaints.clear(path, "loop")
        return real

    def _find_rotated(self, bases: Mapping[str, str], matched: Collection[str]) -> dict[str, tuple[Form, str, bool]]:
        """Paths of rotated files: how their names are read, whose they are, and whether a compressed one lies beside
        what it was made of."""
        found: dict[str, tuple[Form, str, bool]] = {}
        for directory in {os.path.dirname(base) for base in bases}:
            self.directories.add(directory)
            listing = self._list(directory)
            for name, forms in listing.forms:
                path = os.path.join(directory, name)
                for form in forms:
                    base = os.path.join(directory, form.base)
                    if base in bases and base != path and (form.is_strong or path not in matched):
                        has_twin = name.endswith(GZIP_ENDING) and name.removesuffix(GZIP_ENDING) in listing.names
                        found[path] = form, base, has_twin
                        break
        return found

    def _list(self, directory: str) -> Listing:
        """The names in a directory; none where it is not there."""
        before = self._listings.get(directory)
        now_s = time.monotonic()
        try:
            time_ns = os.stat(directory).st_mtime_ns
            if (
                before is not None
                and before.time_ns == time_ns
                and not before.is_racy
                and now_s - before.listed_s < LISTING_MAX_S
            ):
                return before
            is_racy = abs(time.time_ns() - time_ns) < RACY_NS
            names = frozenset(os.listdir(directory))
            self._complaints.clear(directory)
        except (OSError, ValueError) as error:
            self._complaints.say_error(directory, error)
            return Listing(0, 0.0, True, frozenset(), ())
        forms = tuple((name, forms) for name in sorted(names) if (forms := find_forms(name)))
        listing = self._listings[directory] = Listing(time_ns, now_s, is_racy, names, forms)
        return listing

    def _see(
        self, path: str, base: str, pattern: str, form: Form | None = None, has_twin: bool = False
    ) -> Sighting | None:
        """The regular file at a path; None where there is none, or something else."""
        try:
            found = os.lstat(path)
        except OSError as error:
            self._complaints.say_error(path, error)
            return None
        if not stat.S_ISREG(found.st_mode):
            if form is None:
                self._complaints.say(path, "not_regular", "not a regular file, and not followed")
            return None
        self._complaints.clear(path, "not_regular")
        return Sighting(
            path,
            base,
            pattern,
            is_rotated=form is not None,
            is_gzip=form is not None and path.endswith(GZIP_ENDING),
            number=form.number if form is not None else 0,
            id=FileId(found.st_dev, found.st_ino),
            stamp=Stamp(found.st_size, found.st_mtime_ns),
            has_twin=has_twin,
        )
