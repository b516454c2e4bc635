"""Curves of tuning while it runs, drawn as those of the finished page. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.demo.told import Step
from taskodec.report.charts import Chart, Series, drawn
from taskodec.report.page import rendered

__all__ = ["live_charts"]

POINTS = 400
"""Of a curve, at most: a long run is drawn many times."""

SHOWN = (("Cost", "cost", "λ · loss + bpp"), ("Task loss", "loss", ""), ("Rate", "bpp", ""))
AXES = {"cost": "cost", "loss": "loss", "bpp": "bits per pixel"}


def live_charts(steps: Sequence[Step]) -> str:
    """Cost, loss and rate over the steps so far, as a piece of HTML; empty before the second, as no line is."""
    some = _some([step for step in steps if step.figures])
    if len(some) < 2:
        return ""
    charts = []
    for title, key, note in SHOWN:
        series = [Series("in steps", _points(some, key), dots=False, strong=key != "cost")]
        if key == "cost":
            series.append(Series("best, rounded as in a file", _points(some, "best"), dots=False))
        charts.append(drawn(Chart(title, "step", AXES[key], series, x_end=float(some[-1].total), note=note)))
    return rendered("live.html", charts=[one for one in charts if one is not None]) if any(charts) else ""


def _points(steps: Sequence[Step], key: str) -> list[tuple[float, float]]:
    return [(float(s.number), v) for s in steps if (v := s.figures.get(key)) is not None]


def _some(steps: Sequence[Step]) -> Sequence[Step]:
    """Evenly taken, the last one among them."""
    if len(steps) <= POINTS:
        return steps
    kept = sorted({round(i * (len(steps) - 1) / (POINTS - 1)) for i in range(POINTS)})
    return [steps[i] for i in kept]
