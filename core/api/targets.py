"""From the target of the settings to the goal that an image's file is searched for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from taskodec.contracts import Task
from taskodec.errors import ImageError, TargetError, TaskError, TaskodecError, UsageError
from taskodec.hooks.names import nearest
from taskodec.images.metrics import load_dists, load_lpips, ms_ssim_loss, psnr
from taskodec.settings.target import Bound, TargetSettings, parse_bound
from taskodec.tuning.goals import Goal, MetricBound, MostBytes, MostLoss
from taskodec.tuning.run import Tuned
from taskodec.tuning.task_calls import evaluator_of, metrics_of

__all__ = ["check_metric", "goal_of", "kept"]

Value = Callable[[Tensor], float]
"""A figure of a decoded picture (1, 3, H, W)."""

PICTURE_METRICS = ("psnr", "ms-ssim", "lpips", "dists")
"""Those that pictures have whatever they are for."""


def goal_of(target: TargetSettings, task: Task, x: Tensor) -> Goal:
    """What the file of x (1, 3, H, W) must keep to; UsageError for a metric that is not known, or not to be had."""
    pixels = x.shape[2] * x.shape[3]
    if target.bytes is not None:
        return MostBytes(target.bytes, pixels)
    if target.bpp is not None:
        return MostBytes(max(1, int(target.bpp * pixels / 8)), pixels)
    if target.loss is not None:
        return MostLoss(target.loss)
    if target.metric is not None:
        bound = parse_bound(target.metric)
        name, value = _metric(bound, task, x)
        return MetricBound(name, value, bound.value, bound.least)
    raise UsageError("there is no target; set one of target.bytes, target.bpp, target.loss and target.metric")


def check_metric(target: TargetSettings, task: Task, device: torch.device) -> None:
    """UsageError for a metric that this task has of no picture, or that is not to be had here.

    It is looked for on a picture of one grey; what else goes wrong there is left to the pictures that will come.
    """
    if target.metric is not None:
        with suppress(TargetError, TaskError, ImageError):
            _metric(parse_bound(target.metric), task, torch.full((1, 3, 256, 256), 0.5, device=device))


def kept(target: TargetSettings, tuned: Tuned) -> dict[str, Any]:
    """For a report: what was asked for, what was reached, and how much of a size was used."""
    reached, used = tuned.reached, {}
    if target.bytes is not None:
        used = {"used": len(tuned.best.coded.stream) / target.bytes}
    elif target.bpp is not None:
        reached = tuned.best.bpp
        used = {"used": reached / target.bpp}
    return {"limit": str(target), "reached": reached, **used}


def _metric(bound: Bound, task: Task, x: Tensor) -> tuple[str, Value]:
    """The full name of a metric, and what computes it."""
    if (picture := _named(bound.metric, PICTURE_METRICS)) is not None:
        value = _picture_metric(picture, x)
        best = value(x)
        if (best < bound.value) if bound.least else (best > bound.value):
            raise TargetError(f"target {bound} cannot be met: the original itself has {picture} {best:g}")
        return picture, value
    own = metrics_of(task, x, x)
    if (name := _named(bound.metric, own)) is not None:
        return name, lambda x_hat: metrics_of(task, x_hat, x)[name]
    judged, problem = _judged(task, x)
    if (name := _named(bound.metric, judged)) is not None:
        return name, judged[name]
    valid = list(dict.fromkeys([*PICTURE_METRICS, *own, *judged]))
    raise UsageError(
        f"target.metric = {str(bound)!r}: task {task.name!r} has no metric {bound.metric!r}"
        f"{nearest(bound.metric, valid)}; valid: {', '.join(valid)}{problem}"
    )


def _picture_metric(name: str, x: Tensor) -> Value:
    if name == "psnr":
        return lambda x_hat: psnr(x_hat, x)
    if name == "ms-ssim":
        return _without_gradient(lambda x_hat: 1 - float(ms_ssim_loss(x_hat, x)))
    load, package = (load_lpips, "lpips") if name == "lpips" else (load_dists, "dists-pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distance = load(download=True)
    if distance is None:
        raise UsageError(
            f"target.metric: {name} cannot be had here, its package or its network is missing: `pip install "
            f"{package}`, or give another metric, such as ms-ssim>=0.98"
        )
    return _without_gradient(lambda x_hat: distance(x_hat, x))


def _judged(task: Task, x: Tensor) -> tuple[Mapping[str, Value], str]:
    """What the task is judged by in `taskodec eval`, on this picture alone; or why it cannot be had."""
    try:
        with warnings.catch_warnings():  # of figures that it leaves out
            warnings.simplefilter("ignore")
            evaluator = evaluator_of(task, None)
    except TaskodecError as error:
        return {}, f" (and those of `taskodec eval` cannot be had: {error})"

    def judge(name: str) -> Value:
        return _without_gradient(lambda x_hat: evaluator.summarise([evaluator.observe("", x_hat, x)])[name])

    return {name: judge(name) for name in evaluator.metrics if name != "task_loss"}, ""


def _named(wanted: str, names: Mapping[str, object] | tuple[str, ...]) -> str | None:
    """The name that is meant, whatever its case, dashes and spaces.

    The part of a joint task, and `self`, may be left out where one name alone ends so: `mIoU` is `self_miou`, and
    `top1_agreement`, as `cls_top1_agreement`, is `cls top1_agreement`.
    """
    for alike in (_plain, _alone, _without_self):
        found = [name for name in names if alike(name) == _plain(wanted)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _alone(name: str) -> str:
    return _plain(name.rpartition(" ")[2])


def _without_self(name: str) -> str:
    return _alone(name).removeprefix("self")


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", name.lower())


def _without_gradient(value: Value) -> Value:
    def of(x_hat: Tensor) -> float:
        with torch.no_grad():
            return value(x_hat)

    return of
