"""What the losses of a joint task weigh against each other: each counts in bits per pixel of its own untuned slope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.contracts import Codec, JointReference, JointTask, Task
from taskodec.tuning.calibration import Balance, mean_curves, measure_balance, slope_or_rate, slopes_of, untuned
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.slopes import SlopeWatch, WatchedReference, no_slope
from taskodec.tuning.task_calls import prepared, prepared_like, weight_of

__all__ = [
    "balance_of",
    "in_units",
    "joint_weights",
    "like",
    "notes_on_slopes",
    "prepared_for",
    "prepared_in_units",
    "watched",
    "weighed",
    "weights_in",
]

FARTHEST = 4.0
"""By what factor, at most, the slope of one picture's loss is taken to differ from its rate over its loss."""


def joint_weights(task: JointTask, own: Sequence[float | None], slopes: Sequence[float | None]) -> tuple[float, ...]:
    """Each part's share of a bit per pixel, over the loss that is worth one.

    That is a part's own weight, where it has one. Else it is the slope of its untuned rate-loss curve, times what the
    own weights of other parts are of their slopes, so that shares mean something between the two kinds.
    """
    ratios = [weight / slope for weight, slope in zip(own, slopes, strict=True) if weight and slope]
    factor = math.exp(fmean(map(math.log, ratios))) if ratios else 1.0
    worth = [
        slope * factor if weight is None and slope else weight or 0.0 for weight, slope in zip(own, slopes, strict=True)
    ]
    return tuple(part.share * weight for part, weight in zip(task.parts, worth, strict=True))


@torch.no_grad()
def in_units(task: Task, codec: Codec, x: Tensor, reference: Any, quality: float, tiles: Tiles = WHOLE) -> Any:
    """The reference of a picture x (1, 3, H, W), with weights if the task is a joint one: at this quality of the codec.

    Slopes are the picture's own, as `calibrate_lmbda` takes them, and only taken where a part has no weight.
    """
    if not isinstance(task, JointTask):
        return reference
    own = [weight_of(part.task, codec, quality) for part in task.parts]
    slopes: list[float | None] = [None] * len(own)
    if any(weight is None for weight in own):
        around = untuned(codec, x, quality, tiles)
        for i, (part, needed) in enumerate(zip(task.parts, reference.parts, strict=True)):
            points = [(bpp, float(checked_loss(part.task, x_hat, needed))) for bpp, x_hat in around]
            slopes[i] = slope_or_rate(part.task, points, FARTHEST)
    return watched(reference, joint_weights(task, own, slopes))


def balance_of(
    codec: Codec,
    task: Task,
    crops: Tensor,
    lmbda: float | Mapping[float, float] | None = None,
    lmbda_scale: float = 1.0,
) -> Balance:
    """`measure_balance`, of a joint task with the weight of every part; `lmbda`, 1 unless given, is then of all."""
    if not isinstance(task, JointTask):
        return measure_balance(codec, task, crops, lmbda, lmbda_scale)
    levels = tuple(codec.qualities)
    curves = mean_curves(codec, [part.task for part in task.parts], crops)
    own = [[weight_of(part.task, codec, quality) for quality in levels] for part in task.parts]
    slopes = [slopes_of(part.task, c, w) for part, c, w in zip(task.parts, curves, own, strict=True)]
    columns = zip(zip(*own, strict=True), zip(*slopes, strict=True), strict=True)
    parts = tuple(joint_weights(task, weights, found) for weights, found in columns)
    lmbdas, costs = [], []
    for i, quality in enumerate(levels):
        given = lmbda.get(quality) if isinstance(lmbda, Mapping) else lmbda
        lmbdas.append(lmbda_scale * (given or 1.0))
        loss = sum(weight * curve[i][1] for weight, curve in zip(parts[i], curves, strict=True))
        costs.append(lmbdas[i] * loss + curves[0][i][0])
    return Balance(levels, tuple(lmbdas), tuple(costs), parts)


def prepared_for(task: Task, balance: Balance, x: Tensor, quality: float, slopes: Sequence[SlopeWatch] = ()) -> Any:
    """`prepared`, of a joint task with the weights of the balance at this quality; `slopes` watch its parts."""
    reference = prepared(task, x)
    return watched(reference, balance.weights(quality), slopes) if isinstance(task, JointTask) else reference


@torch.no_grad()
def notes_on_slopes(
    task: Task, slopes: Sequence[SlopeWatch], whole: Any, x_hat: Tensor, loss: float
) -> tuple[str, ...]:
    """What `no_slope` says of the task, else of parts of a joint one.

    `slopes` have what was seen of each patch, `whole` is the reference of the picture; `x_hat` and `loss` are of the
    untuned stream.
    """
    note = no_slope(task.name, slopes, loss)
    if note is not None or not isinstance(task, JointTask):
        return (note,) if note else ()
    found = []
    for i, part in enumerate(task.parts):
        if not whole.slopes[i].found:
            found.append(no_slope(part.label, [whole.slopes[i]], float(checked_loss(part.task, x_hat, whole.parts[i]))))
    return tuple(note for note in found if note)


def prepared_in_units(task: Task, codec: Codec, x: Tensor, quality: float, tiles: Tiles = WHOLE) -> Any:
    """`prepared`, then `in_units`."""
    return in_units(task, codec, x, prepared(task, x), quality, tiles)


def like(task: Task, x: Tensor, whole: Any) -> Any:
    """The reference of a patch, or a view, weighed and watched as that of the whole picture."""
    reference = prepared_like(task, x, whole)
    return watched(reference, whole.weights, whole.slopes) if isinstance(whole, WatchedReference) else reference


def watched(reference: JointReference, weights: Sequence[float], slopes: Sequence[SlopeWatch] = ()) -> WatchedReference:
    """The reference with these weights; slopes are looked at by watches of its own, or these."""
    return WatchedReference(reference.parts, tuple(weights), tuple(slopes) or tuple(SlopeWatch() for _ in weights))


def weights_in(reference: Any) -> tuple[float, ...]:
    """Those in the reference of a joint task, else none."""
    return reference.weights if isinstance(reference, JointReference) else ()


def weighed(task: Task, x: Tensor, weights: Sequence[float]) -> Any:
    """`prepared`, of a joint task with these weights."""
    reference = prepared(task, x)
    return watched(reference, weights) if weights else reference
