"""The part of a picture that is used: scaled by its short side, and the middle of that, as data sets are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

from torch import Tensor

from taskodec.images.tensors import MAX_PIXELS, load_image, to_pil

__all__ = ["WHOLE", "Framing"]


@dataclass(frozen=True)
class Framing:
    """`resize` is the short side that pictures are scaled to, `center_crop` the side of the square cut from the middle.

    Both in pixels, None for not at all. They are torchvision's, on pictures of 8 bits as Pillow scales them.
    `eval_size` comes before: the short side that whole pictures are scaled to, unless the long one would then have more
    than its second number; it is detectron2's `ResizeShortestEdge`.
    """

    resize: int | None = None
    center_crop: int | None = None
    eval_size: tuple[int, int] | None = None

    def load(self, source: Path | IO[bytes], max_pixels: int = MAX_PIXELS) -> Tensor:
        """The picture of a file, (1, 3, H, W) in [0, 1]; ImageError if it cannot be read."""
        x = load_image(source, max_pixels=max_pixels).x
        if self == WHOLE:
            return x
        from torchvision.transforms import functional as transforms

        picture = to_pil(x)
        if self.eval_size is not None:
            picture = transforms.resize(picture, self._scaled(*x.shape[2:]))
        if self.resize is not None:
            picture = transforms.resize(picture, [self.resize])
        if self.center_crop is not None:
            picture = transforms.center_crop(picture, [self.center_crop])
        return load_image(picture, max_pixels=max_pixels).x

    def _scaled(self, *sides: int) -> list[int]:
        """Height and width after `eval_size`, rounded as detectron2 does."""
        assert self.eval_size is not None
        factor = min(self.eval_size[0] / min(sides), self.eval_size[1] / max(sides))
        return [int(side * factor + 0.5) for side in sides]

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Height and width of what becomes of a picture of this size."""
        sides = [height, width]
        if self.eval_size is not None:
            sides = self._scaled(*sides)
        if self.resize is not None:
            short = min(sides)
            sides = [int(self.resize * side / short) for side in sides]
        return (sides[0], sides[1]) if self.center_crop is None else (self.center_crop, self.center_crop)


WHOLE = Framing()
"""The picture as it is."""
