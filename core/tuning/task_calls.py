"""What the rest asks of a task beside its loss (`taskodec.tuning.checks`), which may be anybody's code too."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taskodec.console.terminal import shown
from taskodec.contracts import TASK_LOSS, Codec, Evaluator, Findings, Found, JointEvaluator, JointTask, Part, Task
from taskodec.contracts.joint_task import labelled, most_detailed
from taskodec.errors import TaskError, TaskodecError, UsageError
from taskodec.isolation.faults import named
from taskodec.settings.ttft import VIEWS
from taskodec.tuning.checks import checked_loss, guest

__all__ = [
    "evaluator_of",
    "findings_of",
    "judge_of",
    "metrics_of",
    "on_device",
    "prepared",
    "prepared_like",
    "seen_by",
    "views_of",
    "weight_of",
]


def prepared(task: Task, x: Tensor) -> Any:
    """`task.prepare(x)`, what the loss needs to know of the original, or a TaskError, also if that changes x."""
    if isinstance(task, JointTask):
        return task.reference([prepared(part.task, x) for part in task.parts])
    return _prepared(task, x, "prepare", lambda: task.prepare(x))


def prepared_like(task: Task, x: Tensor, whole: Any) -> Any:
    """`task.prepare_like(x, whole)` of a patch or a view x, or a TaskError, also if that changes x."""
    if isinstance(task, JointTask):
        return task.reference([prepared_like(p.task, x, own) for p, own in zip(task.parts, whole.parts, strict=True)])
    return _prepared(task, x, "prepare_like", lambda: task.prepare_like(x, whole))


def judge_of(task: Task) -> Task:
    """`task.judge()`, or a TaskError that names the task."""
    if isinstance(task, JointTask):
        return JointTask(task.name, [Part(part.label, judge_of(part.task), part.share) for part in task.parts])
    with _named(task, "judge"):
        found: object = task.judge()
        if not isinstance(found, Task):
            raise TaskError(f"task {task.name!r}: its `judge` returns {shown(found)}; return a task")
        return found


def _prepared(task: Task, x: Tensor, method: str, prepare: Callable[[], Any]) -> Any:
    version = x._version
    with torch.no_grad(), guest(task, method, x, TaskodecError):
        reference = prepare()
    if x._version != version:
        raise TaskError(f"task {task.name!r}: its `{method}` changes the picture in place; work on a copy")
    return reference


def seen_by(task: Task, x: Tensor) -> Tensor | None:
    """`task.seen(x)`, of the size of x, or None; or a TaskError that names the task."""
    if isinstance(task, JointTask):
        return most_detailed([seen_by(part.task, x) for part in task.parts], x)
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
    """`task.metrics(x_hat, x)`: numbers by name, or a TaskError that names the task.

    Of a joint task, those of every part, and its own loss.
    """
    if isinstance(task, JointTask):
        return labelled(
            {
                part.label: {TASK_LOSS: _loss(part.task, x_hat, x), **metrics_of(part.task, x_hat, x)}
                for part in task.parts
            }
        )
    with torch.no_grad(), guest(task, "metrics", x, TaskodecError):
        found = task.metrics(x_hat, x)
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise TaskError(f"task {task.name!r}: metrics are {shown(found)}, expected numbers by name")
        return {name: float(value) for name, value in found.items()}


def findings_of(task: Task, x: Tensor) -> Findings | None:
    """`task.findings(x)`, what is to be drawn of this picture, or None; or a TaskError that names the task."""
    with torch.no_grad(), guest(task, "findings", x, TaskodecError):
        found: object = task.findings(x)
        if found is None:
            return None
        if problem := _unfit(found, (x.shape[2], x.shape[3])):
            raise TaskError(f"task {task.name!r}: `findings` gives {problem}")
    assert isinstance(found, Findings)
    return found


def _unfit(found: object, size: tuple[int, int]) -> str:
    """What of findings in a picture of this height and width cannot be drawn; empty if all can."""
    if not isinstance(found, Findings):
        return f"{shown(found)}, expected `taskodec.contracts.Findings`, or None"
    for name in ("classes", "heat"):
        value = getattr(found, name)
        if value is not None and not (isinstance(value, Tensor) and value.dim() == 2 and value.numel()):
            return f"{name} that are {shown(value)}, expected a tensor (h, w)"
    if found.classes is not None and (found.classes.is_floating_point() or int(found.classes.min()) < 0):
        return f"classes of {found.classes.dtype}, expected integers from 0 on"
    if found.heat is not None and not bool(found.heat.isfinite().all()):
        return "a heat that is not finite, expected numbers from 0 to 1"
    return next((problem for one in found.found if (problem := _unfit_one(one, size))), "")


def _unfit_one(one: object, size: tuple[int, int]) -> str:
    if not isinstance(one, Found):
        return f"{shown(one)} among what it found, expected `taskodec.contracts.Found`"
    corners = [one.box] if one.box is not None else []
    if any(len(box) != 4 for box in corners) or any(len(point) != 2 for point in one.outline or ()):
        return f"{shown(one.label)} with a box that is not x1, y1, x2, y2, or an outline that is not of points (x, y)"
    numbers = [float(v) for points in (*corners, *(one.outline or ())) for v in points]
    if not all(map(math.isfinite, [*numbers, *([] if one.score is None else [float(one.score)])])):
        return f"{shown(one.label)} with a place or score that is not finite"
    if one.mask is not None and tuple(one.mask.shape) != size:
        return f"{shown(one.label)} with a mask of {tuple(one.mask.shape)}, expected the picture's {size}"
    return ""


def _loss(task: Task, x_hat: Tensor, x: Tensor) -> float:
    with torch.no_grad():
        return float(checked_loss(task, x_hat, prepared(task, x)))


def evaluator_of(task: Task, labels: Path | Mapping[str, Path] | None) -> Evaluator:
    """`task.evaluator(labels)`, or a TaskError that names the task; labels of a joint task are by its parts."""
    if isinstance(task, JointTask):
        given = task.labels_by_part(labels)
        return JointEvaluator(task, [evaluator_of(part.task, given.get(part.label)) for part in task.parts])
    if isinstance(labels, Mapping):
        raise UsageError(f"task {task.name!r} has no parts: give its labels without a name, found {', '.join(labels)}")
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
    if isinstance(task, JointTask):
        return task.moved([on_device(part.task, device) for part in task.parts])
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
