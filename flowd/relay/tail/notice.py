"""inotify, where there is one: it wakes who waits when something happens in a directory, and says no more than that.

Nothing relies on it: a network file system tells nothing, watches can run out, and events are thrown away unread. The
three calls are made through ctypes: they are all that is needed.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Set
from contextlib import suppress

WATCHES_MAX = 1024
"""Directories that are watched; what is beyond is looked at in its time. A user's bound is often 8,192 in all."""
RENEW_S = 10.0
"""How often all watches are set again: a directory may have been replaced by another of its name."""
EVENTS_BYTES = 64 << 10

_EVENTS = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200  # modified, attributes, moved from, moved to, created, deleted
_ONLY_DIRECTORIES = 0x01000000
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC

log = logging.getLogger(__name__)


class Notice:
    """Watches directories. `fd` becomes readable when something happened there; -1 where there is no inotify."""

    def __init__(self) -> None:
        self.fd = -1
        self._watches: set[int] = set()
        self._watched: frozenset[str] = frozenset()
        self._renew_s = float("-inf")
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._add: Callable[[int, bytes, int], int] = libc.inotify_add_watch
            self._remove: Callable[[int, int], int] = libc.inotify_rm_watch
            self.fd = libc.inotify_init1(_NONBLOCK_CLOEXEC)
        except (OSError, AttributeError) as error:
            log.info("tail: no inotify (%s): files are looked at from time to time", error)
        else:
            if self.fd < 0:
                log.info(
                    "tail: no inotify (%s): files are looked at from time to time", os.strerror(ctypes.get_errno())
                )

    @property
    def is_there(self) -> bool:
        """Whether anything will be noticed."""
        return self.fd >= 0

    def watch(self, directories: Set[str], now_s: float) -> None:
        """Watches these, and no others."""
        if not self.is_there or (now_s < self._renew_s and self._watched == directories):
            return
        self._renew_s = now_s + RENEW_S
        self._watched = frozenset(directories)
        watches = {
            self._add(self.fd, os.fsencode(directory), _EVENTS | _ONLY_DIRECTORIES)
            for directory in sorted(directories)[:WATCHES_MAX]
        }
        for watch in self._watches - watches:
            self._remove(self.fd, watch)
        self._watches = watches - {-1}

    def clear(self) -> None:
        """Forgets what was noticed so far."""
        if not self.is_there:
            return
        with suppress(BlockingIOError):
            os.read(self.fd, EVENTS_BYTES)  # where there are more, the next wait ends at once

    def close(self) -> None:
        """Gives the descriptor back."""
        if self.is_there:
            os.close(self.fd)
            self.fd = -1
