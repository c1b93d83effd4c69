"""Charts: what is drawn is what was given, whatever it is, and text in them is only text."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dashboard.charts import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Column,
    Series,
    bars,
    lines,
    nice_ceiling,
)

FLOOR = HEIGHT - 24
ANYTHING = st.text(max_size=20).filter(str.isprintable)
VALUES = st.none() | st.floats(allow_nan=False, min_value=-1e12, max_value=1e12)


def columns(count: int) -> list[Column]:
    return [Column(f"c{index}", f"column {index}", f"/ui/logs?n={index}") for index in range(count)]


def plain(value: float) -> str:
    return f"{value:g}"


def drawn(svg: str, style: str) -> list[dict[str, float]]:
    """Places of the rectangles of a style."""
    names = ("x", "y", "width", "height")
    return [
        {name: float(rect.attrib[name]) for name in names}
        for rect in ET.fromstring(svg).iter("rect")
        if rect.attrib["class"] == style
    ]


def test_a_bar_is_as_high_as_its_share_of_the_axis() -> None:
    svg = bars(columns(3), [Series("s1", [10, 5, None])], form=plain)
    heights = [round(bar["height"], 1) for bar in drawn(svg, "s1")]
    assert heights == [FLOOR - TOP, (FLOOR - TOP) / 2]
    assert [text.text for text in ET.fromstring(svg).iter("text")][:3] == ["0", "5", "10"]


def test_stacked_bars_stand_on_each_other() -> None:
    svg = bars(columns(1), [Series("s1", [6]), Series("s-bad", [2])], form=plain)
    [lower], [upper] = drawn(svg, "s1"), drawn(svg, "s-bad")
    assert lower["y"] + lower["height"] == pytest.approx(FLOOR, abs=0.1)
    assert upper["y"] + upper["height"] == pytest.approx(lower["y"], abs=0.1)


def test_a_small_value_beside_a_large_one_is_seen() -> None:
    svg = bars(columns(2), [Series("s1", [1, 1_000_000])], form=plain)
    assert drawn(svg, "s1")[0]["height"] >= 1


def test_every_column_is_a_link_with_words_and_the_keyboard_passes_it_by() -> None:
    for svg in (
        bars(columns(4), [Series("s1", [1, 2, 3, 4])], form=plain),
        lines(columns(4), [Series("s1", [1, None, 3, 4])], form=plain),
    ):
        root = ET.fromstring(svg)
        links = list(root.iter("a"))
        assert [link.attrib["href"] for link in links] == [f"/ui/logs?n={index}" for index in range(4)]
        assert [link.findtext("title") for link in links] == [f"column {index}" for index in range(4)]
        assert {link.attrib["tabindex"] for link in links} == {"-1"}
        assert root.attrib["aria-hidden"] == "true"


def test_a_column_that_leads_nowhere_is_no_link() -> None:
    root = ET.fromstring(bars([Column("a", "b")], [Series("s1", [1])], form=plain))
    assert list(root.iter("a")) == []
    assert root.findtext("g/title") == "b"


def test_a_line_breaks_where_there_is_no_value() -> None:
    svg = lines(columns(5), [Series("s1", [1, 2, None, 4, 5])], form=plain)
    paths = [path.attrib["d"] for path in ET.fromstring(svg).iter("path") if path.attrib["class"] == "l1"]
    assert [path.count("L") for path in paths] == [1, 1]


def test_a_band_stays_within_the_axis() -> None:
    band = ([-14.0, None], [30.0, None])
    svg = lines(columns(2), [Series("s1", [0, None])], form=plain, band=band, low=-10, high=10)
    [area] = drawn(svg, "s-soft")
    assert (area["y"], area["height"]) == (TOP, FLOOR - TOP)
    middle = [circle.attrib["cy"] for circle in ET.fromstring(svg).iter("circle")]
    assert float(middle[0]) == pytest.approx((TOP + FLOOR) / 2, abs=0.1)


def test_only_some_columns_are_labelled() -> None:
    texts = [text.text for text in ET.fromstring(bars(columns(9), [], form=plain)).iter("text")]
    assert texts[3:] == ["c0", "c8", "c4"]
    texts = [text.text for text in ET.fromstring(bars(columns(1), [], form=plain)).iter("text")]
    assert texts[3:] == ["c0"]


def test_no_style_and_no_script_is_in_it() -> None:
    hostile = '"><script>alert(1)</script><a style="x" onload="y">'
    column = Column(hostile, hostile, 'javascript:"><script>')
    svg = bars([column], [Series("s1", [1])], form=lambda _: hostile)
    tags = {element.tag for element in ET.fromstring(svg).iter()}
    assert tags == {"svg", "line", "text", "a", "title", "rect"}
    attributes = {name for element in ET.fromstring(svg).iter() for name in element.attrib}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}


@pytest.mark.parametrize(
    ("value", "top"),
    [
        (0, 1), (-3, 1), (1, 1), (1.01, 2), (9, 10), (10, 10), (21, 30), (26, 30), (31, 40), (0.03, 0.03),
        (0.031, 0.04), (501, 1000), (math.inf, 1),
    ],
)  # fmt: skip
def test_an_axis_ends_at_a_plain_number(value: float, top: float) -> None:
    assert nice_ceiling(value) == pytest.approx(top)


@pytest.mark.parametrize(("value", "top"), [(0, 2), (1, 2), (3, 4), (5, 6), (7, 10), (11, 20), (21, 30)])
def test_half_of_an_axis_of_things_is_whole(value: float, top: float) -> None:
    assert nice_ceiling(value, whole=True) == top


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_an_axis_is_never_shorter_than_its_values_nor_much_longer(value: float) -> None:
    assert value * (1 - 1e-9) <= nice_ceiling(value) <= value * 2.5


@given(values=st.lists(VALUES, max_size=40), words=ANYTHING)
@example(values=[5e-324], words="the smallest number there is")
def test_whatever_is_given_is_a_picture_within_its_frame(values: list[float | None], words: str) -> None:
    given_columns = [Column(words, words, words) for _ in values]
    for svg in (
        bars(given_columns, [Series("s1", values), Series("s2", values)], form=plain),
        lines(given_columns, [Series("s1", values)], form=plain, band=(values, values)),
    ):
        root = ET.fromstring(svg)
        for rect in root.iter("rect"):
            x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
            assert LEFT - 0.1 <= x <= x + width <= WIDTH - RIGHT + 0.2
            assert TOP - 2.1 <= y <= y + height <= FLOOR + 0.2
        for circle in root.iter("circle"):
            assert TOP - 0.1 <= float(circle.attrib["cy"]) <= FLOOR + 0.1
