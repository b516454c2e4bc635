"""How tuning of a picture went, as charts and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from taskodec.report.charts import Chart, Level, Mark, Series
from taskodec.tuning.history import Check, Step
from taskodec.tuning.ttft import Tuned

__all__ = ["tuning_charts", "tuning_table"]

ROWS = 24
"""Of the table, at most; steps in between are left out."""


def tuning_charts(tuned: Tuned) -> list[Chart]:
    """Loss, rate, cost and, where they were tuned, singular values over the steps; none of a picture without any."""
    if not tuned.history:
        return []
    marks = _phases(tuned.history)
    ends = ("untuned", tuned.untuned), ("sent", tuned.best)
    charts = [
        _chart("Cost", "cost", tuned, lambda s: s.cost, [Level(n, c.cost) for n, c in ends], marks, "λ · loss + bpp"),
        _chart("Task loss", "loss", tuned, lambda s: s.loss, [Level(n, c.loss) for n, c in ends], marks),
        _chart("Rate", "bits per pixel", tuned, lambda s: s.bpp, [Level(n, c.bpp) for n, c in ends], marks),
    ]
    if any(step.changed for step in tuned.history):
        bits = _points(tuned.history, lambda s: s.bits_adapter)
        changed = _points(tuned.history, lambda s: s.changed)
        sent = 8 * tuned.best.coded.adapter_bytes
        note = f"In the file that was sent, they and the adapter's fingerprint take {sent:.0f} bits."
        series = [Series("bits that they would take", bits, dots=False), Series("values changed", changed, dots=False)]
        charts.append(Chart("Singular values", "step", "bits, or how many", series, (), marks, note=note))
    return charts


def tuning_table(tuned: Tuned) -> list[tuple[int, Step]]:
    """Some of the steps with their numbers, the first and the last among them."""
    steps = list(enumerate(tuned.history, 1))
    if len(steps) <= ROWS:
        return steps
    kept = sorted({round(i * (len(steps) - 1) / (ROWS - 1)) for i in range(ROWS)})
    return [steps[i] for i in kept]


def _chart(
    title: str,
    name: str,
    tuned: Tuned,
    figure: Callable[[Step | Check], float | None],
    levels: Sequence[Level],
    marks: Sequence[Mark],
    note: str = "",
) -> Chart:
    checked = [(float(check.steps), float(figure(check) or 0.0)) for check in tuned.checks]
    series = [
        Series("in steps", _points(tuned.history, figure), dots=False, strong=False),
        Series("rounded as in a file", checked),
    ]
    return Chart(title, "step", name, series, levels, marks, note=note)


def _points(steps: Sequence[Step], figure: Callable[[Step], float | None]) -> list[tuple[float, float]]:
    found = ((number, figure(step)) for number, step in enumerate(steps, 1))
    return [(float(number), float(value)) for number, value in found if value is not None]


def _phases(steps: Sequence[Step]) -> list[Mark]:
    """Where another phase begins; none for one phase."""
    marks, number = [], 1
    for phase, own in groupby(steps, key=lambda step: step.phase):
        marks.append(Mark(phase, float(number)))
        number += len(list(own))
    return marks if len(marks) > 1 else []
