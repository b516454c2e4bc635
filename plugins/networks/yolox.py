"""YOLOX detectors from their published ONNX files (Ge et al. 2021, arXiv:2107.08430; Apache-2.0)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from taskodec.plugins.networks.boxes import suppress
from taskodec.plugins.networks.onnx_modules import convert, read_graph
from taskodec.plugins.networks.zoo import YOLOX_NANO
from taskodec.tasks.detection import Detector
from taskodec.tasks.detections import Detections
from taskodec.tasks.views import Pixels, View

__all__ = ["YOLOX_NANO_TENSORS", "YoloX", "YoloXTensors", "yolox_nano"]

SIDE = 416
GREY = 114
STRIDE = 32
LEVEL_STRIDES = (8, 16, 32)

NANO_VARIANCES = (0.0618, 0.1536, 0.2108)
"""Variance of each level's features within their channels, mean over channels, on 100 COCO photographs."""


@dataclass(frozen=True)
class YoloXTensors:
    """Names of tensors in the graph of a file.

    `stem` is the picture with every 2x2 pixels stacked, `features` are what the head takes, `levels` the predictions
    (B, 5 + K, h, w), one for each of the features.
    """

    stem: str
    features: tuple[str, str, str]
    levels: tuple[str, str, str]


YOLOX_NANO_TENSORS = YoloXTensors(
    "input", ("input.471", "input.531", "input.591"), ("onnx::Shape_1066", "onnx::Shape_1108", "output.1")
)


class YoloX(Detector):
    """A YOLOX detector; its features are the three levels that its head takes, at 1/8, 1/16 and 1/32.

    It is shown the picture scaled to fit into 416x416 pixels, and continued in grey at the right or at the bottom.
    """

    view = View(letterbox=(SIDE, SIDE), grey=GREY / 255)
    pixels: Pixels = Pixels(white=255, bgr=True)
    min_side = 1
    stride = STRIDE

    def __init__(
        self,
        file: Path,
        tensors: YoloXTensors = YOLOX_NANO_TENSORS,
        *,
        variances: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        graph = read_graph(file)
        self.trunk = convert(graph, [tensors.stem], tensors.features, file)
        self.head = convert(graph, tensors.features, tensors.levels, file)
        self.to(memory_format=torch.channels_last)
        self.variances = variances

    def features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = list(self.trunk(self._stem(x)))
        return found

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        features = self.features(x)
        levels = [_decode(level, s) for level, s in zip(self.head(*features), LEVEL_STRIDES, strict=True)]
        anchors = torch.cat(levels, 1)  # (B, A, 5 + K)
        return features, torch.cat([anchors[..., :4], anchors[..., 4:5] * anchors[..., 5:]], -1)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        return suppress(self.outputs(x)[0], (x.shape[2], x.shape[3]))

    def _stem(self, x: Tensor) -> Tensor:
        """(B, 12, h/2, w/2): BGR in [0, 255], the pixels of every 2x2 one column after the other."""
        x = self.pixels(x)
        return torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1).contiguous(
            memory_format=torch.channels_last
        )


def yolox_nano(weights: str | Path | None = None, offline: bool = False) -> YoloX:
    """YOLOX-Nano, 0.9 million parameters, trained on COCO's 80 categories."""
    return YoloX(YOLOX_NANO.find(weights, offline), variances=NANO_VARIANCES)


def _decode(level: Tensor, stride: int) -> Tensor:
    """Predictions of a level (B, 5 + K, h, w) as (B, h * w, 5 + K), their boxes as corners in pixels of the network."""
    level = level.float()
    height, width = level.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=level.device), torch.arange(width, device=level.device), indexing="ij"
    )
    cells = torch.stack([x, y])  # (2, h, w)
    middle = (level[:, :2] + cells) * stride
    half = level[:, 2:4].exp() * stride / 2
    corners = torch.cat([middle - half, middle + half, level[:, 4:]], 1)
    return corners.flatten(2).transpose(1, 2)  # (B, h * w, 5 + K)
