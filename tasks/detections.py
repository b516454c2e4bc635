"""Objects found in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Detections", "coco_names"]


@dataclass(frozen=True)
class Detections:
    """The objects of one picture: boxes (N, 4) as x1, y1, x2, y2 in its pixels, scores (N,) and categories (N,).

    Categories are COCO's ids (1 to 90), or 1 to K of a network's own if not `of_coco`. `masks` (N, H, W) of booleans,
    for networks that give them.
    """

    boxes: Tensor
    scores: Tensor
    categories: Tensor
    masks: Tensor | None = None
    of_coco: bool = True

    def scaled(self, size: Sequence[int], to: Sequence[int]) -> Detections:
        """The same in pixels of the same picture at another size; sizes are height and width."""
        if list(size) == list(to):
            return self
        high, wide = (wanted / side for wanted, side in zip(to, size, strict=True))
        boxes = self.boxes * self.boxes.new_tensor([wide, high, wide, high])
        if self.masks is None:
            return replace(self, boxes=boxes)
        masks = [interpolate(mask[None, None].float(), list(to), mode="bilinear")[0, 0] > 0.5 for mask in self.masks]
        return replace(self, boxes=boxes, masks=torch.stack(masks) if masks else self.masks.new_zeros(0, *to))


@cache
def coco_names() -> Sequence[str]:
    """What COCO's categories are called, by id."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    return tuple(FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"])
