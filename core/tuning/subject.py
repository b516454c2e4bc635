"""One image that is tuned, or a patch of it, and all that what its file costs depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from taskodec.coding.streams import padded
from taskodec.contracts import Adapter, Codec, Task
from taskodec.tuning.patches import Area, areas
from taskodec.tuning.units import like

__all__ = ["Subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """An image of `size` (height, width) for a codec at a quality and a task.

    `adapter`, if there is one, is applied to the codec while a cost is computed; `reference` is what the task keeps of
    the original, and `lmbda` the weight of its loss against bits per pixel. `area` is None, or where in the padded
    picture of the image this lies, as a patch with `share` of its pixels. `x` is the original (1, 3, H, W), for
    random views of it.
    """

    codec: Codec
    adapter: Adapter | None
    task: Task
    quality: float
    size: tuple[int, int]
    reference: Any
    lmbda: float
    area: Area | None = None
    share: float = 1.0
    x: Tensor | None = None

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]

    @torch.no_grad()
    def in_patches(self, x: Tensor, side: int | None) -> list[Subject]:
        """The patches of this image x (1, 3, H, W), each with the task's reference.

        Only itself where it fits into one, or without a side.
        """
        (height, width), stride = self.size, self.codec.stride
        if side is None or max(height, width) <= side:
            return [self]
        full = (padded(height, stride), padded(width, stride))
        found = []
        for area in areas(full, side, stride):
            patch = x[:, :, area.top : area.bottom, area.left : area.right].contiguous()
            size = (patch.shape[2], patch.shape[3])
            share, reference = size[0] * size[1] / self.pixels, like(self.task, patch, self.reference)
            found.append(replace(self, size=size, reference=reference, area=area, share=share, x=patch))
        return found
