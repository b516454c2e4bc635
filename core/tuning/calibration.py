"""The weight of a task's loss where nobody has set one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taskodec.coding.streams import decoded_picture
from taskodec.coding.tiles import WHOLE, Tiles
from taskodec.console.terminal import shown
from taskodec.contracts import Codec, Task
from taskodec.errors import TaskError
from taskodec.images.tensors import pad_to, to_8bit
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import prepared, weight_of

__all__ = [
    "Balance",
    "calibrate_lmbda",
    "mean_curves",
    "measure_balance",
    "rate_and_loss",
    "slope_or_rate",
    "smooth_slopes",
    "untuned",
]

TINY = 1e-12
"""Losses and rates below it count as this, where their logarithm is taken."""

Point = tuple[float, float]
"""Bits per pixel, and the task's loss."""


@dataclass(frozen=True)
class Balance:
    """At each quality, the weight of a task's loss, and the cost `lmbda * loss + bpp` of the untuned codec.

    Between two qualities all follow a power law. `parts` has, of a joint task, at each quality the weight of each part
    in the joint loss.
    """

    qualities: tuple[float, ...]
    lmbdas: tuple[float, ...]
    costs: tuple[float, ...]
    parts: tuple[tuple[float, ...], ...] = ()

    def lmbda(self, quality: Tensor) -> Tensor:
        """Weights for qualities (B,)."""
        return self._between(quality, self.lmbdas)

    def cost(self, quality: Tensor) -> Tensor:
        """Costs of the untuned codec at qualities (B,)."""
        return self._between(quality, self.costs)

    def weights(self, quality: float) -> tuple[float, ...]:
        """Of the parts of a joint task at this quality."""
        columns = zip(*self.parts, strict=True)
        return tuple(float(self._between(torch.tensor([quality]), column)[0]) for column in columns)

    def state(self) -> dict[str, list[Any]]:
        """The same numbers as plain lists."""
        return {name: list(values) for name, values in asdict(self).items() if values or name != "parts"}

    @classmethod
    def of(cls, state: Mapping[str, Sequence[Any]]) -> Balance:
        """What `state` gave; ValueError for anything else."""
        lists = {name: tuple(map(float, state[name])) for name in ("qualities", "lmbdas", "costs")}
        parts = tuple(tuple(map(float, row)) for row in state.get("parts", ()))
        columns = zip(*parts, strict=True)  # which raises for unequal lengths, as the array does
        found = np.array([*lists.values(), *columns])
        if not np.isfinite(found).all() or not (found[1:] > 0).all():
            raise ValueError(f"found {shown(lists)}, expected qualities, and weights and costs above zero")
        return cls(**lists, parts=parts)

    def _between(self, quality: Tensor, values: tuple[float, ...]) -> Tensor:
        known = np.exp(np.interp(quality.cpu().numpy(), self.qualities, np.log(values)))
        return torch.from_numpy(known).to(torch.float32)


def calibrate_lmbda(codec: Codec, task: Task, x: Tensor, reference: Any, quality: float, tiles: Tiles = WHOLE) -> float:
    """The weight at which the untuned codec is in balance: the slope of its own rate-loss curve at `quality`.

    With it, going to a neighbouring quality would neither raise nor lower the cost, so the loss of any task, in
    any unit, is weighed as the codec weighs distortion. A codec with one fixed rate has no slope; there the
    loss of the untuned picture gets the weight of its rate.
    """
    slope = _slope([rate_and_loss(codec, task, x, reference, q, tiles) for q in _around(codec, quality)])
    return slope or _weight_of_rate(task, rate_and_loss(codec, task, x, reference, quality, tiles))


def untuned(codec: Codec, x: Tensor, quality: float, tiles: Tiles = WHOLE) -> list[tuple[float, Tensor]]:
    """Estimated bits per pixel and the 8-bit picture (1, 3, H, W) of the untuned codec, around this quality."""
    return [_coded(codec, x, q, tiles) for q in _around(codec, quality)]


def slope_or_rate(task: Task, points: Sequence[Point], farthest: float) -> float:
    """The slope between two points, or the weight of the rate, from which it differs by this factor at most."""
    bpp, loss = (math.exp(fmean(math.log(max(v, TINY)) for v in column)) for column in zip(*points, strict=True))
    level = _weight_of_rate(task, (bpp, loss if max(v for _, v in points) > 0 else 0.0))
    slope = _slope(list(points)) or level
    return min(max(slope, level / farthest), level * farthest)


def measure_balance(
    codec: Codec,
    task: Task,
    crops: Tensor,
    lmbda: float | Mapping[float, float] | None = None,
    lmbda_scale: float = 1.0,
) -> Balance:
    """The balance of the untuned codec over crops (B, 3, S, S), at all its qualities.

    The weights are `lmbda` if given, one for all or by quality, else the task's own, else the slopes of the mean
    rate-loss curve, smoothed: see `smooth_slopes`; all are multiplied by `lmbda_scale`. TaskError when no weight can be
    derived.
    """
    levels = tuple(codec.qualities)
    given = [lmbda.get(q) if isinstance(lmbda, Mapping) else lmbda for q in levels]
    own = [weight if weight is not None else weight_of(task, codec, q) for q, weight in zip(levels, given, strict=True)]
    (curve,) = mean_curves(codec, [task], crops)
    weights = [lmbda_scale * (weight or slope) for weight, slope in zip(own, slopes_of(task, curve, own), strict=True)]
    costs = tuple(weight * loss + bpp for weight, (bpp, loss) in zip(weights, curve, strict=True))
    return Balance(levels, tuple(weights), costs)


@torch.no_grad()
def mean_curves(codec: Codec, tasks: Sequence[Task], crops: Tensor) -> list[list[Point]]:
    """Of each task mean rate and loss over the crops (B, 3, S, S), at all the codec's qualities."""
    points = np.zeros((len(tasks), len(codec.qualities), 2))
    for x in torch.split(crops, 1):
        references = [prepared(task, x) for task in tasks]
        for i, quality in enumerate(codec.qualities):
            bpp, x_hat = _coded(codec, x, quality, WHOLE)
            losses = [float(checked_loss(*each)) for each in zip(tasks, repeat(x_hat), references, strict=False)]
            points[:, i] += [(bpp, loss) for loss in losses]
    return [[(bpp, loss) for bpp, loss in rows] for rows in (points / len(crops)).tolist()]


def slopes_of(task: Task, curve: Sequence[Point], known: Sequence[float | None]) -> list[float]:
    """The slope at each point of a mean curve, or the weight of its rate; 0 where there is neither and none is needed.

    That is where a weight is `known`. TaskError where one is needed.
    """
    smooth = smooth_slopes(curve)
    return [
        slope or (0.0 if weight and point[1] <= 0 else _weight_of_rate(task, point))
        for slope, weight, point in zip(smooth, known, curve, strict=True)
    ]


@torch.no_grad()
def rate_and_loss(
    codec: Codec, task: Task, x: Tensor, reference: Any, quality: float, tiles: Tiles = WHOLE
) -> tuple[float, float]:
    """Estimated bits per pixel of an image (1, 3, H, W), and the task's loss on its decoded 8-bit picture."""
    bpp, x_hat = _coded(codec, x, quality, tiles)
    return bpp, float(checked_loss(task, x_hat, reference))


@torch.no_grad()
def _coded(codec: Codec, x: Tensor, quality: float, tiles: Tiles) -> tuple[float, Tensor]:
    """Estimated bits per pixel of an image (1, 3, H, W), and its decoded 8-bit picture."""
    height, width = x.shape[2:]
    padded = pad_to(x, codec.stride)
    coded = codec.entropy(tiles.analysis(codec, padded, quality), quality, "hard")
    x_hat = to_8bit(decoded_picture(codec, coded.y_hat, quality, (height, width), tiles))
    return float(coded.bits) / (height * width), x_hat


def _around(codec: Codec, quality: float) -> tuple[float, ...]:
    """Two qualities between which the slope is taken, or the only one there is."""
    first, last = codec.qualities[0], codec.qualities[-1]
    return (max(first, quality - 0.5), min(last, quality + 0.5)) if codec.continuous else (quality,)


def smooth_slopes(points: Sequence[Point]) -> list[float | None]:
    """Rate for loss along a curve, at each of its points; None where there is no trade-off.

    Taken from a parabola through the logarithms of loss over rate: losses of networks on few pictures are noisy, and
    differences of neighbours would be noise. Three points at least are needed.
    """
    if len(points) < 3 or min(min(point) for point in points) <= 0:
        return [None] * len(points)
    rates, losses = np.array(points).T
    curve = np.polyfit(np.log(rates), np.log(losses), 2)
    falls = -np.polyval(np.polyder(curve), np.log(rates))  # d log loss / d log rate, sign changed
    smooth = np.exp(np.polyval(curve, np.log(rates)))
    return [float(r / (f * v)) if f > 0 else None for r, f, v in zip(rates, falls, smooth, strict=True)]


def _slope(points: list[Point]) -> float | None:
    """Rate for loss between two points; None where there is no trade-off."""
    if len(points) == 2 and points[1][0] > points[0][0] and points[0][1] > points[1][1]:
        return (points[1][0] - points[0][0]) / (points[0][1] - points[1][1])
    return None


def _weight_of_rate(task: Task, point: Point) -> float:
    bpp, loss = point
    if loss <= 0:
        raise TaskError(
            f"task {task.name!r}: its loss is {loss:g} before tuning, so no weight can be derived from it; "
            "set task.lmbda"
        )
    return bpp / loss
