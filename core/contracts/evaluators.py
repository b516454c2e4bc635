"""How a task is judged over a set of images: what is kept of each, and what that amounts to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from taskodec.contracts import Task

__all__ = ["Evaluator", "MeanEvaluator", "Record"]

Record = Mapping[str, Any]
"""What is kept of one image: plain data, as JSON has it."""


class Evaluator(ABC):
    """Judges pictures, one at a time, and sums up over a set of them."""

    metrics: Mapping[str, bool]
    """The figures that `summarise` gives, the main one first, and of each whether more of it is better."""
    labels_version: str | None = None
    """What stands for the labels where rows say what they depend on; None for the bytes of the file or folder."""

    @abstractmethod
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        """What is kept of a decoded picture and its original, (1, 3, H, W) in [0, 1].

        `name` is the original's file name, under which labels know it. UsageError if they do not.
        """

    @abstractmethod
    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        """The figures over these records. One that comes twice counts twice, as the bootstrap needs it."""


class MeanEvaluator(Evaluator):
    """Means over images of the task's loss and of its own `metrics`.

    `metrics` maps the figures to give to whether more is better; `task_loss` is the loss.
    """

    def __init__(self, task: Task, metrics: Mapping[str, bool]) -> None:
        self.task, self.metrics = task, dict(metrics)

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        found = self.task.metrics(x_hat, x)
        if "task_loss" in self.metrics:
            found["task_loss"] = float(self.task.loss(x_hat, self.task.prepare(x)))
        return {metric: found[metric] for metric in self.metrics}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        return {metric: fmean(record[metric] for record in records) for metric in self.metrics}
