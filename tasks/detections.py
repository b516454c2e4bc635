"""Objects found in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
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

    def scaled(self, size: Sequence[int], to: Sequence[int]) -> Detections:
        """The same in pixels of the same picture at another size; sizes are height and width.

        Of masks, the pixel that is nearest.
        """
        if list(size) == list(to):
            return self
        high, wide = (wanted / side for wanted, side in zip(to, size, strict=True))
        boxes = self.boxes * self.boxes.new_tensor([wide, high, wide, high])
        if self.masks is None:
            return replace(self, boxes=boxes)
        rows, columns = (
            ((torch.arange(wanted, device=boxes.device) + 0.5) * side / wanted).long()
            for wanted, side in zip(to, size, strict=True)
        )
        return replace(self, boxes=boxes, masks=self.masks[:, rows][:, :, columns])
