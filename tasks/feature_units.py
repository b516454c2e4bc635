"""What the distance of features counts beside outputs: what its levels weigh, and what a unit of it is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

__all__ = ["FeatureReference", "halved", "level_weights"]

LEAST_VARIANCE = 0.01
"""Of features, in parts of their mean square."""


@dataclass(frozen=True)
class FeatureReference:
    """What is kept of the original: its feature maps, or what the divergence of outputs needs."""

    features: Sequence[Tensor] = ()
    outputs: Any = None
    unit: float = 0.0
    """How far outputs diverge where the distance of features is 1, of the original made a little worse."""
    layers: Sequence[float] | None = None
    """What levels weigh, None for all alike: as the task says, else beside outputs one over the variance of each."""


def halved(x: Tensor) -> Tensor:
    """Pictures (B, 3, h, w) without their finest detail."""
    height, width = x.shape[2:]
    small = F.interpolate(x, (max(1, height // 2), max(1, width // 2)), mode="area")
    return F.interpolate(small, (height, width), mode="bilinear", align_corners=False)


def level_weights(features: Sequence[Tensor]) -> list[float]:
    """One over the variance of each level of an original's features within their channels, 0 for one that is all 0.

    That counts as a hundredth of their mean square at least: those of a flat picture hardly vary.
    """
    spread = []
    for level in features:
        variance = level.float().flatten(min(2, level.dim() - 1)).var(-1, correction=0).mean()  # (1, C) before the mean
        spread.append(max(float(variance), LEAST_VARIANCE * float(level.float().square().mean())))
    return [1 / one if one > 0 else 0.0 for one in spread]
