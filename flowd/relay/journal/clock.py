"""The journal's own clock, which says how old a batch is: it never goes back, and a system clock that is set does not
move it.

While the daemon runs it goes with the time since boot, suspension included. Over a restart it goes on by what the
system's clock says has passed, and never backwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def read_boot_ns() -> int:
    """Nanoseconds since boot, suspension included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class AgeClock:
    """`now_ns` is this clock's time; `stored` are its and the system's time when it was last stored, if ever."""

    def __init__(
        self,
        stored: tuple[int, int] | None,
        read_wall_ns: Callable[[], int] = time.time_ns,
        read_steady_ns: Callable[[], int] = read_boot_ns,
    ) -> None:
        self._read_steady_ns = read_steady_ns
        age_ns, wall_ns = stored if stored is not None else (0, read_wall_ns())
        self._offset_ns = age_ns + max(0, read_wall_ns() - wall_ns) - read_steady_ns()

    def now_ns(self) -> int:
        """The time by this clock, from when the journal was made."""
        return self._read_steady_ns() + self._offset_ns
