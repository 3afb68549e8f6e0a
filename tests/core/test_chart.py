"""Plots are well-formed SVG, in proportion, within their frame, and take no text for markup."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly
from worker.core.chart import WIDTH, Column, Point, bars, curve, shares

MARKUP = "<b>&\"'</b>"


def parsed(plot: str) -> ET.Element:
    """The plot, if it is XML within its frame."""
    svg = ET.fromstring(plot)  # noqa: S314 - our own
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    assert width == WIDTH
    for one in svg.iter():
        x, y = float(one.get("x", "0")), float(one.get("y", "0"))
        assert 0 <= x <= x + float(one.get("width", "0")) <= WIDTH + 0.5
        assert 0 <= y <= y + float(one.get("height", "0")) <= height + 0.5
    return svg


def texts(svg: ET.Element) -> list[str]:
    """What is written, tips left out."""
    return [
        "".join(part for part in (one.text, *(of.tail for of in one)) if part) for one in svg.iter("text")
    ]


def widths(svg: ET.Element) -> list[float]:
    return [float(one.attrib["width"]) for one in svg.iter("rect")]


def test_bars_are_in_proportion() -> None:
    svg = parsed(bars("Sizes", ["a", "b", "c"], [Column("Objects", [1, 2, 0], ["one", "two", "none"])]))
    small, large, none = widths(svg)
    assert large == pytest.approx(2 * small, abs=0.1)
    assert none == 0
    assert texts(svg) == ["a", "b", "c", "Objects", "one", "two", "none"]
    assert (svg.attrib["role"], svg.attrib["aria-label"]) == ("img", "Sizes")


def test_what_is_there_is_seen_however_small() -> None:
    svg = parsed(bars("", ["a", "b"], [Column("", [1, 10**15], ["", ""])]))
    assert widths(svg)[0] == 1.5


def test_two_columns_have_a_scale_each_and_do_not_meet() -> None:
    columns = [Column("Objects", [3, 9], ["3", "9"]), Column("Bytes", [10**12, 10**9], ["1 TB", "1 GB"])]
    rects = list(parsed(bars("", ["a", "b"], columns)).iter("rect"))
    ends = [(float(one.attrib["x"]), float(one.attrib["width"])) for one in rects]
    assert ends[1][1] == pytest.approx(ends[2][1], abs=0.1)
    assert max(x + width for x, width in ends[:2]) < min(x for x, _ in ends[2:])


def test_a_long_label_keeps_its_ends_and_a_pointer_shows_all() -> None:
    label = "start/" + "middle/" * 30 + "end/"
    svg = parsed(bars("", [label, "z/"], [Column("", [1, 1], ["", ""])]))
    shown = texts(svg)[0]
    assert shown.startswith("start/")
    assert shown.endswith("end/")
    assert "\u2026" in shown
    assert len(shown) < 60
    assert [one.text for one in svg.iter("title")] == [label]


def test_wide_letters_take_the_room_of_two() -> None:
    narrow, wide = (texts(parsed(bars("", [one * 99], [Column("", [1], [""])])))[0] for one in "a\u30c7")
    assert len(narrow) == pytest.approx(2 * len(wide), abs=2)


def test_shares_fill_the_bar_and_what_is_there_is_seen() -> None:
    svg = parsed(shares("Outcomes", [10**9, 0, 1]))
    assert [one.attrib["class"] for one in svg.iter("rect")] == ["share-0", "share-2"]
    assert sum(widths(svg)) == pytest.approx(WIDTH, abs=0.2)
    assert min(widths(svg)) > 3


def test_no_shares_are_an_empty_bar() -> None:
    assert widths(parsed(shares("", [0, 0]))) == []


def test_a_curve_falls_on_logarithmic_axes() -> None:
    points = [Point(10**n, 1_000 / 10**n, f"x{n}", f"y{n}", marked=n == 1) for n in range(3)]
    svg = parsed(curve("Hours", points, (100, "the limit"), "instances"))
    circles = list(svg.iter("circle"))
    assert [one.attrib["class"] for one in circles] == ["point", "mark", "point"]
    xs, ys = ([float(one.attrib[of]) for one in circles] for of in ("cx", "cy"))
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.2)
    [line] = svg.iter("line")
    assert float(line.attrib["y1"]) == ys[1]
    assert texts(svg) == ["the limit", "y0", "x0", "y1", "x1", "y2", "x2", "instances"]


def test_one_point_at_the_limit_is_a_curve() -> None:
    parsed(curve("", [Point(3, 7, "3", "7")], (7, "limit"), ""))


@pytest.mark.parametrize(
    "plot",
    [
        bars(MARKUP, [MARKUP, MARKUP * 20], [Column(MARKUP, [1, 2], [MARKUP, MARKUP])]),
        shares(MARKUP, [1]),
        curve(MARKUP, [Point(1, 1, MARKUP, MARKUP)], (2, MARKUP), MARKUP),
    ],
    ids=["bars", "shares", "curve"],
)
def test_a_text_is_no_markup(plot: str) -> None:
    svg = parsed(plot)
    assert svg.attrib["aria-label"] == MARKUP
    assert not list(svg.iter("b"))


@properly
@given(
    st.lists(st.tuples(st.text("ab<&\u30c7", max_size=200), st.integers(0, 2**70)), max_size=12),
    st.integers(1, 2),
)
def test_any_rows_stay_within_the_frame(rows: list[tuple[str, int]], columns: int) -> None:
    column = Column("of", [value for _, value in rows], ["x" for _ in rows])
    parsed(bars("", [label for label, _ in rows], [column] * columns))
