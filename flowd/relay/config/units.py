"""Sizes and times as people write them: `4GiB`, `250 KB`, `24h`, `500ms`."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)
_SIZES = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Bytes: `256KiB` is 262144, `1 MB` a million. ValueError for anything else."""
    found = _NUMBER.fullmatch(text)
    if found is None or found[2].upper() not in _SIZES:
        raise ValueError(f"{text!r} is no size; write 65536, 256KiB or 4GiB")
    return int(float(found[1]) * _SIZES[found[2].upper()])


def parse_time(text: str, bare: str = "s") -> float:
    """Seconds: `500ms` is 0.5, `24h` a day; a bare number has the unit given. ValueError for anything else."""
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2].lower() or bare) not in _TIMES:
        raise ValueError(f"{text!r} is no time; write 30, 500ms, 5m or 24h")
    return float(found[1]) * _TIMES[found[2].lower() or bare]
