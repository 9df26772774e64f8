"""How the process's allocator treats batches: it keeps the memory of one for the next.

glibc gives blocks of a batch's size back to the system when they are freed, and the next batch faults every page in
again. That was a third of the daemon's time at full speed.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
MMAP_THRESHOLD_BYTES = 32 << 20
"""The most that glibc takes: no batch is mapped by itself."""
TRIM_THRESHOLD_BYTES = 16 << 20
"""Free memory kept at the end of each arena: some batches' worth."""


def keep_freed_memory() -> bool:
    """Sets the thresholds for the whole process; False where the C library has no such setting (it is not glibc).

    For programs that carry batches, at their start: a library has no business doing this to its host."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    is_set = [mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)]
    return all(is_set)
