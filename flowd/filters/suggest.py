"""Did-you-mean: the known name that an unknown one was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST_NAME = 200  # comparing is quadratic; no known name is nearly as long


def suggest_name(name: str, known: Iterable[str]) -> str | None:
    """The most similar of the known names, or None if none is near; case and dashes count for nothing."""
    by_fold: dict[str, str] = {}
    for candidate in known:
        by_fold.setdefault(_fold(candidate), candidate)
    if len(name) > _LONGEST_NAME:
        return None
    from difflib import get_close_matches

    near = get_close_matches(_fold(name), by_fold, n=1, cutoff=0.7)
    return by_fold[near[0]] if near else None


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
