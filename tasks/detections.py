"""Objects found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Detections"]


@dataclass(frozen=True)
class Detections:
    """The objects of one picture: boxes (N, 4) as x1, y1, x2, y2 in its pixels, scores (N,) and categories (N,).

    Categories are COCO's ids (1 to 90). `masks` (N, H, W) of booleans, for networks that give them.
    """

    boxes: Tensor
    scores: Tensor
    categories: Tensor
    masks: Tensor | None = None
