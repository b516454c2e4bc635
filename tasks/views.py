"""How a picture is shown to a network: scaled, cut, continued, and in which numbers. All of it is differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

__all__ = ["AS_IS", "Pixels", "Place", "View"]

Size = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True)
class Place:
    """Where a picture lies in what a network sees of it.

    The picture of `size` is scaled to `scaled`; what is seen is of `seen`, and its corner is `top` and `left` in the
    scaled picture: above 0 where that is cut, below 0 where it is continued.
    """

    size: Size
    scaled: Size
    seen: Size
    top: int = 0
    left: int = 0

    @property
    def same(self) -> bool:
        """Whether the picture is seen as it is, pixel by pixel, and nothing beside it."""
        return self.size == self.scaled == self.seen and not (self.top or self.left)

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of what is seen that show the picture, and not what it is continued with."""
        rows, columns = (
            slice(max(0, -start), min(seen, scaled - start))
            for start, seen, scaled in zip((self.top, self.left), self.seen, self.scaled, strict=True)
        )
        return rows, columns

    def boxes(self, found: Tensor) -> Tensor:
        """Boxes x1, y1, x2, y2 (N, 4) in the pixels that are seen, in those of the picture and within it."""
        if self.same:
            return found
        height, width = self.size
        down, across = height / self.scaled[0], width / self.scaled[1]
        moved = found + found.new_tensor([self.left, self.top] * 2)
        moved = moved * moved.new_tensor([across, down] * 2)
        return moved.clamp(min=0).minimum(moved.new_tensor([width, height] * 2))

    def masks(self, found: Tensor) -> Tensor:
        """Masks (N, h, w) of what is seen as masks (N, H, W) of the picture; what was cut off is in none."""
        if self.same:
            return found
        rows, columns = self.inside
        whole = found.new_zeros(len(found), *self.scaled)
        top, left = self.top, self.left
        part = whole[:, rows.start + top : rows.stop + top, columns.start + left : columns.stop + left]
        part.copy_(found[:, rows, columns])
        if self.scaled == self.size:
            return whole
        if not len(found):
            return found.new_zeros(0, *self.size)
        return F.interpolate(whole[:, None].float(), self.size, mode="nearest-exact")[:, 0] >= 0.5


@dataclass(frozen=True)
class View:
    """How a network's owner shows it pictures; without any field, as they are.

    At most one of these says how a picture is scaled: `short`, its shorter side in pixels, unless the longer one would
    then have more than `longest`; `size`, height and width, whatever its shape; `letterbox`, height and width that it
    is scaled to fit into, and continued to; `scale`, a factor. `crop` is the height and width of the middle that is
    cut out then. What is continued is so in `grey`, a number from 0 to 1, or by its last rows and columns without one,
    at the right and the bottom, or at all sides if `centred`.

    Pictures are enlarged as well as reduced. Sides are rounded down, as by torchvision and YOLOX, or to the nearest if
    `nearest`, as by detectron2. `antialias` is for what is reduced.
    """

    short: int | None = None
    longest: int | None = None
    size: Size | None = None
    letterbox: Size | None = None
    scale: float | None = None
    crop: Size | None = None
    grey: float | None = None
    centred: bool = False
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    nearest: bool = False

    @property
    def seen(self) -> Size | None:
        """What every picture becomes, or None where that depends on the picture."""
        return self.crop or self.letterbox or self.size

    def place(self, height: int, width: int, stride: int = 1, smallest: int = 1) -> Place:
        """What becomes of a picture of this size, continued to multiples of `stride` and at least `smallest`."""
        scaled = self._scaled(height, width)
        seen = self.crop or self.letterbox or scaled
        starts = [0, 0]
        if self.crop is not None:
            starts = [round((have - want) / 2.0) for have, want in zip(scaled, seen, strict=True)]  # torchvision's
        elif self.centred:
            starts = [-((want - have) // 2) for have, want in zip(scaled, seen, strict=True)]
        fitted = tuple(-(-max(side, smallest) // stride) * stride for side in seen)
        return Place((height, width), scaled, (fitted[0], fitted[1]), starts[0], starts[1])

    def show(self, x: Tensor, place: Place) -> Tensor:
        """What is seen of pictures (B, C, H, W) in [0, 1], as `place` says."""
        if place.same:
            return x
        if place.scaled != place.size:
            x = F.interpolate(x, place.scaled, mode=self.interpolation, antialias=self.antialias, align_corners=False)
            x = x.clamp(0, 1) if self.interpolation == "bicubic" else x  # it overshoots
        rows, columns = place.inside
        top, left = place.top, place.left
        x = x[..., rows.start + top : rows.stop + top, columns.start + left : columns.stop + left]
        height, width = place.seen
        missing = (columns.start, width - columns.stop, rows.start, height - rows.stop)
        if not any(missing):
            return x
        return F.pad(x, missing, mode="replicate") if self.grey is None else F.pad(x, missing, value=self.grey)

    def _scaled(self, height: int, width: int) -> Size:
        if self.size is not None:
            return self.size
        low, high = min(height, width), max(height, width)
        if self.short is not None and self.longest is None:  # torchvision's, which multiplies first
            sides = [self.short * side / low for side in (height, width)]
        else:
            factor = 1.0
            if self.short is not None and self.longest is not None:
                factor = min(self.short / low, self.longest / high)
            elif self.letterbox is not None:
                factor = min(self.letterbox[0] / height, self.letterbox[1] / width)
            elif self.scale is not None:
                factor = self.scale
            sides = [side * factor for side in (height, width)]
        rounded = [max(1, int(side + 0.5 if self.nearest else side)) for side in sides]
        return rounded[0], rounded[1]


AS_IS = View()
"""Pictures at their own size."""


@dataclass(frozen=True)
class Pixels:
    """The numbers that a network takes: `(white * picture - mean) / std`, blue first if `bgr`."""

    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    white: float = 1.0
    bgr: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Of RGB pictures (B, 3, H, W) in [0, 1]; means and deviations are in the network's order of channels."""
        x = x.flip(1) if self.bgr else x
        mean, std = (x.new_tensor(list(v)).view(1, -1, 1, 1) for v in (self.mean, self.std))  # (3,) -> (1, 3, 1, 1)
        return (self.white * x - mean) / std
