"""Have the filters' files changed, and are they finished? By asking the system for their state once a second.

Polling, not inotify: the files are few, asking costs microseconds, and it sees the same on every file system, through
links, bind mounts and network mounts, for files that are not there yet, and after their folder was replaced.
"""

from __future__ import annotations

import os
from glob import glob
from typing import NamedTuple

from flowd.filters.configmap import DATA_LINK, KEYS

INTERVAL_S = 1.0
"""Between two looks. A change counts when two looks saw the same, so it takes effect within two to three seconds."""


class State(NamedTuple):
    """How the files are now: where a ConfigMap's link points to, and each file's identity, size and times."""

    link: str
    files: tuple[tuple[str, tuple[int, ...]], ...]


class FilterFiles:
    """The files that filters are read from: a file or a folder, and `includes`, the paths with wildcards that it names.

    What is included is known after the first reading only, and is to be set then.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.includes: tuple[str, ...] = ()

    def state(self) -> State:
        """How they are now. A file that is not there has a state, too."""
        link = ""
        files = [self._path]
        if os.path.isdir(self._path):
            files = [os.path.join(self._path, key) for key in KEYS]
            link_path = os.path.join(self._path, DATA_LINK)
            if os.path.islink(link_path):
                link = os.path.realpath(link_path)
        for pattern in self.includes:
            files += [pattern, *sorted(glob(pattern, recursive=True))]
        return State(link, tuple((file, _identify(file)) for file in files))


class Watch:
    """Decides when a change is finished: at once where a ConfigMap's link was swapped, since all behind it was written
    before; otherwise when nothing changed between two looks."""

    def __init__(self, taken: State) -> None:
        self._taken = taken
        self._seen: State | None = None

    def is_due(self, now: State) -> bool:
        """Whether these files are other than those last taken, and finished."""
        if now == self._taken:
            self._seen = None
            return False
        if now.link and now.link != self._taken.link:
            return True
        is_finished = now == self._seen
        self._seen = now
        return is_finished

    def take(self, state: State) -> None:
        """These files were read, whatever came of it: they are looked at again when they change again."""
        self._taken = state
        self._seen = None


def _identify(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
