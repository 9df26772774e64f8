"""What is known of the value that a condition looks at: its type in a stream's lines, wherever in a line it lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flowd.filters.lint.values import describe_type
from flowd.filters.schema import FIELDS, NUMBER, SHAPES, STRING, Shape

Path = tuple[str | int, ...]
Kind = Literal["a string", "a number", "a list", "an object", "nowhere", "inside of a plain value", "unknown"]


def find_kind(path: Path, stream: str) -> Kind:
    """What lies at a path in a stream's lines, unless it is null or missing.

    `nowhere` is a part that no such value has; `inside of a plain value` a look into what has no parts, which fluentd
    counts as an error; `unknown` what flowd knows nothing of.
    """
    first = path[0]
    if not isinstance(first, str) or first not in FIELDS.get(stream, ()):
        return "unknown"
    shape: Shape | None = SHAPES[stream].get(first)
    if shape is None:
        shape = describe_type(first, stream) or STRING
    for part in path[1:]:
        if isinstance(shape, dict):
            if isinstance(part, int):
                return "nowhere"
            shape = shape.get(part, shape.get("*"))
            if shape is None:
                return "unknown"
        elif isinstance(shape, list) and isinstance(part, int):
            shape = shape[0]
        else:
            return "inside of a plain value"
    if isinstance(shape, dict):
        return "an object"
    if isinstance(shape, list):
        return "a list"
    return "a number" if shape == NUMBER else "a string"


def can_fail(path: Path, streams: Sequence[str]) -> bool:
    """Can looking for it be an error in fluentd, in lines as flowd knows them?"""
    return any(find_kind(path, stream) in ("inside of a plain value", "unknown") for stream in streams)


def show_path(path: Path) -> str:
    """A path as a reader knows it: `policies.all_policies[0]`."""
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return shown.removeprefix(".")
