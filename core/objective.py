"""What tuning lowers: the cost of one image's file, as a differentiable function of the tuned state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taskodec.checks import checked_loss
from taskodec.contracts import Adapter, Codec, Rounding, Task
from taskodec.images import crop_to
from taskodec.phases import Point
from taskodec.travel import Travel

__all__ = ["Estimate", "Objective"]


@dataclass(frozen=True)
class Estimate:
    """Of a state that has not been written: the task's loss, the file's bits per pixel, and `lmbda * loss + bpp`."""

    loss: Tensor
    bpp: Tensor
    cost: Tensor


class Objective:
    """The cost of a file of `size` (height, width); `adapter`, if there is one, is attached to the codec."""

    def __init__(
        self,
        codec: Codec,
        adapter: Adapter | None,
        task: Task,
        quality: float,
        size: tuple[int, int],
        reference: Any,
        lmbda: float,
        travel: Travel | None = None,
    ) -> None:
        self.codec, self.adapter, self.task = codec, adapter, task
        self.quality, self.size = quality, size
        self.reference, self.lmbda = reference, lmbda
        self.travel = travel or Travel(adapter)

    def __call__(self, point: Point, rounding: Rounding) -> Estimate:
        """Differentiable unless the rounding is hard.

        FloatingPointError when the picture is not finite: tuning has diverged, and the task is not to blame.
        """
        coded = self.codec.entropy(point.latents, self.quality, rounding)
        adapter_bits = self.travel.set(point.delta, sent=rounding == "hard")
        bpp = (coded.bits.sum() + adapter_bits) / (self.size[0] * self.size[1])
        x_hat = crop_to(self.codec.synthesis(coded.y_hat, self.quality), *self.size)
        if not bool(torch.isfinite(x_hat).all()):
            raise FloatingPointError("tuning diverged")
        x_hat = x_hat + (x_hat.clamp(0, 1) - x_hat).detach()  # clamped, but with a gradient everywhere
        loss = checked_loss(self.task, x_hat, self.reference)
        return Estimate(loss, bpp, self.lmbda * loss + bpp)

    @torch.no_grad()
    def rounded(self, point: Point) -> float:
        """The cost of a state as it would be sent; infinite where tuning has diverged."""
        try:
            return float(self(point, "hard").cost)
        except FloatingPointError:
            return float("inf")
