"""What the rest asks of a task beside its loss (`taskodec.tuning.checks`), which may be anybody's code too."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskodec.console.terminal import shown
from taskodec.contracts import Codec, Evaluator, Task
from taskodec.errors import TaskError, TaskodecError
from taskodec.isolation.faults import named
from taskodec.settings.ttft import VIEWS
from taskodec.tuning.checks import guest

__all__ = ["evaluator_of", "metrics_of", "on_device", "prepared", "seen_by", "views_of", "weight_of"]


def prepared(task: Task, x: Tensor) -> Any:
    """`task.prepare(x)`, what the loss needs to know of the original, or a TaskError, also if that changes x."""
    version = x._version
    with torch.no_grad(), guest(task, "prepare", x, TaskodecError):
        reference = task.prepare(x)
    if x._version != version:
        raise TaskError(f"task {task.name!r}: its `prepare` changes the picture in place; work on a copy")
    return reference


def seen_by(task: Task, x: Tensor) -> Tensor | None:
    """`task.seen(x)`, of the size of x, or None; or a TaskError that names the task."""
    with torch.no_grad(), guest(task, "seen", x, TaskodecError):
        found: object = task.seen(x)
    if found is None:
        return None
    if not isinstance(found, Tensor) or found.shape != x.shape or not bool(found.isfinite().all()):
        raise TaskError(
            f"task {task.name!r}: `seen` gives {shown(found)}, expected a picture of the size of x, or None"
        )
    return found


def views_of(task: Task) -> frozenset[str]:
    """`task.views`, or a TaskError that names the task and the views that there are."""
    with _named(task, "views"):
        found: object = task.views
    if isinstance(found, str) or not isinstance(found, Collection) or not all(view in VIEWS for view in found):
        raise TaskError(f"task {task.name!r}: its views are {shown(found)}, expected some of {', '.join(VIEWS)}")
    return frozenset(found)


def weight_of(task: Task, codec: Codec, quality: float) -> float | None:
    """`task.lmbda(codec, quality)`: None or a finite number from 0 on, or a TaskError that names the task."""
    with _named(task, "lmbda"):
        weight = task.lmbda(codec, quality)
        if weight is None:
            return None
        if isinstance(weight, bool | str) or not 0 <= float(weight) < math.inf:
            raise TaskError(f"task {task.name!r}: lmbda is {shown(weight)}, expected None or a number from 0 on")
        return float(weight)


def metrics_of(task: Task, x_hat: Tensor, x: Tensor) -> dict[str, float]:
    """`task.metrics(x_hat, x)`: numbers by name, or a TaskError that names the task."""
    with torch.no_grad(), guest(task, "metrics", x, TaskodecError):
        found = task.metrics(x_hat, x)
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise TaskError(f"task {task.name!r}: metrics are {shown(found)}, expected numbers by name")
        return {name: float(value) for name, value in found.items()}


def evaluator_of(task: Task, labels: Path | None) -> Evaluator:
    """`task.evaluator(labels)`, or a TaskError that names the task."""
    with _named(task, "evaluator"):
        found = task.evaluator(labels)
        if not isinstance(found, Evaluator):
            raise TaskError(f"task {task.name!r}: its evaluator is {shown(found)}, expected a taskodec Evaluator")
        metrics = found.metrics
        if not isinstance(metrics, Mapping) or not all(
            isinstance(name, str) and isinstance(more, bool) for name, more in metrics.items()
        ):
            raise TaskError(
                f"task {task.name!r}: its evaluator has the metrics {shown(metrics)}, expected names, and of each "
                "whether more is better"
            )
        return found


def on_device(task: Task, device: torch.device) -> Task:
    """`task.to(device)`, or a TaskError that names the task."""
    name: object = getattr(task, "name", None)
    if not isinstance(name, str) or not name:
        raise TaskError(f"{type(task).__name__} has the name {shown(name)}; a Task needs a `name`")
    with _named(task, "to"):
        moved: object = task.to(device)
        if not isinstance(moved, Task):
            raise TaskError(f"task {task.name!r}: its `to` returns {shown(moved)}; return the task itself")
        return moved


def _named(task: Task, method: str) -> AbstractContextManager[None]:
    return named(f"task {task.name!r}: its {method} raised", TaskError, TaskodecError)
