"""Charts: numbers in, SVG out. Pure; colours and fonts are the style sheet's.

Everything that is text is escaped. A chart is a picture of the table that stands behind it: screen readers
get the table, so the picture is hidden from them, and its links, which the table has too, from the keyboard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from sys import float_info

from markupsafe import Markup, escape

WIDTH, HEIGHT = 600, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 6, 10, 24
_FLOOR = HEIGHT - BOTTOM
_INNER_WIDTH = WIDTH - LEFT - RIGHT
_INNER_HEIGHT = _FLOOR - TOP
_GAP_SHARE = 0.22
_MAX_BAR = 44.0

Form = Callable[[float], str]
"""A number as the axis shows it."""


@dataclass(slots=True, frozen=True)
class Column:
    """A place on the x axis. `title` is shown when the pointer rests on it; `href` is where it leads."""

    label: str
    title: str
    href: str | None = None


@dataclass(slots=True, frozen=True)
class Series:
    """Values for each column in one style; None where there is none."""

    style: str
    values: Sequence[float | None]


def bars(columns: Sequence[Column], stacked: Sequence[Series], *, form: Form, whole: bool = False) -> Markup:
    """A bar for each column; several series stand on each other. `whole` is for numbers of things."""
    totals = [sum(_positive(series.values[index]) for series in stacked) for index in range(len(columns))]
    top = nice_ceiling(max(totals, default=0.0), whole=whole)
    parts = [_axis(0.0, top, form), _labels(columns)]
    slot = _slot(columns)
    width = min(slot * (1 - _GAP_SHARE), _MAX_BAR)
    for index, column in enumerate(columns):
        left = LEFT + index * slot + (slot - width) / 2
        shapes, base = [_hit(index, slot)], float(_FLOOR)
        for series in stacked:
            height = _positive(series.values[index]) / top * _INNER_HEIGHT
            if height > 0:
                height = max(height, 1.0)
                shapes.append(_rect(series.style, left, base - height, width, height))
                base -= height
        parts.append(_linked(column, shapes))
    return _svg(parts)


def lines(
    columns: Sequence[Column],
    series: Sequence[Series],
    *,
    form: Form,
    band: tuple[Sequence[float | None], Sequence[float | None]] | None = None,
    low: float = 0.0,
    high: float | None = None,
) -> Markup:
    """A line for each series, broken where there is no value, with a dot at each; `band` is a low and a high
    edge that are drawn soft behind them."""
    given = [value for one in series for value in one.values if value is not None]
    top = nice_ceiling(max(given, default=0.0)) if high is None else high
    slot = _slot(columns)

    def place(index: int, value: float) -> tuple[float, float]:
        share = (min(max(value, low), top) - low) / (top - low)
        return LEFT + (index + 0.5) * slot, _FLOOR - share * _INNER_HEIGHT

    parts = [_axis(low, top, form), _labels(columns)]
    if band is not None:
        lower, upper = band
        parts += [_area(run, lower, upper, place) for run in _runs(lower)]
    for one in series:
        for run in _runs(one.values):
            points = [place(index, one.values[index] or 0.0) for index in run]
            parts.append(_line(one.style, points))
            parts += [_dot(one.style, point) for point in points if len(columns) <= 60]
    parts += [_linked(column, [_hit(index, slot)]) for index, column in enumerate(columns)]
    return _svg(parts)


def nice_ceiling(value: float, *, whole: bool = False) -> float:
    """The next number from 1, 2, 3, 4, 5 or 10 times a power of ten, so that half of it is plain too; with
    `whole` its half is whole."""
    top = 1.0
    if isfinite(value) and value >= float_info.min:  # what is smaller has no power of ten
        power = 10.0 ** floor(log10(value))
        top = (
            next((step for step in (1.0, 2.0, 3.0, 4.0, 5.0) if value <= step * power * (1 + 1e-9)), 10.0)
            * power
        )
    return 2 * ceil(max(top, 1.0) / 2) if whole and top < 10 else top


def _positive(value: float | None) -> float:
    return value if value is not None and isfinite(value) and value > 0 else 0.0


def _slot(columns: Sequence[Column]) -> float:
    return _INNER_WIDTH / max(len(columns), 1)


def _runs(values: Sequence[float | None]) -> Iterable[Sequence[int]]:
    """The stretches of values without a hole."""
    run: list[int] = []
    for index, value in enumerate(values):
        if value is None:
            if run:
                yield run
            run = []
        else:
            run.append(index)
    if run:
        yield run


# Below are strings of SVG in which every text is escaped already: a Markup for each of a thousand shapes took
# longer than all the rest of a page.


def _svg(parts: Iterable[str]) -> Markup:
    start = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    inside = "".join(parts)
    return Markup(f'{start} aria-hidden="true" focusable="false">{inside}</svg>')  # noqa: S704 - see above


def _axis(low: float, top: float, form: Form) -> str:
    marks = []
    for share in (0.0, 0.5, 1.0):
        height = _FLOOR - share * _INNER_HEIGHT
        style, y = "axis" if share == 0 else "grid-line", _n(height)
        marks.append(f'<line class="{style}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        marks.append(_text(LEFT - 6, height + 4, "end", form(low + share * (top - low))))
    return "".join(marks)


def _labels(columns: Sequence[Column]) -> str:
    """The first, the middle and the last: more do not fit a phone."""
    last = len(columns) - 1
    anchors = {0: "start", last: "end"} if last > 0 else {0: "middle"} if last == 0 else {}
    if last >= 4:
        anchors[last // 2] = "middle"
    slot = _slot(columns)
    spots = {"start": 0.0, "middle": 0.5, "end": 1.0}
    return "".join(
        _text(LEFT + (index + spots[anchor]) * slot, HEIGHT - 6, anchor, columns[index].label)
        for index, anchor in anchors.items()
    )


def _text(x: float, y: float, anchor: str, words: str) -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}</text>'


def _linked(column: Column, shapes: Sequence[str]) -> str:
    inside = f"<title>{escape(column.title)}</title>{''.join(shapes)}"
    if column.href is None:
        return f"<g>{inside}</g>"
    return f'<a href="{escape(column.href)}" tabindex="-1">{inside}</a>'


def _hit(index: int, slot: float) -> str:
    """What the pointer meets: the whole height, so that small bars are easily met."""
    return _rect("hit", LEFT + index * slot, TOP, slot, _INNER_HEIGHT)


def _rect(style: str, left: float, top: float, width: float, height: float) -> str:
    return f'<rect class="{style}" x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(height)}"/>'


def _area(
    run: Sequence[int],
    lower: Sequence[float | None],
    upper: Sequence[float | None],
    place: Callable[[int, float], tuple[float, float]],
) -> str:
    edge = [place(index, upper[index] or 0.0) for index in run]
    edge += [place(index, lower[index] or 0.0) for index in reversed(run)]
    if len(run) == 1:  # one step alone is as wide as its dot
        (x, high), (_, base) = edge
        return _rect("s-soft", x - 3, high, 6, max(base - high, 0.0))
    return f'<path class="s-soft" d="M{_path(edge)}Z"/>'


def _line(style: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<path class="l{style.removeprefix("s")}" d="M{_path(points)}"/>'


def _dot(style: str, point: tuple[float, float]) -> str:
    return f'<circle class="{style}" cx="{_n(point[0])}" cy="{_n(point[1])}" r="2.5"/>'


def _path(points: Iterable[tuple[float, float]]) -> str:
    return " L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
