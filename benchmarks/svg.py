"""Bar charts as SVG. Each has a ground of its own, so it can be read on a light and a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
LABELS = 210  # pixels left of the bars
VALUES = 110  # pixels right of the longest bar, for its figure
TOP = 64
ROW = 26
BAR = 16

_STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
.title { font-size: 15px; font-weight: 600 }
.label { text-anchor: end }
.ground { fill: #ffffff; stroke: #d0d7de }
text { fill: #1f2328 }
.small { fill: #59636e; font-size: 12px }
.ours { fill: #0969da }
.peer { fill: #8c959f }
.more { opacity: 0.45 }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; stroke: #3d444d }
  text { fill: #f0f6fc }
  .small { fill: #9198a1 }
  .ours { fill: #4493f8 }
  .peer { fill: #6e7681 }
  .range { stroke: #f0f6fc }
}
""".strip()


@dataclass(frozen=True)
class Bar:
    """One server's bar: as long as `value`, of which `part` is drawn solid, or all.

    `least` and `most` are the ends of the line that shows how far the rounds were apart.
    """

    label: str
    value: float
    text: str
    ours: bool = False
    least: float = 0.0
    most: float = 0.0
    part: float | None = None


def bars(title: str, subtitle: str, rows: Sequence[Bar]) -> str:
    """An SVG document with the rows in the order in which they are given, at least one."""
    longest = max(max(row.value, row.most) for row in rows) or 1.0
    scale = (WIDTH - LABELS - VALUES) / longest
    height = TOP + ROW * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>\n{_STYLE}\n</style>",
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="title" x="16" y="26">{escape(title)}</text>',
        f'<text class="small" x="16" y="46">{escape(subtitle)}</text>',
    ]
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, scale)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: Bar, top: float, scale: float) -> list[str]:
    kind = "ours" if row.ours else "peer"
    middle = top + BAR / 2
    solid = row.value if row.part is None else row.part
    end = LABELS + max(row.value, row.most) * scale
    drawn = [
        f'<text class="label" x="{LABELS - 10}" y="{middle + 4.5}">{escape(row.label)}</text>',
        _rect(kind, 0, solid, top, scale),
    ]
    if solid < row.value:
        drawn.append(_rect(f"{kind} more", solid, row.value, top, scale))
    if row.least < row.most:
        drawn.append(_range(row, middle, scale))
    return [*drawn, f'<text x="{end + 8:.1f}" y="{middle + 4.5}">{escape(row.text)}</text>']


def _rect(kind: str, start: float, end: float, top: float, scale: float) -> str:
    left, width = LABELS + start * scale, max((end - start) * scale, 1)
    return f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BAR}"/>'


def _range(row: Bar, middle: float, scale: float) -> str:
    left, right = LABELS + row.least * scale, LABELS + row.most * scale
    return f'<line class="range" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>'
