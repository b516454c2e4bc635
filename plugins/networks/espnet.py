"""ESPNetV2 for the 21 classes of Pascal VOC, a small network for semantic segmentation.

Mehta et al. 2019, ESPNetv2: A Light-weight, Power Efficient, and General Purpose Convolutional Neural Network,
arXiv:1811.11431; the decoder and the weights are those of the authors' repository github.com/sacmehta/EdgeNets (MIT).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.errors import WeightsError
from taskodec.plugins.networks.imagenet import IMAGENET_MEAN, IMAGENET_STD
from taskodec.plugins.networks.state_dicts import put_weights, read_weights
from taskodec.plugins.networks.zoo import ESPNET
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import Pixels, View

__all__ = ["ESPNetV2", "espnet"]

WIDTHS = {256: (32, 64, 128, 256), 512: (32, 128, 256, 512)}
"""Channels at 1/2, 1/4, 1/8 and 1/16, by the last of them: the published sizes 1.0 and 2.0."""

VARIANCES = {256: (0.162, 0.0987, 0.242, 0.0619), 512: (0.0428, 0.0431, 0.114, 0.0231)}
"""Variance of each level's features within their channels, mean over channels, on 100 and 50 COCO photographs."""

BRANCHES = 4
CLASSES = 21
PLANES = (64, 48, 32, CLASSES)
"""Channels of the decoder, from 1/16 to 1/2."""
SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
SIDE, STRIDE = 384, 32


def espnet(weights: str | Path | None = None, offline: bool = False) -> ESPNetV2:
    """The network with its published weights of size 1.0, or those in a local file, of 1.0 or 2.0.

    Size 2.0 has three times the parameters, and was no better on 100 photographs of COCO (docs/tasks.md).
    WeightsError if there are no weights that fit.
    """
    file = ESPNET.find(weights, offline)
    state = read_weights(file)
    width = len(state.get("base_net.level4_0.act.weight", ()))
    if width not in WIDTHS:
        raise WeightsError(f"{file} does not fit ESPNetV2 of size 1.0 or 2.0; valid: {ESPNET.file}")
    network = ESPNetV2(WIDTHS[width])
    put_weights(network, state, file)
    return network


class ESPNetV2(FeatureNetwork):
    """The encoder's levels at 1/2, 1/4, 1/8 and 1/16 as features, class scores of each pixel as outputs.

    It is shown the picture resized to 384x384, as it was trained and is published.
    """

    view = View(size=(SIDE, SIDE))
    stride = STRIDE
    pixels: Pixels = Pixels(IMAGENET_MEAN, IMAGENET_STD)

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.variances = VARIANCES[widths[3]]
        self.base_net = Encoder(widths)
        projected = min(CLASSES // 2, PLANES[-2] // 2)
        for level, (inputs, outputs) in enumerate(zip((widths[3], *PLANES), PLANES, strict=False), 1):
            setattr(self, f"bu_dec_l{level}", PyramidPool(inputs, projected, outputs, last=level == 4))
            if level > 1:
                setattr(self, f"merge_enc_dec_l{level}", Weighted(widths[4 - level], inputs))
                setattr(self, f"bu_br_l{level}", _act(inputs))

    def features(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.base_net(self.pixels(x))
        return found

    def outputs(self, x: Tensor) -> Tensor:
        *lower, top = self.features(x)
        y: Tensor = self.get_submodule("bu_dec_l1")(top)
        for level, features in enumerate(reversed(lower), 2):
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
            y = y + self.get_submodule(f"merge_enc_dec_l{level}")(features)
            y = self.get_submodule(f"bu_dec_l{level}")(self.get_submodule(f"bu_br_l{level}")(y))
        return F.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=True)


class Encoder(nn.Module):
    """The classifier's first four levels; each but the first adds the picture itself, pooled to its size."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.level1 = _conv(3, widths[0], 3, stride=2)
        self.level2_0 = Down(widths[0], widths[1])
        self.level3_0 = Down(widths[1], widths[2])
        self.level3 = nn.Sequential(*[Pyramid(widths[2], widths[2], (1, 2, 3, 4)) for _ in range(3)])
        self.level4_0 = Down(widths[2], widths[3])
        self.level4 = nn.Sequential(*[Pyramid(widths[3], widths[3], (1, 1, 2, 3)) for _ in range(7)])

    def forward(self, x: Tensor) -> list[Tensor]:
        halves = [x]
        for _ in range(4):
            halves.append(F.avg_pool2d(halves[-1], 3, 2, 1))
        first = self.level1(x)
        second = self.level2_0(first, halves[2])
        third = self.level3(self.level3_0(second, halves[3]))
        return [first, second, third, self.level4(self.level4_0(third, halves[4]))]


class Pyramid(nn.Module):
    """EESP (section 3.2): grouped projection, dilated depth-wise branches added up one by one, grouped expansion."""

    def __init__(self, inputs: int, outputs: int, dilations: Sequence[int], stride: int = 1) -> None:
        super().__init__()
        branch = outputs // BRANCHES
        self.proj_1x1 = _conv(inputs, branch, 1, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            nn.Sequential(
                OrderedDict(conv=nn.Conv2d(branch, branch, 3, stride, d, dilation=d, groups=branch, bias=False))
            )
            for d in dilations
        )
        self.conv_1x1_exp = _conv(outputs, outputs, 1, groups=BRANCHES, act=False)
        self.br_after_cat = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs)))
        self.module_act = nn.PReLU(outputs)

    def merged(self, x: Tensor) -> Tensor:
        """Before the residual and the last activation."""
        y = self.proj_1x1(x)
        y = torch.cat(list(accumulate(branch(y) for branch in self.spp_dw)), dim=1)
        merged: Tensor = self.conv_1x1_exp(self.br_after_cat(y))
        return merged

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.module_act(self.merged(x) + x)
        return found


class Down(nn.Module):
    """Strided EESP (section 3.3): pooled input and pyramid side by side, plus the picture at this size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.eesp = Pyramid(inputs, outputs - inputs, (1, 2, 3, 4), stride=2)
        self.inp_reinf = nn.Sequential(_conv(3, 3, 3), _conv(3, outputs, 1, act=False))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        y = torch.cat([F.avg_pool2d(x, 3, 2, 1), self.eesp.merged(x)], dim=1)
        found: Tensor = self.act(y + self.inp_reinf(picture))
        return found


class PyramidPool(nn.Module):
    """Depth-wise convolutions of the map at several scales, mixed."""

    def __init__(self, inputs: int, projected: int, outputs: int, *, last: bool) -> None:
        super().__init__()
        wide = projected * len(SCALES)
        self.projection_layer = _named("cbr", _plain_conv(inputs, projected, 1))
        self.stages = nn.ModuleList(
            nn.Conv2d(projected, projected, 3, padding=1, groups=projected, bias=False) for _ in SCALES
        )
        self.merge_layer = nn.Sequential(
            _named("br", _act(wide)),
            nn.ChannelShuffle(len(SCALES)),
            _named("cbr", _plain_conv(wide, projected, 3, groups=projected)),
            nn.Conv2d(projected, outputs, 1, bias=last),
        )
        self.br = nn.Identity() if last else _named("br", _act(outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        found = [self._at(scale, stage, x) for scale, stage in zip(SCALES, self.stages, strict=True)]
        y: Tensor = self.br(self.merge_layer(torch.cat(found, dim=1)))
        return y

    def _at(self, scale: float, stage: nn.Module, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        scaled = (_scaled(size[0], scale), _scaled(size[1], scale))
        y: Tensor
        if scale < 1:
            y = stage(F.adaptive_avg_pool2d(x, scaled))
            return F.interpolate(y, size, mode="bilinear", align_corners=True)
        if scale > 1:
            y = stage(F.interpolate(x, scaled, mode="bilinear", align_corners=True))
            return F.adaptive_avg_pool2d(y, (size[0], size[1]))
        y = stage(x)
        return y


class Weighted(nn.Module):
    """Features of the encoder in the decoder's number of channels, each weighed by what the whole picture says."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.wt_layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False), nn.Sigmoid())
        self.expansion_layer = _named("cbr", _plain_conv(inputs, outputs, 3, groups=math.gcd(inputs, outputs)))

    def forward(self, x: Tensor) -> Tensor:
        weighted: Tensor = self.expansion_layer(x) * self.wt_layer(x)
        return weighted


def _scaled(side: int, scale: float) -> int:
    return max(5, math.ceil(side * scale))


def _plain_conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, *_act(outputs))


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True) -> nn.Module:
    """The same with the encoder's names."""
    conv, bn, prelu = _plain_conv(inputs, outputs, kernel, stride, groups)
    return nn.Sequential(OrderedDict(conv=conv, bn=bn, **({"act": prelu} if act else {})))


def _act(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.PReLU(channels))


def _named(name: str, module: nn.Module) -> nn.Module:
    return nn.Sequential(OrderedDict({name: module}))
