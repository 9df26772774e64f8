"""Where stored lines are read: plain files, gzip, zstd and Parquet, as batches of whole lines; and replayed.

For programs: `replay`, `replay_file` and `Replayed`, loaded when they are first used. Nothing here writes to where
lines came from.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what reads files is loaded by every `flowd filter`, and typing takes longer than that
if TYPE_CHECKING:
    from typing import Any

    from flowd.archives.replaying import Replayed, replay, replay_file

__all__ = ["Replayed", "replay", "replay_file"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'flowd.archives' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module("flowd.archives.replaying"), name)
    globals()[name] = value
    return value
