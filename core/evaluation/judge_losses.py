"""Other tasks' losses beside a task's own figures: what networks see in a file that was not made for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from taskodec.contracts import Evaluator, Record, Task
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import prepared

__all__ = ["JudgeLosses"]


class JudgeLosses(Evaluator):
    """The figures of an evaluator, and the mean loss of each of the judges by its name, less of which is better."""

    def __init__(self, own: Evaluator, judges: Mapping[str, Task]) -> None:
        self.own, self.judges = own, judges
        self.labels_version = own.labels_version
        self.metrics = {**own.metrics, **{f"by {name}": False for name in judges}}
        self._last: tuple[Tensor, dict[str, Any]] | None = None

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        if self._last is None or self._last[0] is not x:  # several files of one original come one after the other
            self._last = (x, {judge: prepared(task, x) for judge, task in self.judges.items()})
        references = self._last[1]
        losses = {judge: float(checked_loss(task, x_hat, references[judge])) for judge, task in self.judges.items()}
        return {"own": dict(self.own.observe(name, x_hat, x)), "judges": losses}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        means = {f"by {name}": fmean(record["judges"][name] for record in records) for name in self.judges}
        return {**self.own.summarise([record["own"] for record in records]), **means}
