"""The networks of `lite`: analysis, synthesis, and those of the hyperprior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.lite.checkerboard import CheckerboardConv
from taskodec.codecs.products import Blocks, Pointwise, convolves_directly
from taskodec.codecs.swin import RSTB

__all__ = ["Analysis", "Context", "HyperAnalysis", "HyperSynthesis", "Synthesis", "compressed", "full_precision"]


def full_precision(like: Tensor) -> torch.autocast:
    """Keeps what follows out of mixed precision: 8 bits of mantissa are less than a picture has."""
    return torch.autocast(like.device.type, enabled=False)


def compressed(y: Tensor) -> Tensor:
    """y in the range that `HyperAnalysis` takes: logarithms of its magnitudes."""
    return y.sign() * (y.abs() + 1).log()  # log1p is ten times as slow, for digits that h_a does not need


class Analysis(nn.Module):
    """g_a: (B, 3, H, W) to y (B, M, H/16, W/16)."""

    def __init__(self, M: int, N: int, D: int, stem: int, depth: int) -> None:
        super().__init__()
        self.dct = nn.Conv2d(3, M, 16, stride=16)
        self.net = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, stem, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(stem, N, 3, stride=2, padding=1),
            RSTB(N, depth, N // 24, 8),
            nn.Conv2d(N, D, 3, stride=2, padding=1),
            RSTB(D, depth, D // 20, 8),
            Pointwise(D, M),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x - 0.5
        learned = self.net(x)
        with full_precision(x):
            y: Tensor = self.dct(x) + learned.float()
        return y


class Synthesis(nn.Module):
    """g_s: y_hat (B, M, H/16, W/16) to (B, 3, H, W); the stem also sees the linear reconstruction."""

    def __init__(self, M: int, N: int, D: int, stem: int, depth: int) -> None:
        super().__init__()
        self.idct = Blocks(M, 3, 16)
        self.net = nn.Sequential(
            Pointwise(M, D),
            RSTB(D, depth, D // 20, 8),
            Pointwise(D, 4 * N),
            nn.PixelShuffle(2),
            RSTB(N, depth, N // 24, 8),
            Pointwise(N, 4 * stem),
            nn.PixelShuffle(2),
        )
        self.linear = Pointwise(48, stem)
        self.stem = nn.Sequential(
            nn.GELU(), nn.Conv2d(stem, stem, 3, padding=1), nn.GELU(), nn.Conv2d(stem, 48, 3, padding=1)
        )

    def forward(self, y_hat: Tensor) -> Tensor:
        if convolves_directly(y_hat):
            y_hat = y_hat.contiguous(memory_format=torch.channels_last)  # once, for both layers that take it
        with full_precision(y_hat):
            x: Tensor = self.idct(y_hat)
        features = self.net(y_hat) + self.linear(F.pixel_unshuffle(x, 4))
        return x + F.pixel_shuffle(self.stem(features), 4).float() + 0.5


class HyperAnalysis(nn.Module):
    """h_a: compressed-range y (B, M, h, w) to z (B, Z, h/4, w/4)."""

    def __init__(self, M: int, Z: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(M, Z, 3, padding=1)
        self.rest = nn.Sequential(
            nn.ReLU(), nn.Conv2d(Z, Z, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(Z, Z, 3, stride=2, padding=1)
        )

    def forward(self, y: Tensor, embedding: Tensor) -> Tensor:
        z: Tensor = self.rest(self.first(y) + embedding)
        return z


class HyperSynthesis(nn.Module):
    """h_s: z_hat (B, Z, h/4, w/4) to log-scales and means at unit gain (B, 2M, h, w), and features (B, F, h, w)."""

    def __init__(self, M: int, Z: int, hidden: int, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(Z, 4 * hidden, 1)
        self.body = nn.Sequential(
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(hidden, 4 * hidden, 1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(hidden, features, 3, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(features, 2 * M, 1)

    def forward(self, z_hat: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        features: Tensor = self.body(self.first(z_hat) + embedding)
        return self.last(features), features


class Context(nn.Module):
    """What y_hat on the black fields of a checkerboard (B, M, h, w) adds to h_s on the white: (B, 2M, h, w)."""

    def __init__(self, M: int, features: int, hidden: int) -> None:
        super().__init__()
        self.seen = nn.Identity()  # where the range of y_hat is measured
        self.neighbours = CheckerboardConv(M, hidden)
        self.features = nn.Conv2d(features, hidden, 1)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(hidden, 2 * M, 1)

    def forward(self, y_hat: Tensor, features: Tensor) -> Tensor:
        correction: Tensor = self.last(self.relu(self.neighbours(self.seen(y_hat)) + self.features(features)))
        return correction
