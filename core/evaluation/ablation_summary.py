"""What the rows of an ablation amount to: for every variant what it costs, absolutely and beside two of the others.

Costs and seconds are compared image by image: the ratio of two variants is the geometric mean, over images and
qualities, of the ratios of the single rows. Intervals are 95 % percentiles of the bootstrap over images (Efron 1979).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskodec.bench.rd import MIN_POINTS
from taskodec.console.progress import Progress
from taskodec.errors import TaskodecError
from taskodec.evaluation.ablation import Case
from taskodec.evaluation.deltas import Comparison, CurveChange, Estimate, estimate
from taskodec.evaluation.matrix import JudgeMatrix
from taskodec.evaluation.rows import Row
from taskodec.evaluation.summary import MethodPoint, summarise
from taskodec.evaluation.variants import Variant, Variants

__all__ = ["CaseSummary", "Line", "check_weights", "summarise_case"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A variant: means over images and qualities, and ratios to the baseline (`of_baseline`) and to `ours`.

    `adapter_bits` are those of one image; their ratio is that of the means, None where the other has none. `worse`
    counts rows whose cost is above that of the stream before tuning. A figure is None where a variant does not have it,
    and so is the ratio of a variant to itself. `seconds` are by the clock of the case.
    """

    variant: str
    about: str
    cost: float
    cost_of_baseline: Estimate | None
    cost_of_ours: Estimate | None
    bpp: float
    adapter_bits: float
    adapter_of_baseline: float | None
    task_loss: float
    metrics: Mapping[str, float]
    steps: float
    seconds: float
    seconds_of_baseline: Estimate | None
    step_seconds: float | None
    step_of_baseline: Estimate | None
    worse: int
    rows: int
    chosen: Mapping[str, int]


@dataclass(frozen=True)
class CaseSummary:
    """One codec and one task. `points` are the figures by quality, `comparisons` the BD-rates against the baseline.

    `lmbda` is the mean weight of the task's loss at each quality, the same in all variants. `fastest` names the
    variant, other than the baseline and with some tuning, that takes least time of those that cost no more than it, if
    there is one.
    `clock` is the figure of rows that seconds are: of the processor, where all rows have that, for other work on the
    machine does not count then. `judged` is what other judges say, if there are some.
    """

    codec: str
    task: str
    images: int
    left_out: int
    qualities: tuple[float, ...]
    lmbda: Mapping[float, float]
    metrics: Mapping[str, bool]
    baseline: str
    ours: str
    resamples: int
    clock: str
    lines: tuple[Line, ...]
    fastest: str | None
    points: tuple[MethodPoint, ...]
    comparisons: tuple[Comparison, ...]
    changes: tuple[CurveChange, ...]
    about: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]
    judged: JudgeMatrix | None = None

    def line(self, variant: str) -> Line:
        """The line of a variant."""
        return next(line for line in self.lines if line.variant == variant)


def check_weights(rows: Sequence[Row]) -> None:
    """TaskodecError unless all variants weighed the task's loss alike for the same image and quality."""
    first: dict[tuple[str, float | None], Row] = {}
    for row in rows:
        known = first.setdefault((row.image, row.quality), row)
        if not math.isclose(row.lmbda or 0, known.lmbda or 0, rel_tol=1e-6):
            raise TaskodecError(
                f"{row.image}, quality {row.quality:g}: {known.method} weighs the loss by {known.lmbda}, {row.method} "
                f"by {row.lmbda}, so that their costs do not compare: set task.lmbda"
            )


def summarise_case(
    case: Case,
    rows: Sequence[Row],
    variants: Variants,
    *,
    resamples: int = 1000,
    progress: Progress | None = None,
) -> CaseSummary:
    """Sum up the rows of a case, all of them for every image that has some; BD-rates where there are enough qualities.

    TaskodecError if variants were weighed differently.
    """
    check_weights(rows)
    table = _Rows(rows, resamples)
    curves = len(table.qualities) >= MIN_POINTS
    whole = summarise(
        rows,
        [method for method, _ in case.lab.plan.methods],
        case.lab.evaluator,
        resamples=table.resamples if curves else 0,
        baseline=variants.baseline,
        judges=case.lab.judged(),
        made_for=case.lab.made_for(),
        progress=progress,
    )
    lines = tuple(_line(variant, variants, table, whole.points) for variant in variants.variants)
    return CaseSummary(
        codec=case.codec,
        task=case.lab.task.name,
        images=len(table.images),
        left_out=len(case.sources) - len(table.images),
        qualities=table.qualities,
        lmbda=table.weights(),
        metrics=whole.metrics,
        baseline=variants.baseline,
        ours=variants.ours,
        resamples=table.resamples,
        clock=table.clock,
        lines=lines,
        fastest=_fastest(lines),
        points=whole.points,
        comparisons=whole.comparisons if curves else (),
        changes=whole.changes if curves else (),
        about=case.lab.about(),
        notes=tuple(case.notes),
        judged=whole.judged,
    )


class _Rows:
    """The rows by variant, image and quality, and the draws of images; no draws of a single image."""

    def __init__(self, rows: Sequence[Row], resamples: int) -> None:
        self.images = sorted({row.image for row in rows})
        self.qualities = tuple(sorted({row.quality for row in rows if row.quality is not None}))
        self._rows = {(row.method, row.image, row.quality): row for row in rows}
        count = len(self.images)
        self.resamples = resamples if count > 1 else 0
        self.clock = "seconds" if any(row.cpu_seconds is None for row in rows) else "cpu_seconds"
        self._draws = np.random.default_rng(0).integers(count, size=(self.resamples, count))

    def of(self, variant: str) -> list[Row]:
        """Image by image, with all qualities of each."""
        return [self._rows[variant, image, quality] for image in self.images for quality in self.qualities]

    def mean(self, variant: str, figure: str) -> float | None:
        """None if a row does not have it."""
        values = self._values(variant, figure)
        return None if values is None else float(values.mean())

    def ratio(self, variant: str, other: str, figure: str) -> Estimate | None:
        """Geometric mean over rows of the figure of one variant to that of another.

        None if there is only one variant, or a figure that is missing or not above zero.
        """
        values, others = self._values(variant, figure), self._values(other, figure)
        if variant == other or values is None or others is None or min(values.min(), others.min()) <= 0:
            return None
        logs = np.log(values / others).mean(1)
        return estimate(math.exp(logs.mean()), np.exp(logs[self._draws].mean(1)).tolist())

    def weights(self) -> dict[float, float]:
        """Mean weight of the task's loss at each quality."""
        by_quality: dict[float, list[float]] = {}
        for (_, _, quality), row in self._rows.items():
            if quality is not None and row.lmbda is not None:
                by_quality.setdefault(quality, []).append(row.lmbda)
        return {quality: fmean(by_quality[quality]) for quality in sorted(by_quality)}

    def _values(self, variant: str, figure: str) -> Array | None:
        """(images, qualities)."""
        values = [getattr(row, figure) for row in self.of(variant)]
        if any(value is None for value in values):
            return None
        return np.array(values, dtype=np.float64).reshape(len(self.images), -1)  # (I * Q,) -> (I, Q)


def _line(variant: Variant, variants: Variants, table: _Rows, points: Sequence[MethodPoint]) -> Line:
    name, baseline, ours = variant.name, variants.baseline, variants.ours
    rows = table.of(name)
    chosen = [row.chosen for row in rows if row.chosen is not None]
    bits, bits_baseline = _adapter_bits(rows), _adapter_bits(table.of(baseline))
    figures = [point.figures for point in points if point.method == name]
    return Line(
        variant=name,
        about=variant.about,
        cost=table.mean(name, "cost") or 0.0,
        cost_of_baseline=table.ratio(name, baseline, "cost"),
        cost_of_ours=table.ratio(name, ours, "cost"),
        bpp=table.mean(name, "bpp") or 0.0,
        adapter_bits=bits,
        adapter_of_baseline=bits / bits_baseline if bits_baseline and name != baseline else None,
        task_loss=table.mean(name, "task_loss") or 0.0,
        metrics={metric: fmean(each[metric].value for each in figures) for metric in figures[0]},
        steps=table.mean(name, "steps") or 0.0,
        seconds=table.mean(name, table.clock) or 0.0,
        seconds_of_baseline=table.ratio(name, baseline, table.clock),
        step_seconds=table.mean(name, "step_seconds"),
        step_of_baseline=table.ratio(name, baseline, "step_seconds"),
        worse=sum((row.cost or 0.0) > (row.cost_untuned or 0.0) for row in rows),
        rows=len(rows),
        chosen={kind: chosen.count(kind) for kind in sorted(set(chosen))},
    )


def _adapter_bits(rows: Sequence[Row]) -> float:
    """Of one image, on average."""
    return fmean((row.bpp_adapter or 0.0) * row.width * row.height for row in rows)


def _fastest(lines: Sequence[Line]) -> str | None:
    enough = [line for line in lines if line.steps and line.cost_of_baseline and line.cost_of_baseline.value <= 1]
    return min(enough, key=lambda line: line.seconds).variant if enough else None
