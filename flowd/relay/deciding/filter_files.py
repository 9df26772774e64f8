"""Have the filters' files changed, and are they finished? By asking the system for their state once a second.

Polling, not inotify: the files are few, asking costs microseconds, and it sees the same on every file system, through
links, bind mounts and network mounts, for files that are not there yet, and after their folder was replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from typing import NamedTuple

from flowd.filters.configmap import DATA_LINK, KEYS

INTERVAL_S = 1.0
"""Between two looks. A change counts when two looks saw the same, so it takes effect within two to three seconds."""


class State(NamedTuple):
    """How the files are now: where each ConfigMap's link points to, and each file's identity, size and times."""

    links: tuple[str, ...]
    files: tuple[tuple[str, tuple[int, ...]], ...]


class FilterFiles:
    """The files that filters are read from: files or folders, and `includes`, the paths with wildcards that they name.

    What is included is known after the first reading only, and is to be set then.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self.includes: tuple[str, ...] = ()

    def state(self) -> State:
        """How they are now. A file that is not there has a state, too."""
        links = []
        files = []
        for path in self._paths:
            if not os.path.isdir(path):
                files.append(path)
                continue
            files += [os.path.join(path, key) for key in KEYS]
            link = os.path.join(path, DATA_LINK)
            if os.path.islink(link):
                links.append(os.path.realpath(link))
        for pattern in self.includes:
            files += [pattern, *sorted(glob(pattern, recursive=True))]
        return State(tuple(links), tuple((file, _identify(file)) for file in files))


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
        if now.links and now.links != self._taken.links:
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
