"""Judged by networks that a file was not made for: BD-rates by every judge, and how many judges are satisfied.

The satisfied machine ratio is the share of judges, and of images, whose answer to the decoded picture is that to the
original (Zhang et al. 2023, arXiv:2211.06797; what counts as the same answer is up to each evaluator).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from taskodec.console.progress import Progress
from taskodec.contracts import TASK_LOSS, Evaluator, JointEvaluator, Record
from taskodec.evaluation.curves import Delta, bd_rate
from taskodec.evaluation.deltas import Comparing, Draw, Estimate, Group, estimate
from taskodec.evaluation.methods import Method

__all__ = ["JudgeMatrix", "Judged", "MatrixCell", "Satisfied", "Unseen", "judge_matrix", "own_judges"]


@dataclass(frozen=True)
class Judged:
    """Who judges: its evaluator, the names of the methods whose files were made for it, and where rows have its view.

    `part` is a part of the joint task that files are made for, `judge` a judge's name; both None of the task itself.
    """

    name: str
    evaluator: Evaluator
    made_for: frozenset[str]
    part: str | None = None
    judge: str | None = None

    def of(self, row: Any) -> Any:
        """The row as this one judges it."""
        if self.judge is not None:
            found = row.judges[self.judge]
        elif self.part is not None:
            found = row.record[self.part]
        else:
            return row
        return replace(row, task_loss=found[TASK_LOSS], record=found["record"])


@dataclass(frozen=True)
class MatrixCell:
    """A method against the baseline as one judge sees it, by its loss or by its main figure.

    `seen` says that the method's files were made for this judge. `estimate` is None where the delta has a problem.
    """

    method: str
    made_for: str
    judge: str
    metric: str
    higher_is_better: bool
    seen: bool
    rate: Delta
    estimate: Estimate | None


@dataclass(frozen=True)
class Unseen:
    """Of a method the mean BD-rate over the judges that its files were not made for.

    `judges` are those with a BD-rate, over which the mean is, `left_out` the others.
    """

    method: str
    by: str
    judges: tuple[str, ...]
    left_out: tuple[str, ...]
    estimate: Estimate | None


@dataclass(frozen=True)
class Satisfied:
    """Of a method at a quality the satisfied machine ratio: over unseen judges, over all, and of each."""

    method: str
    quality: float | None
    bpp: float | None
    unseen: Estimate | None
    every: Estimate | None
    judges: Mapping[str, float]


@dataclass(frozen=True)
class JudgeMatrix:
    """What all judges say. `by` of a mean is `loss` or `figure`, the judges' losses or their main figures."""

    judges: Mapping[str, Sequence[str]]
    baseline: str
    cells: tuple[MatrixCell, ...]
    means: tuple[Unseen, ...]
    satisfied: tuple[Satisfied, ...]


def own_judges(task: str, evaluator: Evaluator, made_for: Mapping[str, frozenset[str]]) -> list[Judged]:
    """The task itself as judge of its files, or every part of a joint one; `made_for` has methods by name."""
    if not isinstance(evaluator, JointEvaluator):
        return [Judged(task, evaluator, made_for[task])]
    pairs = zip(evaluator.task.parts, evaluator.evaluators, strict=True)
    return [Judged(part.label, own, made_for[part.label], part=part.label) for part, own in pairs]


def judge_matrix(
    groups: Sequence[Group],
    judges: Sequence[Judged],
    choices: Sequence[Sequence[int]],
    draw: Any,
    made_for: Mapping[str, str],
    baseline: str | None,
    progress: Progress | None = None,
) -> JudgeMatrix:
    """The matrix over groups of rows; `choices` are the images of each draw of the bootstrap, `draw` sums one up.

    `made_for` says what each method's files are for.
    """
    views = []
    for number, judge in enumerate(judges):
        views.append(_View(judge, groups, choices, draw, baseline))
        if progress is not None:
            progress(number + 1, len(judges), {})
    anchor = views[0].comparing.baseline_name()
    methods = [method for method in views[0].comparing.methods if method.learned and method.name != anchor]
    cells, means = [], []
    for by in ("loss", "figure") if anchor else ():
        for method in methods:
            row = [(view, *view.rates(method.name, anchor, by)) for view in views if by == "loss" or view.main]
            cells += [_cell(method, made_for, view, view.metric(by), delta, drawn) for view, delta, drawn in row]
            means.append(_unseen(method.name, by, row))
    return JudgeMatrix(
        judges={judge.name: sorted(judge.made_for) for judge in judges},
        baseline=anchor or "",
        cells=tuple(cells),
        means=tuple(mean for mean in means if mean.judges or mean.left_out),
        satisfied=tuple(_satisfied(group, judges, choices) for group in groups if group.method.kind != "original"),
    )


class _View:
    """All rows as one judge sees them."""

    def __init__(
        self, judge: Judged, groups: Sequence[Group], choices: Sequence[Sequence[int]], draw: Any, baseline: str | None
    ) -> None:
        self.judge = judge
        own = [replace(group, rows=[judge.of(row) for row in group.rows]) for group in groups]
        self.main = next((name for name in judge.evaluator.metrics if name != TASK_LOSS), None)
        metrics = {TASK_LOSS: False}
        if self.main is not None:
            metrics[self.main] = judge.evaluator.metrics[self.main]
        every = range(len(groups[0].rows))
        draws: list[Draw] = [draw(own, judge.evaluator, metrics, chosen) for chosen in choices]
        self.comparing = Comparing(own, metrics, draw(own, judge.evaluator, metrics, every), draws, baseline)

    def metric(self, by: str) -> str:
        """The name of the judge's loss, or of its main figure."""
        return TASK_LOSS if by == "loss" or self.main is None else self.main

    def rates(self, method: str, anchor: str, by: str) -> tuple[Delta, list[float | None]]:
        """The BD-rate over all images, and over those of each draw."""
        found = [bd_rate(*pair) for pair in self.comparing.pairs(anchor, method, self.metric(by))]
        return found[0], [delta.value for delta in found[1:]]


def _cell(
    method: Method,
    made_for: Mapping[str, str],
    view: _View,
    metric: str,
    delta: Delta,
    drawn: Sequence[float | None],
) -> MatrixCell:
    better = view.comparing.metrics[metric]
    if not better and math.isfinite(delta.low):
        delta = replace(delta, low=-delta.high, high=-delta.low)
    known = [value for value in drawn if value is not None]
    return MatrixCell(
        method=method.name,
        made_for=made_for.get(method.name, ""),
        judge=view.judge.name,
        metric=metric,
        higher_is_better=better,
        seen=method.name in view.judge.made_for,
        rate=delta,
        estimate=None if delta.value is None else estimate(delta.value, known),
    )


def _unseen(method: str, by: str, row: Sequence[tuple[_View, Delta, Sequence[float | None]]]) -> Unseen:
    """The mean over unseen judges that have a BD-rate, in each draw over those of them that have one there."""
    unseen = [(view, delta, drawn) for view, delta, drawn in row if method not in view.judge.made_for]
    found = [(view, delta.value, drawn) for view, delta, drawn in unseen if delta.value is not None]
    names = tuple(view.judge.name for view, _, _ in found)
    left_out = tuple(view.judge.name for view, delta, _ in unseen if delta.value is None)
    if not found:
        return Unseen(method, by, (), left_out, None)
    draws = zip(*(drawn for _, _, drawn in found), strict=True)
    means = [fmean(known) for draw in draws if (known := [value for value in draw if value is not None])]
    return Unseen(method, by, names, left_out, estimate(fmean(value for _, value, _ in found), means))


def _satisfied(group: Group, judges: Sequence[Judged], choices: Sequence[Sequence[int]]) -> Satisfied:
    answers: dict[str, list[bool]] = {}
    for judge in judges:
        own = [judge.evaluator.satisfied(record) for record in _records(group, judge)]
        if all(one is not None for one in own):
            answers[judge.name] = [bool(one) for one in own]
    unseen = [judge.name for judge in judges if group.method.name not in judge.made_for and judge.name in answers]
    rates = [row.bpp for row in group.rows if row.bpp is not None]
    return Satisfied(
        method=group.method.name,
        quality=group.quality,
        bpp=fmean(rates) if rates else None,
        unseen=_ratio([answers[name] for name in unseen], choices),
        every=_ratio(list(answers.values()), choices),
        judges={name: fmean(own) for name, own in answers.items()},
    )


def _records(group: Group, judge: Judged) -> list[Record]:
    return [judge.of(row).record for row in group.rows]


def _ratio(answers: Sequence[Sequence[bool]], choices: Sequence[Sequence[int]]) -> Estimate | None:
    """Of judges, the mean over images; with its interval."""
    if not answers:
        return None
    by_image = [fmean(own) for own in zip(*answers, strict=True)]
    return estimate(fmean(by_image), [fmean(by_image[i] for i in chosen) for chosen in choices])
