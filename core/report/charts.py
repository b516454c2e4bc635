"""Curves as drawn: from numbers to places on a canvas, which a template makes an inline SVG of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from taskodec.extras import require

__all__ = ["CANVAS", "Chart", "Drawn", "DrawnSeries", "Level", "Mark", "Series", "Tick", "drawn"]

CANVAS = (480, 320)
"""Width and height, in units of the SVG."""

LEFT, RIGHT, TOP, BOTTOM = 78.0, 14.0, 12.0, 50.0
"""Room for the numbers and names of the axes; at the left at least."""

LETTER = 10.5
"""Width of a digit where letters are largest, on a phone."""

COLOURS = 8
"""How many there are before they begin anew; what they look like is up to the page's theme."""


@dataclass(frozen=True)
class Series:
    """A curve through points (x, y), with what is said of each; `low` and `high` are its band, if it has one.

    A `strong` one stands out, a `dashed` one is not measured itself.
    """

    name: str
    points: Sequence[tuple[float, float]]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    tips: Sequence[str] = ()
    strong: bool = True
    dashed: bool = False
    dots: bool = True
    colour: int | None = None


@dataclass(frozen=True)
class Level:
    """A horizontal line at y."""

    name: str
    y: float


@dataclass(frozen=True)
class Mark:
    """A vertical line at x."""

    name: str
    x: float


@dataclass(frozen=True)
class Chart:
    """Curves with their axes; `x_end` cuts what lies to the right of it, `floor` is the least that y begins with."""

    title: str
    x_name: str
    y_name: str
    series: Sequence[Series]
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    x_end: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Tick:
    """A number at an axis, and where."""

    at: float
    text: str


@dataclass(frozen=True)
class DrawnSeries:
    """A curve as drawn: `line` and `band` are lists of points as SVG has them, `dots` are (x, y, what is said)."""

    name: str
    colour: int
    line: str
    band: str
    dots: Sequence[tuple[float, float, str]]
    strong: bool
    dashed: bool
    shown_dots: bool


@dataclass(frozen=True)
class Drawn:
    """A chart on the canvas; `frame` is left, top, right and bottom of the area of the curves."""

    chart: Chart
    frame: tuple[float, float, float, float]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    series: Sequence[DrawnSeries]
    levels: Sequence[Tick] = field(default=())
    marks: Sequence[Tick] = field(default=())


def drawn(chart: Chart) -> Drawn | None:
    """Where everything goes; None for a chart without a single number."""
    series = [_finite(one, chart.x_end) for one in chart.series]
    beyond = [one.name for one in series if not one.points and one.name]
    series = [one for one in series if one.points]
    if not series:
        return None
    levels = [level for level in chart.levels if math.isfinite(level.y)]
    far = [level for level in levels if _far(level.y, [y for one in series for _, y in one.points])]
    levels = [level for level in levels if level not in far]
    xs = [x for one in series for x, _ in one.points] + [mark.x for mark in chart.marks]
    ys = [y for one in series for _, y in one.points] + [level.y for level in levels]
    ys += [v for one in series for v in (*one.low, *one.high) if v is not None]
    start = 0.0 if min(xs) >= 0 else min(xs)
    down = _Axis(min(ys), max(ys), CANVAS[1] - BOTTOM, TOP, margin=0.04)
    y_ticks = down.ticks(5)
    left = max(LEFT, 30 + LETTER * max((len(tick.text) for tick in y_ticks), default=0))
    across = _Axis(start, chart.x_end or max(xs) + 0.04 * (max(xs) - start), left, CANVAS[0] - RIGHT)
    return Drawn(
        replace(chart, note=_noted(chart.note, beyond, far)),
        (left, TOP, CANVAS[0] - RIGHT, CANVAS[1] - BOTTOM),
        across.ticks(6, whole=all(x == round(x) for x in xs)),
        y_ticks,
        [_drawn_series(one, n, across, down) for n, one in enumerate(series)],
        [Tick(down.at(level.y), level.name) for level in levels],
        [Tick(across.at(mark.x), mark.name) for mark in chart.marks],
    )


def _far(y: float, others: Sequence[float]) -> bool:
    """Whether a level would press curves flat, as the 100 dB of an original do."""
    spread = max(others) - min(others)
    return spread > 0 and not min(others) - 3 * spread <= y <= max(others) + 3 * spread


def _noted(note: str, beyond: Sequence[str], far: Sequence[Level]) -> str:
    """The note, and what there was no room for."""
    said = [note] if note else []
    said += [f"further to the right: {', '.join(beyond)}"] if beyond else []
    said += [f"{level.name}: {level.y:.5g}, out of the frame" for level in far]
    return "; ".join(said)


class _Axis:
    """From numbers to units of the canvas."""

    def __init__(self, low: float, high: float, first: float, last: float, margin: float = 0.0) -> None:
        spread = high - low or abs(high) or 1.0
        self.low = low - spread * (margin if high > low else 0.5 * bool(margin))
        self.high = high + spread * (margin if high > low else 0.5)
        self.first, self.last = first, last

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 2)

    def ticks(self, count: int, whole: bool = False) -> list[Tick]:
        """Round numbers, at most about so many; `whole` ones for what has no parts, such as steps."""
        require("report", "charts", only=["matplotlib"])
        from matplotlib.ticker import MaxNLocator, ScalarFormatter

        places = MaxNLocator(count, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10], integer=whole).tick_values(
            self.low, self.high
        )
        inside = [float(v) for v in places if self.low <= v <= self.high]
        form = ScalarFormatter(useOffset=False)
        form.set_scientific(False)
        digits = _digits(inside)
        return [Tick(self.at(v), f"{v:.{digits}f}" if digits <= 6 else f"{v:.2g}") for v in inside]


def _digits(values: Sequence[float]) -> int:
    """How many decimals tell these round numbers apart."""
    for digits in range(7):
        if all(math.isclose(round(v, digits), v, abs_tol=1e-9) for v in values):
            return digits
    return 7


def _finite(one: Series, end: float | None) -> Series:
    """The series without points that are not finite, or beyond the end."""
    fine = [i for i, (x, y) in enumerate(one.points) if math.isfinite(x) and math.isfinite(y)]
    if end is not None:
        fine = [i for i in fine if one.points[i][0] <= end]

    def kept(values: Sequence[float | None]) -> list[float | None]:
        found = [values[i] for i in fine] if len(values) == len(one.points) else []
        return [None if v is None or not math.isfinite(v) else v for v in found]

    tips = [one.tips[i] for i in fine] if len(one.tips) == len(one.points) else []
    return Series(
        one.name,
        [one.points[i] for i in fine],
        kept(one.low),
        kept(one.high),
        tips,
        one.strong,
        one.dashed,
        one.dots,
        one.colour,
    )


def _drawn_series(one: Series, number: int, across: _Axis, down: _Axis) -> DrawnSeries:
    places = [(across.at(x), down.at(y)) for x, y in one.points]
    edge = [
        (across.at(x), down.at(low), down.at(high))
        for (x, _), low, high in zip(one.points, one.low, one.high, strict=False)
        if low is not None and high is not None
    ]
    band = [(x, low) for x, low, _ in edge] + [(x, high) for x, _, high in reversed(edge)]
    tips = one.tips or [f"{one.name}: {x:.5g}, {y:.5g}" for x, y in one.points]
    return DrawnSeries(
        one.name,
        (number if one.colour is None else one.colour) % COLOURS,
        _listed(places),
        _listed(band) if len(edge) > 1 else "",
        [(x, y, tip) for (x, y), tip in zip(places, tips, strict=True)],
        one.strong,
        one.dashed,
        one.dots,
    )


def _listed(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)
