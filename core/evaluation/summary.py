"""What the rows of an evaluation amount to: figures of every method at every quality, and Bjøntegaard deltas.

Confidence intervals are percentiles of the bootstrap over images (Efron 1979): images are drawn with replacement, the
same ones for all methods and qualities, and everything is worked out anew from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from taskodec.console.progress import Progress
from taskodec.contracts import TASK_LOSS, Evaluator
from taskodec.errors import TaskError, TaskodecError
from taskodec.evaluation.deltas import Comparing, Comparison, CurveChange, Draw, Estimate, Group, estimate
from taskodec.evaluation.matrix import Judged, JudgeMatrix, judge_matrix
from taskodec.evaluation.methods import Method
from taskodec.evaluation.rows import Row
from taskodec.extras import missing
from taskodec.report.run_page import framed

__all__ = ["EvaluationSummary", "MethodPoint", "complete_rows", "summarise"]


@dataclass(frozen=True)
class MethodPoint:
    """A method at a quality: means over images, and the evaluator's figures over them.

    Rates are None for the originals, and their parts where files have none. `chosen` counts what tuning sent.
    """

    method: str
    kind: str
    quality: float | None
    bpp: Estimate | None
    bpp_latent: float | None
    bpp_adapter: float | None
    bpp_header: float | None
    figures: Mapping[str, Estimate]
    seconds: float | None
    chosen: Mapping[str, int]


@dataclass(frozen=True)
class EvaluationSummary:
    """All that an evaluation says. `about` is what each method was measured with."""

    task: str
    images: int
    left_out: int
    resamples: int
    metrics: Mapping[str, bool]
    about: Mapping[str, Mapping[str, Any]]
    points: tuple[MethodPoint, ...]
    changes: tuple[CurveChange, ...]
    comparisons: tuple[Comparison, ...]
    judged: JudgeMatrix | None = None

    def _repr_html_(self) -> str | None:
        from taskodec.evaluation.pages import evaluation_part

        return None if missing("report") else framed([evaluation_part(self)])


def complete_rows(rows: Iterable[Row], count: int) -> list[Row]:
    """The rows of those images that have `count` of them."""
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    return [row for own in by_image.values() if len(own) == count for row in own]


def summarise(
    rows: Sequence[Row],
    methods: Sequence[Method],
    evaluator: Evaluator,
    *,
    task: str = "",
    about: Mapping[str, Mapping[str, Any]] | None = None,
    left_out: int = 0,
    resamples: int = 1000,
    baseline: str | None = None,
    judges: Sequence[Judged] = (),
    made_for: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> EvaluationSummary:
    """Figures, deltas and intervals of rows that are there for the same images in every method and quality.

    `baseline` names the method that all are compared with, `plain` without it. With `judges` comes their matrix, in
    which `made_for` says what each method's files are for.
    """
    metrics = dict(evaluator.metrics)
    metrics.setdefault(TASK_LOSS, False)
    groups = _groups(rows, methods)
    images = len(groups[0].rows)
    whole = _draw(groups, evaluator, metrics, range(images))
    generator = np.random.default_rng(0)
    choices = [generator.integers(images, size=images).tolist() for _ in range(resamples)]
    draws = []
    for number, chosen in enumerate(choices):
        draws.append(_draw(groups, evaluator, metrics, chosen))
        if progress is not None:
            progress(number + 1, resamples, {})
    comparing = Comparing(groups, metrics, whole, draws, baseline)
    return EvaluationSummary(
        task=task,
        images=images,
        left_out=left_out,
        resamples=resamples,
        metrics=metrics,
        about=about or {},
        points=tuple(_point(i, group, metrics, whole, draws) for i, group in enumerate(groups)),
        changes=tuple(comparing.changes()),
        comparisons=tuple(comparing.comparisons()),
        judged=judge_matrix(groups, judges, choices, _draw, made_for or {}, baseline, progress) if judges else None,
    )


def _groups(rows: Sequence[Row], methods: Sequence[Method]) -> list[Group]:
    """In the order of methods, each ascending in rate."""
    found: dict[tuple[str, float | None], list[Row]] = {}
    for row in rows:
        found.setdefault((row.method, row.quality), []).append(row)
    groups = []
    for method in methods:
        own = [
            Group(method, quality, sorted(of, key=lambda row: row.image))
            for (name, quality), of in found.items()
            if name == method.name
        ]
        groups += sorted(own, key=lambda group: _mean([row.bpp for row in group.rows]) or 0.0)
    return groups


def _draw(groups: Sequence[Group], evaluator: Evaluator, metrics: Mapping[str, bool], chosen: Sequence[int]) -> Draw:
    """What these images, some perhaps more than once, amount to."""
    bpp, figures = [], []
    for group in groups:
        rows = [group.rows[i] for i in chosen]
        bpp.append(_mean([row.bpp for row in rows]) or math.nan)
        try:
            found = evaluator.summarise([row.record for row in rows])
            values = {TASK_LOSS: fmean(row.task_loss for row in rows), **found}
            figures.append({metric: float(values[metric]) for metric in metrics})
        except TaskodecError:
            raise
        except Exception as error:  # anybody's evaluator, and records from a file
            reason = f"{type(error).__name__}: {error}"
            raise TaskError(
                f"{group.method.name}: the rows cannot be summed up ({reason}); measure them again"
            ) from error
    return Draw(bpp, figures)


def _point(i: int, group: Group, metrics: Mapping[str, bool], whole: Draw, draws: Sequence[Draw]) -> MethodPoint:
    rows = group.rows
    sent = [row.chosen for row in rows if row.chosen is not None]
    return MethodPoint(
        method=group.method.name,
        kind=group.method.kind,
        quality=group.quality,
        bpp=None if rows[0].bpp is None else estimate(whole.bpp[i], [draw.bpp[i] for draw in draws]),
        bpp_latent=_mean([row.bpp_latent for row in rows]),
        bpp_adapter=_mean([row.bpp_adapter for row in rows]),
        bpp_header=_mean([row.bpp_header for row in rows]),
        figures={m: estimate(whole.figures[i][m], [draw.figures[i][m] for draw in draws]) for m in metrics},
        seconds=_mean([row.seconds for row in rows]),
        chosen={name: sent.count(name) for name in sorted(set(sent))},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fmean(found) if found else None
