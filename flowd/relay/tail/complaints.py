"""What is wrong with a path is said once, and again when something else is wrong with it; each time it is counted."""

from __future__ import annotations

import errno
import logging

from flowd.relay.metrics import Counters

REMEMBERED_MAX = 4096
"""Paths whose state is remembered; with more than that something is said again."""

REASONS = {
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ELOOP: "loop",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.EIO: "io",
    errno.ESTALE: "io",
}
"""The counter's word for an error of the system; `other` for all that are not here."""
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
"""A file that is not there is no error: it may come."""

log = logging.getLogger(__name__)


class Complaints:
    """Belongs to the source's thread."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._said: dict[str, str] = {}

    def say(self, path: str, reason: str, text: str) -> None:
        """Says it, unless it was the last thing said of this path."""
        if self._said.get(path) == reason:
            return
        while len(self._said) >= REMEMBERED_MAX:
            del self._said[next(iter(self._said))]
        self._said[path] = reason
        self._counters.add("flowd_tail_errors_total", reason=reason)
        log.warning("tail: %s: %s", path, text)

    def say_error(self, path: str, error: OSError | ValueError) -> None:
        """The same for what the system said; nothing where it only said that nothing is there."""
        number = error.errno if isinstance(error, OSError) else None
        if number not in ABSENT:
            self.say(path, REASONS.get(number or 0, "other"), getattr(error, "strerror", None) or str(error))

    def clear(self, path: str, reason: str | None = None) -> None:
        """All is well with this path; with a `reason`, where that was the last thing said of it."""
        said = self._said.get(path)
        if said is not None and reason in (None, said):
            del self._said[path]
            log.info("tail: %s: can be read now", path)
