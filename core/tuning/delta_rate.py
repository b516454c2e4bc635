"""The differentiable side of coding singular values: rounding with a gradient, and the rate that goes into the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from taskodec.stream.spike_slab import ALPHA, SLAB, SPIKE

__all__ = ["laplace_bits", "quantize_ste", "spike_slab_bits"]

MEAN_RANGE = (0.05, 1e4)
"""Mean |q| of open groups, at which the rate's slope stops growing or falling."""


def quantize_ste(delta: Tensor, step: float) -> Tensor:
    """`round(delta / step)`, with the gradient of `delta / step`; times `step` it is what the decoder adds."""
    scaled = delta / step
    return scaled + (torch.round(scaled) - scaled).detach()


def laplace_bits(q: Tensor, groups: Sequence[int]) -> Tensor:
    """A smooth stand-in for `delta_bits`: a scalar whose gradient pulls values, and small groups at once, to zero.

    `q` (sum of groups,) is in units of the step, rounded or not. Values cost what a two-sided geometric
    distribution charges them; its ratio is the maximum-likelihood one for the mean |q| of the open groups, and
    is held constant in the gradient. The fixed cost of opening a group is charged by `1 - exp(-sum |q|)`,
    nearly all of it once the group's sum is above 2. The 12 bits of table numbers are left out.
    """
    magnitude = q.abs()
    sums = torch.stack([group.sum() for group in torch.split(magnitude, list(groups))])  # (groups,)
    sizes = torch.tensor(list(groups), dtype=q.dtype, device=q.device)
    with torch.no_grad():
        is_open = sums >= 0.5
        mean = ((sums * is_open).sum() / (sizes * is_open).sum().clamp_min(1)).clamp(*MEAN_RANGE)
        ratio = (torch.sqrt(1 + mean**2) - 1) / mean  # solves mean = 2 ratio / (1 - ratio²)
        slope, zero = -torch.log2(ratio), torch.log2((1 + ratio) / (1 - ratio))
        chance = is_open.to(q.dtype).mean().clamp(1 / 64, 63 / 64)
        closed = -torch.log2(1 - chance)
        opening = (zero * sizes - torch.log2(chance) - closed).clamp_min(0)  # (groups,)
    openness = 1 - torch.exp(-sums)
    return (opening * openness).sum() + closed * len(groups) + slope * magnitude.sum()


def spike_slab_bits(values: Tensor, step: float) -> Tensor:
    """What singular values (n,), not in steps, take under the published prior: see `taskodec.stream.spike_slab`."""
    densities = [
        math.log(weight / scale) - (values / scale).square() / 2 for weight, scale in ((1, SLAB), (ALPHA, SPIKE))
    ]
    constant = math.log(step / ((1 + ALPHA) * math.sqrt(2 * math.pi)))
    return -(torch.logaddexp(*densities) + constant).sum() / math.log(2)
