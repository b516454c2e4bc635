"""What the rest asks of a task beside its loss (`taskodec.tuning.checks`), which may be anybody's code too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskodec.cli.terminal import shown
from taskodec.contracts import Evaluator
from taskodec.errors import TaskError, TaskodecError
from taskodec.hooks.handover import reason_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from taskodec.contracts import Codec, Task

__all__ = ["evaluator_of", "metrics_of", "on_device", "prepared", "weight_of"]


def prepared(task: Task, x: Tensor) -> Any:
    """`task.prepare(x)`, or a TaskError that names the task."""
    with _named(task, "prepare"):
        return task.prepare(x)


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
    with _named(task, "metrics"):
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
    from taskodec.contracts import Task

    name: object = getattr(task, "name", None)
    if not isinstance(name, str) or not name:
        raise TaskError(f"{type(task).__name__} has the name {shown(name)}; a Task needs a `name`")
    with _named(task, "to"):
        moved: object = task.to(device)
        if not isinstance(moved, Task):
            raise TaskError(f"task {task.name!r}: its `to` returns {shown(moved)}; return the task itself")
        return moved


@contextmanager
def _named(task: Task, method: str) -> Iterator[None]:
    try:
        yield
    except TaskodecError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(f"task {task.name!r}: its {method} raised {reason_of(error)}") from error
