"""Plain tables: columns aligned by blanks, readable in a terminal, a mail and a test."""

from __future__ import annotations

from collections.abc import Collection, Sequence

GAP = "  "


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """The rows under their headers, each line ended; columns named in `right` are aligned there."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    return "".join(render_row(row, widths, [name in right for name in headers]) for row in (headers, *rows))


def render_row(cells: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    """One line of a table."""
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, is_right, strict=True)
    )
    return GAP.join(padded).rstrip() + "\n"


def show_count(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


def show_number(number: int, word: str, words: str = "") -> str:
    """`1 rule`, `2 rules`; `words` is for plurals that are not made with an s."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {words or word + 's'}"


def show_bytes(number: float) -> str:
    """`1.2 GB`: powers of ten, as rates are given."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.2f} TB"


def show_share(part: int, whole: int) -> str:
    """`12.3 %`, or `-` of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def show_duration(seconds: float) -> str:
    """`1.5 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def show_time(time_ns: int) -> str:
    """`2026-12-01 18:00 UTC`, with seconds where there are any."""
    from datetime import UTC, datetime

    time = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return time.strftime("%Y-%m-%d %H:%M UTC" if not time.second else "%Y-%m-%d %H:%M:%S UTC")


def shorten(text: str, width: int) -> str:
    """The text, cut with an ellipsis where it is longer than `width`."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def show_plain(text: str) -> str:
    """The text with everything that is not printable as an escape of Python's."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
