"""The weight of a task's loss where nobody has set one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from taskodec.checks import checked_loss
from taskodec.coding import decoded_picture
from taskodec.contracts import Codec, Task
from taskodec.errors import TaskError
from taskodec.images import pad_to, to_8bit
from taskodec.tiles import WHOLE, Tiles

__all__ = ["calibrate_lmbda"]


def calibrate_lmbda(codec: Codec, task: Task, x: Tensor, reference: Any, quality: float, tiles: Tiles = WHOLE) -> float:
    """The weight at which the untuned codec is in balance: the slope of its own rate-loss curve at `quality`.

    With it, going to a neighbouring quality would neither raise nor lower the cost, so the loss of any task, in
    any unit, is weighed as the codec weighs distortion. A codec with one fixed rate has no slope; there the
    loss of the untuned picture gets the weight of its rate.
    """
    first, last = codec.qualities[0], codec.qualities[-1]
    around = (max(first, quality - 0.5), min(last, quality + 0.5)) if codec.continuous else (quality,)
    points = [_rate_and_loss(codec, task, x, reference, q, tiles) for q in around]
    if len(points) == 2 and points[1][0] > points[0][0] and points[0][1] > points[1][1]:
        return (points[1][0] - points[0][0]) / (points[0][1] - points[1][1])
    bpp, loss = _rate_and_loss(codec, task, x, reference, quality, tiles)
    if loss <= 0:
        raise TaskError(
            f"task {task.name!r}: its loss is {loss:g} before tuning, so no weight can be derived from it; "
            "set task.lmbda"
        )
    return bpp / loss


@torch.no_grad()
def _rate_and_loss(
    codec: Codec, task: Task, x: Tensor, reference: Any, quality: float, tiles: Tiles
) -> tuple[float, float]:
    height, width = x.shape[2:]
    padded = pad_to(x, codec.stride)
    coded = codec.entropy(tiles.analysis(codec, padded, quality), quality, "hard")
    x_hat = to_8bit(decoded_picture(codec, coded.y_hat, quality, (height, width), tiles))
    return float(coded.bits) / (height * width), float(checked_loss(task, x_hat, reference))
