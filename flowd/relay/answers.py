"""What fits into one answer of the admin lane: sizes as they are on the wire, room shared out, lists cut into pages.

Knows nothing of what is told. Whoever tells a list that may be long cuts it here, and says beside it what is left off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowd.errors import FlowdError
from flowd.wire.limits import LARGE_HEADER_MAX_BYTES
from flowd.wire.packing import pack_value

ID_MAX_BYTES = 4096
"""A request's id, packed: it comes back in every answer, and must leave room for one."""
ANSWER_BYTES = LARGE_HEADER_MAX_BYTES - ID_MAX_BYTES - 4096
"""A body for which there is room beside any id; the last 4 KiB are for what holds the parts together."""
PAGE_ITEMS = 2000
"""Rules, or cursors, told in one answer: a page takes some ten milliseconds to make and pack, which others wait for."""
ITEM_BYTES = ANSWER_BYTES // 2
TEXT_BYTES = 64 << 10
"""Each text of an item that is larger than ITEM_BYTES is cut to this: a pattern of a megabyte, say."""
ELLIPSIS = "…"


class Page(NamedTuple):
    """A part of a list: its items, and the number of the first one that follows; None at the list's end."""

    items: list[dict[str, Any]]
    next: int | None


def packed_bytes(value: object) -> int:
    """How many bytes a value takes up in an answer."""
    return len(pack_value(value))


def cut_text(text: str, most_bytes: int = TEXT_BYTES) -> str:
    """The text, cut with an ellipsis where it takes more bytes than that."""
    if len(text) * 4 <= most_bytes or len(spelled := text.encode("utf-8", "surrogatepass")) <= most_bytes:
        return text
    return spelled[: most_bytes - len(ELLIPSIS.encode())].decode("utf-8", "ignore") + ELLIPSIS


def take_fitting(items: Iterable[Any], room_bytes: int) -> list[Any]:
    """The first of them, as many as fit."""
    taken = []
    for item in items:
        room_bytes -= packed_bytes(item)
        if room_bytes < 0:
            break
        taken.append(item)
    return taken


def take_page(
    describe: Callable[[int], dict[str, Any]], total: int, first: int, room_bytes: int = ANSWER_BYTES
) -> Page:
    """The items from number `first` on, as many as fit.

    One that is larger than half an answer has its texts cut, so that a page with all the room has an item at least;
    with less room it may be empty.
    """
    items: list[dict[str, Any]] = []
    end = min(total, first + PAGE_ITEMS)
    for number in range(first, end):
        item = describe(number)
        size_bytes = packed_bytes(item)
        if size_bytes > ITEM_BYTES:
            item = {name: cut_text(value) if isinstance(value, str) else value for name, value in item.items()}
            size_bytes = packed_bytes(item)
        room_bytes -= size_bytes
        if room_bytes < 0:
            return Page(items, number)
        items.append(item)
    return Page(items, end if end < total else None)


def share_room(wanted: Sequence[int], room_bytes: int) -> list[int]:
    """The room for each of those that want so many bytes: who wants little gets it, the others get equal shares."""
    shares = [0] * len(wanted)
    left = len(wanted)
    for at in sorted(range(len(wanted)), key=wanted.__getitem__):
        shares[at] = min(wanted[at], max(0, room_bytes) // left)
        room_bytes -= shares[at]
        left -= 1
    return shares


def read_number(arguments: Mapping[str, Any], name: str) -> int:
    """A request's argument that is a whole number, 0 where it is missing. Raises FlowdError."""
    value = arguments.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FlowdError(f"{name} is {value!r}"[:200], hint=f"give {name} as a number, 0 or more")
    return value
