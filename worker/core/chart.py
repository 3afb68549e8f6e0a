"""Plots as inline SVG, made from numbers by pure functions: bars, shares of a whole, and one curve.

Colours and fonts are the page's, by class: `bar`, `share-N`, `curve`, `point`, `mark`, `limit`, and for text
`label`, `value`, `strong`, `limit-text`. Each plot has a name for those who cannot see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import msgspec

from worker.core.text import columns

WIDTH = 880
"""Of each plot, in units that are pixels where there is room."""

_MOST_LABEL = 0.4
_ROW = 26
_BAR = 16
_LETTER = 7.4
"""Width of a letter of a label, on average."""


class Column(msgspec.Struct, frozen=True):
    """One number for each row of bars: its heading, the numbers, and how they are written."""

    heading: str
    values: Sequence[float]
    texts: Sequence[str]


def bars(name: str, labels: Sequence[str], of: Sequence[Column]) -> str:
    """Horizontal bars, a row for each label, with each column's to a scale of its own."""
    gap, text_width = 16, 88
    label_width = min(max(map(_width, labels), default=0), WIDTH * _MOST_LABEL)
    width = (WIDTH - label_width - gap * len(of)) / len(of) - text_width
    top = _ROW if any(column.heading for column in of) else 0
    parts = []
    for row, label in enumerate(labels):
        middle = top + _ROW * row + _ROW / 2
        parts.append(_text(label_width, middle, _shortened(label, label_width), "label", "end", whole=label))
    for place, column in enumerate(of):
        left = label_width + gap + place * (width + text_width + gap)
        most = max(column.values, default=0) or 1
        if column.heading:
            parts.append(_text(left, top / 2, column.heading, "strong"))
        for row, (value, text) in enumerate(zip(column.values, column.texts, strict=True)):
            y = top + _ROW * row + (_ROW - _BAR) / 2
            length = max(width * value / most, 1.5 if value else 0)
            size = f'width="{length:.1f}" height="{_BAR}"'
            parts.append(f'<rect class="bar" x="{left:.1f}" y="{y:.1f}" {size} rx="2"/>')
            parts.append(_text(left + length + 6, y + _BAR / 2, text, "value"))
    return _svg(name, top + _ROW * len(labels), parts)


def shares(name: str, values: Sequence[float]) -> str:
    """One bar, cut in proportion to the values; classes `share-0`, `share-1`, ... in their order."""
    whole = sum(values) or 1
    # What is there is seen, however small.
    widths = [max(value / whole, 0.004) if value else 0.0 for value in values]
    scale = WIDTH / (sum(widths) or 1)
    parts, left = [], 0.0
    for place, width in enumerate(widths):
        if width:
            at = f'x="{left * scale:.1f}" width="{width * scale:.1f}"'
            parts.append(f'<rect class="share-{place}" {at} y="0" height="{_ROW}"/>')
        left += width
    return _svg(name, _ROW, parts)


class Point(msgspec.Struct, frozen=True):
    """A point of a curve: two numbers above 0, how they are written, and whether it is the one meant."""

    x: float
    y: float
    x_text: str
    y_text: str
    marked: bool = False


def curve(name: str, points: Sequence[Point], limit: tuple[float, str], axis: str) -> str:
    """A curve between logarithmic axes; `limit` is a line across and what it says, `axis` what x is."""
    height, top, bottom, side = 300, 40, 52, 70
    xs = [math.log(point.x) for point in points]
    ys = [math.log(point.y) for point in points]
    end = math.log(limit[0])
    lowest, highest = min(*ys, end), max(*ys, end)

    def across(x: float) -> float:
        return side + (WIDTH - 2 * side) * (x - xs[0]) / ((xs[-1] - xs[0]) or 1)

    def down(y: float) -> float:
        return top + (height - top - bottom) * (highest - y) / ((highest - lowest) or 1)

    places = [(across(x), down(y)) for x, y in zip(xs, ys, strict=True)]
    line = f'x1="{side - 30}" x2="{WIDTH - side + 30}" y1="{down(end):.1f}" y2="{down(end):.1f}"'
    parts = [
        f'<line class="limit" {line}/>',
        _text(WIDTH - side + 30, down(end) - 12, limit[1], "limit-text", "end"),
        f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>',
    ]
    for point, (x, y) in zip(points, places, strict=True):
        kind, size, text = ("mark", 6, "strong") if point.marked else ("point", 4, "value")
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>')
        parts.append(_text(x + 9, y - 12, point.y_text, text))
        parts.append(_text(x, height - bottom + 22, point.x_text, text, "middle"))
    parts.append(_text(WIDTH / 2, height - 8, axis, "label", "middle"))
    return _svg(name, height, parts)


def _svg(name: str, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    return f'<svg {size} role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def _text(  # noqa: PLR0917 - as SVG has them
    x: float, y: float, text: str, kind: str, anchor: str = "start", whole: str | None = None
) -> str:
    """A text at a height; a pointer shows the `whole` of one that was shortened."""
    tip = f"<title>{escape(whole)}</title>" if whole and whole != text else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central"'
    return f'<text class="{kind}" {place}>{tip}{escape(text)}</text>'


def _width(text: str) -> float:
    return _LETTER * columns(text)


def _shortened(text: str, width: float) -> str:
    """A text, or as much of its start and its end as there is room for."""
    if _width(text) <= width:
        return text
    room = (width - _LETTER) / 2
    return f"{_fitting(text, room)}\u2026{_fitting(text[::-1], room)[::-1]}"


def _fitting(text: str, room: float) -> str:
    end = len(text)
    while _width(text[:end]) > room:
        end -= 1
    return text[:end]
