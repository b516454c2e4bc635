"""Random views: what a task's network is shown of the decoded picture at a step, in place of the picture itself.

A picture that is tuned for one view of one network comes to hold what only that network, and only there, takes for the
right thing. Seen a little larger, moved, mirrored and so on at every step, it has to hold what others see too (after
the input diversity of Xie et al., CVPR 2019, arXiv:1803.06978, which makes adversarial examples fool other networks).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["RandomView", "random_view"]

SCALE, ASPECT, SHIFT = 1.25, 1.1, 0.07
"""How much larger or smaller, how much of that in one direction alone, and how far aside, as a share of a side."""

NOISE = 4 / 255
"""Standard deviation, of numbers in [0, 1], at most."""


@dataclass(frozen=True)
class RandomView:
    """One view of pictures (B, 3, H, W), of the same size as they are; the same of each, and differentiable.

    The picture is scaled by `down` and `across`, and moved by these shares of its sides; what is missing then is
    continued by its last rows and columns. `reduced` is what the loss makes of a side of the picture: noise is as
    fine as what it sees.
    """

    down: float = 1.0
    across: float = 1.0
    lower: float = 0.0
    right: float = 0.0
    mirrored: bool = False
    noise: float = 0.0
    seed: int = 0
    reduced: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        x = self._placed(x.flip(3) if self.mirrored else x)
        return x + self._noise(x) if self.noise else x

    def _placed(self, x: Tensor) -> Tensor:
        """Scaled about its middle, and moved; cut, or continued, to the size it had."""
        height, width = x.shape[2:]
        scaled = max(1, round(self.down * height)), max(1, round(self.across * width))
        if scaled != (height, width):
            x = F.interpolate(x, scaled, mode="bilinear", antialias=True, align_corners=False)
        top = (scaled[0] - height) // 2 - round(self.lower * height)
        left = (scaled[1] - width) // 2 - round(self.right * width)
        x = x[..., max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
        before, above = max(0, -left), max(0, -top)
        missing = (before, width - before - x.shape[3], above, height - above - x.shape[2])
        return F.pad(x, missing, mode="replicate") if any(missing) else x

    def _noise(self, x: Tensor) -> Tensor:
        """(3, H, W), the same on every device."""
        height, width = x.shape[2:]
        seen = (max(1, round(self.reduced * height)), max(1, round(self.reduced * width)))
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randn(1, 3, *seen, generator=generator).to(x) * self.noise
        return F.interpolate(drawn, (height, width), mode="bilinear", align_corners=False)[0]


def random_view(kinds: Collection[str], seed: int, size: tuple[int, int], seen: tuple[int, int] | None) -> RandomView:
    """A view of these kinds, the same for the same seed; what one kind draws does not depend on the others.

    `size` is the height and width of the picture, and `seen` what the loss makes of it, if that is less.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = (2 * torch.rand(len(_DRAWN), generator=generator) - 1).tolist()
    sides = dict(zip(_DRAWN, drawn, strict=True))
    scale, aspect = (most ** sides[name] for most, name in ((SCALE, "scale"), (ASPECT, "aspect")))
    found = RandomView(reduced=min(1.0, *(less / side for less, side in zip(seen or size, size, strict=True))))
    if "scale" in kinds:
        found = replace(found, down=scale * aspect, across=scale / aspect)
    if "shift" in kinds:
        found = replace(found, lower=SHIFT * sides["lower"], right=SHIFT * sides["right"])
    if "flip" in kinds:
        found = replace(found, mirrored=sides["mirrored"] > 0)
    if "noise" in kinds:
        found = replace(found, noise=NOISE * abs(sides["noise"]), seed=seed)
    return found


_DRAWN = ("scale", "aspect", "lower", "right", "mirrored", "noise")
