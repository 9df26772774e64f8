"""How the process's allocator treats batches: it keeps the memory of one for the next."""

from __future__ import annotations

LEARNT_BYTES = 16 << 20
"""Far above the batches that are under way at once, and below glibc's own bound of 32 MiB."""


def keep_freed_memory() -> None:
    """Lets the C library keep the memory of freed batches for the next ones, for the whole process.

    glibc gives blocks of a batch's size back to the system when they are freed, and the next batch faults every page
    in again: a fifth of a whole run. It stops doing so up to the size of the largest block it has seen freed; this one
    is never touched, so it costs nothing. Other C libraries take no notice. Nor does glibc where the environment sets
    its bounds (``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_``): who sets them has decided. Dask does, for its
    workers and for the process that starts them.
    """
    bytes(LEARNT_BYTES)
