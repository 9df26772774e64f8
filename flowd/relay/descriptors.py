"""File descriptors: as many as the system allows, and a word before they run out.

A connection takes one. ZeroMQ ends the whole process when it can give a connection over ipc none, and cannot be told to
take no more without dropping those that it has; so all that can be done is done before.
"""

from __future__ import annotations

import logging
import os
import resource

from flowd.relay.metrics import Counters

WANTED_DESCRIPTORS = 1 << 20
"""Far more connections than a node's peers make; some systems allow a thousand times more, which costs tables."""
SCARCE_SHARE, ENOUGH_SHARE = 0.8, 0.7
"""The shares of the limit in use at which descriptors are said to be scarce, and to be enough again."""
CHECK_INTERVAL_S = 1.0

log = logging.getLogger(__name__)


def raise_limit() -> None:
    """Lets this process have as many descriptors as it may: the usual soft limit of 1,024 is soon used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class DescriptorWatch:
    """Says, and counts, when descriptors become scarce. `check` is cheap to call often: it looks once a second."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._due_s = 0.0
        self._is_scarce = False

    def check(self, now_s: float) -> None:
        """Looks if it is time to; `now_s` is a steady clock's."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + CHECK_INTERVAL_S
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return
        used = _count_open(limit)
        if not self._is_scarce and used > limit * SCARCE_SHARE:
            self._is_scarce = True
            self._counters.add("flowd_scarce_descriptors_total")
            log.warning(
                "%d of %d file descriptors are in use: without any left, a new connection ends the daemon"
                " (raise the limit, LimitNOFILE in systemd, or find who connects so often)",
                used,
                limit,
            )
        elif self._is_scarce and used < limit * ENOUGH_SHARE:
            self._is_scarce = False
            log.info("%d of %d file descriptors are in use: there are enough again", used, limit)


def _count_open(limit: int) -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except FileNotFoundError:
        return 0  # a system without /proc
    except OSError:
        return limit  # no descriptor was left to look with
