"""BodyPix, person or not of every pixel, from its published ONNX file (Google's for TensorFlow.js; Apache-2.0)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.plugins.networks.onnx_modules import convert, read_graph
from taskodec.plugins.networks.zoo import BODYPIX
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import Pixels, View

__all__ = ["BodyPix", "bodypix"]

ENTRY = "input"
LEVELS = tuple(f"MobilenetV1/Conv2d_{number}_pointwise/Relu6:0" for number in (3, 5, 13))
SCORE = "segments"
SIDE, STRIDE = 513, 16
PERSON = 1
"""COCO's category."""


class BodyPix(FeatureNetwork):
    """MobileNetV1's levels at 1/4, 1/8 and 1/16 as features; scores of background and person (B, 2, H, W) as outputs.

    It takes sides of 16 k + 1 pixels, to which pictures are continued: then a cell lies on every 16th pixel, the first
    and the last among them. It is shown the picture fit into 513x513.
    """

    view = View(letterbox=(SIDE, SIDE), grey=0.5)
    pixels: Pixels = Pixels((1.0, 1.0, 1.0), white=2.0)
    min_side = 2 * STRIDE + 1
    in_coco = (0, PERSON)

    def __init__(self, file: Path) -> None:
        super().__init__()
        graph = read_graph(file)
        self.trunk = convert(graph, [ENTRY], LEVELS, file)
        self.whole = convert(graph, [ENTRY], [SCORE], file)

    def features(self, x: Tensor) -> list[Tensor]:
        found = [self.trunk(one) for one in self._inputs(x)]
        return [torch.cat(level) for level in zip(*found, strict=True)]

    def outputs(self, x: Tensor) -> Tensor:
        cells = torch.cat([self.whole(one) for one in self._inputs(x)]).permute(0, 3, 1, 2)  # (B, h, w, 1) -> NCHW
        height, width = x.shape[2:]
        whole = [(cells.shape[2] - 1) * STRIDE + 1, (cells.shape[3] - 1) * STRIDE + 1]
        person = F.interpolate(cells, whole, mode="bilinear", align_corners=True)[..., :height, :width]
        return torch.cat([torch.zeros_like(person), person], 1)

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """What the graph takes, one by one: (1, 16 k + 1, 16 l + 1, 3) from -1 to 1."""
        height, width = x.shape[2:]
        fitted = F.pad(x, (0, (1 - width) % STRIDE, 0, (1 - height) % STRIDE), mode="replicate")
        return [one[None] for one in self.pixels(fitted).permute(0, 2, 3, 1)]  # NCHW -> NHWC


def bodypix(weights: str | Path | None = None, offline: bool = False) -> BodyPix:
    """BodyPix with half of MobileNetV1's channels and stride 16, 0.6 million parameters."""
    return BodyPix(BODYPIX.find(weights, offline))
