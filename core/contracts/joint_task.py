"""Several tasks that one file is for, or several networks of one task: a weighted sum of their losses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskodec.contracts.codec import Codec
from taskodec.contracts.evaluators import Evaluator, Record
from taskodec.contracts.task import TASK_LOSS, Task
from taskodec.errors import UsageError

__all__ = ["JointEvaluator", "JointReference", "JointTask", "Part"]


@dataclass(frozen=True)
class Part:
    """One of the tasks; shares of all parts sum to 1, and `label` stands before its figures."""

    label: str
    task: Task
    share: float = 1.0


@dataclass(frozen=True)
class JointReference:
    """What each part needs to know of the original, and what a unit of its loss weighs in the joint loss."""

    parts: tuple[Any, ...]
    weights: tuple[float, ...]


class JointTask(Task):
    """A picture for several tasks: `loss` is the sum of the parts' losses, each times its weight in the reference.

    `prepare` alone knows no codec, so there the weights are the shares. Tuning, pre-training and evaluation replace
    them by shares of what each loss is worth in bits per pixel (`taskodec.tuning.units`), so that `lmbda` is 1. Parts
    that are joint tasks themselves are taken apart. UsageError for shares that are no shares, or labels twice.
    """

    def __init__(self, name: str, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part.share, bool) or not 0 < part.share < math.inf:
                raise UsageError(f"task {name!r}: the share of {part.label} is {part.share!r}, expected more than 0")
        flat = [one for part in parts for one in _taken_apart(part)]
        labels = [part.label for part in flat]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise UsageError(
                f"task {name!r} has {', '.join(twice)} twice: name each part once, its share says how much"
            )
        if not flat:
            raise UsageError(f"task {name!r} has no parts: give one at least")
        total = sum(part.share for part in flat)
        self.name = name
        self.parts = tuple(Part(part.label, part.task, part.share / total) for part in flat)
        self.views = _in_common([part.task.views for part in self.parts])
        self.mixed_precision = any(part.task.mixed_precision for part in self.parts)

    def prepare(self, x: Tensor) -> JointReference:
        return self.reference([part.task.prepare(x) for part in self.parts])

    def prepare_like(self, x: Tensor, whole: JointReference) -> JointReference:
        pairs = zip(self.parts, whole.parts, strict=True)
        return JointReference(tuple(part.task.prepare_like(x, own) for part, own in pairs), whole.weights)

    def reference(self, parts: Sequence[Any]) -> JointReference:
        """That of these references of the parts, weighed by shares alone."""
        return JointReference(tuple(parts), tuple(part.share for part in self.parts))

    def loss(self, x_hat: Tensor, reference: JointReference) -> Tensor:
        losses = [part.task.loss(x_hat, own) for part, own in zip(self.parts, reference.parts, strict=True)]
        return joint(losses, [reference])

    def batch_loss(self, x_hat: Tensor, references: Sequence[JointReference]) -> Tensor:
        return joint(
            [p.task.batch_loss(x_hat, own) for p, own in zip(self.parts, own_of(references), strict=True)], references
        )

    def sees(self, height: int, width: int) -> tuple[int, int] | None:
        """None if no part needs the whole; all of the picture where only some do, at least what each looks at."""
        found = [part.task.sees(height, width) for part in self.parts]
        if all(one is None for one in found):
            return None
        sizes = [one or (height, width) for one in found]
        return max(size[0] for size in sizes), max(size[1] for size in sizes)

    def seen(self, x: Tensor) -> Tensor | None:
        return most_detailed([part.task.seen(x) for part in self.parts], x)

    def for_crops(self, sizes: Sequence[tuple[int, int]]) -> JointTask:
        return JointTask(self.name, [Part(part.label, part.task.for_crops(sizes), part.share) for part in self.parts])

    def lmbda(self, codec: Codec, quality: float) -> float:
        """1: the weights in the reference are in bits per pixel already."""
        return 1.0

    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """Those of every part, and its own loss."""
        return labelled(
            {
                part.label: {
                    TASK_LOSS: float(part.task.loss(x_hat, part.task.prepare(x))),
                    **part.task.metrics(x_hat, x),
                }
                for part in self.parts
            }
        )

    def evaluator(self, labels: Path | Mapping[str, Path] | None = None) -> Evaluator:
        """Judged by every part; `labels` has a file or folder by the part's label."""
        given = self.labels_by_part(labels)
        return JointEvaluator(self, [part.task.evaluator(given.get(part.label)) for part in self.parts])

    def labels_by_part(self, labels: Path | Mapping[str, Path] | None) -> Mapping[str, Path]:
        """Labels of parts; UsageError for those that are for none of them."""
        valid = [part.label for part in self.parts]
        if isinstance(labels, Path):
            raise UsageError(f"task {self.name!r} has several parts: say whose labels these are, {valid[0]}={labels}")
        for label in labels or {}:
            if label not in valid:
                raise UsageError(f"labels of {label!r}: task {self.name!r} has no such part; valid: {', '.join(valid)}")
        return labels or {}

    def judge(self) -> JointTask:
        return JointTask(self.name, [Part(part.label, part.task.judge(), part.share) for part in self.parts])

    def compile(self) -> JointTask:
        for part in self.parts:
            part.task.compile()
        return self

    def to(self, device: torch.device) -> JointTask:
        return self.moved([part.task.to(device) for part in self.parts])

    def moved(self, tasks: Sequence[Task]) -> JointTask:
        """The same with these tasks for its parts."""
        self.parts = tuple(Part(p.label, task, p.share) for p, task in zip(self.parts, tasks, strict=True))
        return self


class JointEvaluator(Evaluator):
    """Figures of every part, and its own loss, each with the part's label before it; the first part's come first."""

    def __init__(self, task: JointTask, evaluators: Sequence[Evaluator]) -> None:
        self.task, self.evaluators = task, tuple(evaluators)
        versions = [one.labels_version for one in evaluators]
        self.labels_version = None if all(version is None for version in versions) else str(versions)
        self.metrics = {
            f"{part.label} {metric}": more
            for part, one in zip(task.parts, evaluators, strict=True)
            for metric, more in {**one.metrics, TASK_LOSS: False}.items()
        }

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        found = {}
        for part, one in zip(self.task.parts, self.evaluators, strict=True):
            loss = float(part.task.loss(x_hat, part.task.prepare(x)))
            found[part.label] = {TASK_LOSS: loss, "record": dict(one.observe(name, x_hat, x))}
        return found

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        figures = {}
        for part, one in zip(self.task.parts, self.evaluators, strict=True):
            own = [record[part.label] for record in records]
            losses = {TASK_LOSS: math.fsum(record[TASK_LOSS] for record in own) / len(own)}
            figures[part.label] = {**losses, **one.summarise([record["record"] for record in own])}
        return {name: value for name, value in labelled(figures).items() if name in self.metrics}

    def satisfied(self, record: Record) -> bool | None:
        """Whether every part is; None if one cannot say."""
        found = [
            one.satisfied(record[part.label]["record"])
            for part, one in zip(self.task.parts, self.evaluators, strict=True)
        ]
        return None if any(one is None for one in found) else all(found)


def joint(losses: Sequence[Tensor], references: Sequence[JointReference]) -> Tensor:
    """The parts' losses, each a scalar or (B,), as one: weighed as each picture's reference says."""
    weights = losses[0].new_tensor([reference.weights for reference in references], dtype=torch.float32)  # (B, parts)
    stacked = torch.stack([loss.float() for loss in losses], -1)  # (parts,) or (B, parts)
    total = (stacked * weights).sum(-1)
    return total if losses[0].dim() else total[0]


def own_of(references: Sequence[JointReference]) -> list[tuple[Any, ...]]:
    """By part, what it needs to know of each picture."""
    return list(zip(*(reference.parts for reference in references), strict=True))


def most_detailed(pictures: Sequence[Tensor | None], x: Tensor) -> Tensor | None:
    """Of what parts see of x the picture that is nearest to it; None if one sees all."""
    known = [picture for picture in pictures if picture is not None]
    if len(known) < len(pictures):
        return None
    return min(known, key=lambda picture: float((picture - x).square().mean()))


def labelled(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Figures by part as one, with the part's label before each name."""
    return {f"{label} {name}": value for label, own in figures.items() for name, value in own.items()}


def _in_common(views: Sequence[Collection[str]]) -> Collection[str]:
    """The views that all losses bear; what is no collection, for whoever checks it."""
    for own in views:
        if isinstance(own, str) or not isinstance(own, Collection):
            return own
    return frozenset(views[0]).intersection(*views[1:])


def _taken_apart(part: Part) -> list[Part]:
    if not isinstance(part.task, JointTask):
        return [part]
    return [Part(f"{part.label} {one.label}", one.task, part.share * one.share) for one in part.task.parts]
