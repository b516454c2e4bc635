"""FastestDet, a detector of 0.24 million parameters for COCO's 80 categories, from github.com/dog-qiuqiu/FastestDet.

BSD-3-Clause, code and weights. The backbone is ShuffleNetV2 (Ma et al. 2018, arXiv:1807.11164) with 24, 48, 96 and 192
channels.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.plugins.networks.boxes import suppress
from taskodec.plugins.networks.state_dicts import put_weights, read_weights
from taskodec.plugins.networks.zoo import FASTESTDET
from taskodec.tasks.detection import COCO_IDS, Detector
from taskodec.tasks.detections import Detections
from taskodec.tasks.views import Pixels, View

__all__ = ["FastestDet", "fastestdet"]

VARIANCES = (0.0163, 0.00801, 0.0110)
"""Variance of each level's features within their channels, mean over channels, on 100 COCO photographs."""

SIDE = 352
FLOOR = 1e-9
"""The power has no gradient at 0."""


def fastestdet(weights: str | Path | None = None, offline: bool = False) -> FastestDet:
    """The network with its published weights, or those in a local file; WeightsError if there are none that fit."""
    file = FASTESTDET.find(weights, offline)
    network = FastestDet()
    put_weights(network, read_weights(file), file)
    return network


class FastestDet(Detector):
    """The backbone's three stages (at 1/8, 1/16 and 1/32) as features, one anchor in every 16x16 pixels.

    It is shown the picture resized to 352x352, as it was trained and is published.
    """

    view = View(size=(SIDE, SIDE))
    stride = 32
    pixels: Pixels = Pixels(bgr=True)

    def __init__(self) -> None:
        super().__init__()
        self.variances = VARIANCES
        self.backbone = Backbone()
        self.SPP = Pyramid(48 + 96 + 192, 96)
        self.detect_head = Head(96, len(COCO_IDS))

    def features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.backbone(self.pixels(x))
        return found

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        features = self.features(x)
        first, second, third = features
        levels = [F.avg_pool2d(first, 3, 2, 1), second, F.interpolate(third, scale_factor=2, mode="nearest")]
        objects, boxes, classes = self.detect_head(self.SPP(torch.cat(levels, dim=1)))
        scores = objects.clamp(FLOOR) ** 0.6 * classes.clamp(FLOOR) ** 0.4  # as in its own `handle_preds`
        anchors = torch.cat([_corners(boxes, x.shape[-2], x.shape[-1]), scores], dim=1)  # (B, 4 + K, h, w)
        return features, anchors.flatten(2).transpose(1, 2)  # (B, h * w, 4 + K)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        return suppress(self.outputs(x)[0], (x.shape[2], x.shape[3]))


def _corners(boxes: Tensor, height: int, width: int) -> Tensor:
    """x1, y1, x2, y2 in pixels of the picture, (B, 4, h, w), from what the head says of every cell."""
    rows, columns = boxes.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=boxes.device), torch.arange(columns, device=boxes.device), indexing="ij"
    )
    size = boxes.new_tensor([width, height]).view(2, 1, 1)
    middle = (boxes[:, :2].tanh() + torch.stack([x, y])) / boxes.new_tensor([columns, rows]).view(2, 1, 1)
    half = boxes[:, 2:].sigmoid() / 2
    return torch.cat([(middle - half) * size, (middle + half) * size], dim=1)


class Backbone(nn.Module):
    """ShuffleNetV2 without its last convolution; the three stages' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = _conv(3, 24, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2 = _stage(24, 48, 4)
        self.stage3 = _stage(48, 96, 8)
        self.stage4 = _stage(96, 192, 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        first = self.stage2(self.maxpool(self.first_conv(x)))
        second = self.stage3(first)
        return [first, second, self.stage4(second)]


class Unit(nn.Module):
    """Half of the channels (every other one) are passed on as they are and half go through convolutions.

    With a stride of 2 all channels go both ways, and both ways convolve.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = outputs // 2
        depthwise = [*_conv(wide, wide, 3, stride, groups=wide)][:2]  # without the activation
        self.branch_main = nn.Sequential(*_conv(inputs, wide, 1), *depthwise, *_conv(wide, outputs - inputs, 1))
        self.branch_proj = (
            nn.Sequential(*[*_conv(inputs, inputs, 3, stride, groups=inputs)][:2], *_conv(inputs, inputs, 1))
            if stride == 2
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.branch_proj is not None:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], dim=1)
        return torch.cat([x[:, ::2], self.branch_main(x[:, 1::2])], dim=1)


class Pyramid(nn.Module):
    """Depth-wise convolutions one, two and three times, mixed and added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv1x1 = _pointwise(inputs, outputs)
        for count in (1, 2, 3):
            parts = [part for _ in range(count) for part in _conv(outputs, outputs, 5, groups=outputs)]
            setattr(self, f"S{count}", nn.Sequential(*parts))
        self.output = nn.Sequential(*[*_conv(outputs * 3, outputs, 1)][:2])

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv1x1(x)
        found = [self.get_submodule(f"S{count}")(x) for count in (1, 2, 3)]
        return torch.relu(x + self.output(torch.cat(found, dim=1)))


class Head(nn.Module):
    """Of every cell: whether there is an object (B, 1, h, w), its box (B, 4, h, w), and classes (B, K, h, w)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _pointwise(channels, channels)
        self.obj_layers, self.reg_layers, self.cls_layers = (_predictor(channels, n) for n in (1, 4, classes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.conv1x1(x)
        return self.obj_layers(x).sigmoid(), self.reg_layers(x), self.cls_layers(x).softmax(1)


def _predictor(channels: int, outputs: int) -> nn.Module:
    layers = [*_conv(channels, channels, 5, groups=channels), *[*_conv(channels, outputs, 1)][:2]]
    return nn.Sequential(OrderedDict(conv5x5=nn.Sequential(*layers)))


def _stage(inputs: int, outputs: int, count: int) -> nn.Sequential:
    return nn.Sequential(
        Unit(inputs, outputs, stride=2), *[Unit(outputs // 2, outputs, stride=1) for _ in range(count - 1)]
    )


def _pointwise(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(OrderedDict(conv1x1=_conv(inputs, outputs, 1)))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
