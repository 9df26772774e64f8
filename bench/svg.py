"""A small writer of SVG: shapes and text in one picture, always well-formed. Nothing here knows what is drawn."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
INK, FAINT, GRID, PAPER = "#1a202c", "#667080", "#d9dee5", "#ffffff"


class Picture:
    """Shapes are drawn in the order in which they are added; coordinates are pixels from the upper left corner."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._width, self._height, self._title = width, height, title
        self._parts: list[str] = []
        self.rectangle(0, 0, width, height, PAPER)  # readable on a dark page, too

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled one."""
        self._add("rect", x=x, y=y, width=max(0.0, width), height=height, fill=colour)

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = INK, width: float = 1.0) -> None:
        """A straight one."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=width)

    def dashes(self, x1: float, y1: float, x2: float, y2: float, colour: str = INK) -> None:
        """A straight one, dashed."""
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=1.5, stroke_dasharray="3 2")

    def path(self, points: list[tuple[float, float]], colour: str) -> None:
        """A line through points."""
        shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add("polyline", points=shown, fill="none", stroke=colour, stroke_width=2)

    def dot(self, x: float, y: float, colour: str) -> None:
        """A point."""
        self._add("circle", cx=x, cy=y, r=3.5, fill=colour)

    def text(
        self, x: float, y: float, words: str, *, size: float = 12, colour: str = INK, anchor: str = "start",
        bold: bool = False,
    ) -> None:  # fmt: skip
        """Words whose baseline is at `y`; `anchor` is start, middle or end."""
        more = {"font_weight": 600} if bold else {}
        self._add("text", words, x=x, y=y, font_size=size, fill=colour, text_anchor=anchor, **more)

    def render(self) -> str:
        """The picture as a file's text."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self._width:g}" height="{self._height:g}" '
            f'viewBox="0 0 {self._width:g} {self._height:g}" role="img" font-family={quoteattr(FONT)}>'
        )
        return "\n".join([head, f"<title>{escape(self._title)}</title>", *self._parts, "</svg>", ""])

    def _add(self, name: str, words: str | None = None, **attributes: object) -> None:
        shown = " ".join(
            f"{key.replace('_', '-')}={quoteattr(f'{value:.1f}' if isinstance(value, float) else str(value))}"
            for key, value in attributes.items()
        )
        self._parts.append(f"<{name} {shown}/>" if words is None else f"<{name} {shown}>{escape(words)}</{name}>")
