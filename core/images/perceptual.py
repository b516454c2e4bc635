"""Differences as people see them, from features of networks: LPIPS and DISTS, differentiable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.images.perceptual_files import ALEXNET, DISTS_WEIGHTS, LPIPS_HEADS, VGG16
from taskodec.images.perceptual_weights import Convolutions, read_backbone, read_dists, read_heads

__all__ = ["Dists", "Lpips", "PerceptualNetwork", "dists_network", "lpips_network"]

SMALLEST = 64
"""Pixels a side below which pictures are continued: AlexNet's pooling leaves nothing of much smaller ones."""

DISTS_STAGES = (2, 4, 7, 10, 13)
"""Of VGG-16's 13 convolutions, how many are done at the end of each stage."""

TINY = 1e-20


class PerceptualNetwork(nn.Module, ABC):
    """A distance of pictures (B, 3, H, W) in [0, 1]: 0 for equal ones, and more the more they differ to the eye."""

    def features(self, x: Tensor) -> list[Tensor]:
        """What is compared of pictures, of several levels (B, C, h, w)."""
        missing = [max(0, SMALLEST - side) for side in (x.shape[3], x.shape[2])]
        return self._features(F.pad(x, (0, missing[0], 0, missing[1]), mode="replicate") if any(missing) else x)

    @abstractmethod
    def distance(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        """The distances (B,) of two pictures' features."""

    @abstractmethod
    def _features(self, x: Tensor) -> list[Tensor]: ...

    def forward(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """The distances (B,) of pictures (B, 3, H, W) in [0, 1]."""
        return self.distance(self.features(x_hat), self.features(x))

    def _normalised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    mean: Tensor
    std: Tensor

    def _numbers(self, mean: Sequence[float], std: Sequence[float]) -> None:
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))  # (3,) -> (1, 3, 1, 1)


class Lpips(PerceptualNetwork):
    """LPIPS 0.1 with AlexNet (Zhang et al. 2018, arXiv:1801.03924, equation 1).

    `convolutions` are the weights and biases of AlexNet's five, `heads` the weight of each of their channels (C,).
    """

    STRIDES = (4, 1, 1, 1, 1)
    PADS = (2, 2, 1, 1, 1)
    POOLED = (1, 2)
    """The convolutions whose input is reduced first."""

    def __init__(self, convolutions: Convolutions, heads: Sequence[Tensor]) -> None:
        super().__init__()
        self.convolutions = _as_parameters(convolutions)
        self.heads = nn.ParameterList(head.view(1, -1, 1, 1) for head in heads)  # (C,) -> (1, C, 1, 1)
        shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures from -1 to 1
        self._numbers([(s + 1) / 2 for s in shift], [s / 2 for s in scale])
        self.eval().requires_grad_(False)

    def _features(self, x: Tensor) -> list[Tensor]:
        x = self._normalised(x)
        found = []
        for i, (stride, pad) in enumerate(zip(self.STRIDES, self.PADS, strict=True)):
            x = F.max_pool2d(x, 3, 2) if i in self.POOLED else x
            weight, bias = self.convolutions[2 * i : 2 * i + 2]
            x = F.conv2d(x, weight, bias, stride=stride, padding=pad).relu()
            found.append(x / (x.square().sum(1, keepdim=True).clamp(min=TINY).sqrt() + 1e-10))  # sqrt has no slope at 0
        return found

    def distance(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        levels = [
            (head * (a - b).square()).sum(1).mean((1, 2)) for head, a, b in zip(self.heads, found, wanted, strict=True)
        ]
        return torch.stack(levels).sum(0)


class Dists(PerceptualNetwork):
    """DISTS with VGG-16, of which the picture itself is the first level (Ding et al. 2020, arXiv:2004.07728, eq. 6).

    `convolutions` are the weights and biases of VGG-16's 13; `alpha` and `beta` the weights of texture and of structure
    for each channel of all levels (1475,).
    """

    def __init__(self, convolutions: Convolutions, alpha: Tensor, beta: Tensor) -> None:
        super().__init__()
        self.convolutions = _as_parameters(convolutions)
        total = alpha.sum() + beta.sum()
        counts = [3, *(len(convolutions[stage - 1][0]) for stage in DISTS_STAGES)]
        self.alpha = nn.ParameterList(torch.split(alpha / total, counts))
        self.beta = nn.ParameterList(torch.split(beta / total, counts))
        self._numbers((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        window = torch.tensor([0.5, 1.0, 0.5])  # Hann's
        self.register_buffer("window", torch.outer(window, window) / 4)
        self.eval().requires_grad_(False)

    window: Tensor

    def _features(self, x: Tensor) -> list[Tensor]:
        found, start = [x], 0
        x = self._normalised(x)
        for stage in DISTS_STAGES:
            x = self._pooled(x) if start else x
            for i in range(start, stage):
                weight, bias = self.convolutions[2 * i : 2 * i + 2]
                x = F.conv2d(x, weight, bias, padding=1).relu()
            start = stage
            found.append(x)
        return found

    def distance(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
        alike = []
        for a, b, alpha, beta in zip(found, wanted, self.alpha, self.beta, strict=True):
            mean_a, mean_b = a.mean((2, 3)), b.mean((2, 3))  # (B, C)
            off_a, off_b = a - mean_a[..., None, None], b - mean_b[..., None, None]
            var_a, var_b, both = (v.mean((2, 3)) for v in (off_a.square(), off_b.square(), off_a * off_b))
            texture = (2 * mean_a * mean_b + 1e-6) / (mean_a.square() + mean_b.square() + 1e-6)
            structure = (2 * both + 1e-6) / (var_a + var_b + 1e-6)
            alike.append((alpha * texture + beta * structure).sum(1))
        return (1 - torch.stack(alike).sum(0)).clamp(min=0)  # rounding takes equal pictures below it

    def _pooled(self, x: Tensor) -> Tensor:
        """Half as large, by the root of the mean square (Hénaff & Simoncelli 2016), so that nothing is aliased."""
        channels = x.shape[1]
        window = self.window.expand(channels, 1, 3, 3)
        return (F.conv2d(x.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def lpips_network() -> Lpips:
    """LPIPS with its weights; WeightsError says which package or file is missing."""
    file = ALEXNET.find()
    own = file.suffix == ".ckpt"  # of a package that has both
    heads = read_heads(file if own else LPIPS_HEADS.find())
    return Lpips(read_backbone(file, "alexnet"), heads)


def dists_network() -> Dists:
    """DISTS with its weights; WeightsError says which package or file is missing."""
    alpha, beta = read_dists(DISTS_WEIGHTS.find())
    return Dists(read_backbone(VGG16.find(), "vgg16"), alpha, beta)


def _as_parameters(convolutions: Convolutions) -> nn.ParameterList:
    return nn.ParameterList(part for both in convolutions for part in both)
