"""What tuning lowers: the cost of one image's file, as a differentiable function of the tuned state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taskodec.checks import checked_loss
from taskodec.contracts import Adapter, Codec, Rounding, Task
from taskodec.delta import STEPS
from taskodec.delta_rate import laplace_bits, quantize_ste
from taskodec.images import crop_to
from taskodec.phases import Point

__all__ = ["TUNING_STEP", "Estimate", "Objective"]

TUNING_STEP = 10
"""Number in `STEPS` of the step (1/32) that singular values are rounded to while they are tuned.

Fine enough that the first values to leave zero, many at once, do not wreck the picture; coarser and finer
ones are tried when the stream is written.
"""


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
    ) -> None:
        self.codec, self.adapter, self.task = codec, adapter, task
        self.quality, self.size = quality, size
        self.reference, self.lmbda = reference, lmbda

    def __call__(self, point: Point, rounding: Rounding) -> Estimate:
        """Differentiable unless the rounding is hard.

        FloatingPointError when the picture is not finite: tuning has diverged, and the task is not to blame.
        """
        coded = self.codec.entropy(point.latents, self.quality, rounding)
        bpp = (coded.bits.sum() + self._delta_bits(point.delta)) / (self.size[0] * self.size[1])
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

    def _delta_bits(self, delta: Tensor) -> Tensor:
        """Give the decoder the rounded delta; what it takes in the stream."""
        if self.adapter is None:
            return delta.new_zeros(())
        symbols = quantize_ste(delta, STEPS[TUNING_STEP])
        if not delta.requires_grad and not bool(symbols.any()):
            self.adapter.set_delta(None)
            return delta.new_zeros(())
        self.adapter.set_delta(symbols * STEPS[TUNING_STEP])
        return laplace_bits(symbols, self.adapter.delta_groups)
