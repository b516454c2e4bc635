"""Losses of many kinds, for `taskodec bench --ttft --suite`: what users of open-set losses might write.

Each is a function of the decoded and the original picture, (1, 3, H, W) in [0, 1], and a task by file as well:
`taskodec compress PHOTO.jpg --task tasks/suite.py:blurs`. None has a network with trained weights.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "blurs",
    "chroma",
    "contrast",
    "convnet",
    "differences",
    "histogram",
    "laplacian",
    "moments",
    "peaks",
    "region",
    "sobel",
    "spectrum",
    "ssim",
    "texture",
    "thumbnail",
]

GREY = (0.299, 0.587, 0.114)
BINS = 32
STEEPNESS = 0.1
"""The slope of brightness at which `sobel` sees half an edge."""


def differences(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of the differences of neighbours, across."""
    return F.mse_loss(x_hat.diff(dim=-1), x.diff(dim=-1))


def blurs(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of pictures blurred over 3, 7 and 15 pixels."""
    return torch.stack([F.l1_loss(blurred(x_hat, side), blurred(x, side)) for side in (3, 7, 15)]).mean()


def ssim(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - SSIM of grey pictures (Wang et al. 2004), over boxes of 7 pixels."""
    a, b = grey(x_hat), grey(x)
    mean_a, mean_b = blurred(a, 7), blurred(b, 7)
    var_a, var_b = blurred(a * a, 7) - mean_a**2, blurred(b * b, 7) - mean_b**2
    covariance = blurred(a * b, 7) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return 1 - (light * (2 * covariance + 9e-4) / (var_a + var_b + 9e-4)).mean()


def spectrum(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of the logarithm of the Fourier spectrum's magnitude."""
    a, b = (torch.fft.rfft2(grey(v), norm="ortho").abs() for v in (x_hat, x))
    return F.l1_loss((a + 1e-2).log(), (b + 1e-2).log())


def histogram(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of each colour's cumulative histogram, in soft bins."""
    return F.mse_loss(cumulative(x_hat), cumulative(x))


def moments(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of mean, deviation and skewness of each colour in windows of 16 pixels."""
    return F.mse_loss(window_moments(x_hat), window_moments(x))


def contrast(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of the logarithm of the local contrast: deviation over mean in 9 pixels."""
    return F.mse_loss(local_contrast(x_hat), local_contrast(x))


def region(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error whose weight falls from the middle of the picture, to a fiftieth at its corners."""
    height, width = x.shape[2:]
    down, across = torch.linspace(-1, 1, height).to(x), torch.linspace(-1, 1, width).to(x)
    weight = torch.exp(-2 * (down[:, None] ** 2 + across**2))
    return (weight * (x_hat - x).square()).mean()


def convnet(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of the features of a random network of three convolutions."""
    return F.mse_loss(random_features(x_hat), random_features(x))


def laplacian(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of a Laplacian pyramid's levels, the finer the more."""
    a, b, total = x_hat, x, x.new_zeros(())
    for level in range(3):
        error = (a - blurred(a, 5)) - (b - blurred(b, 5))
        total = total + error.abs().mean() / 2**level
        a, b = F.avg_pool2d(a, 2, ceil_mode=True), F.avg_pool2d(b, 2, ceil_mode=True)
    return total


def texture(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of the Gram matrices of random features, in windows of 32 pixels."""
    return F.mse_loss(grams(random_features(x_hat)), grams(random_features(x)))


def thumbnail(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of pictures made eight times smaller."""
    return F.mse_loss(F.avg_pool2d(x_hat, 8, ceil_mode=True), F.avg_pool2d(x, 8, ceil_mode=True))


def peaks(x_hat: Tensor, x: Tensor) -> Tensor:
    """The fourth root of the mean fourth power of errors: large ones count."""
    return (x_hat - x).pow(4).mean().add(1e-12).pow(0.25)


def chroma(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of what is left of the colours without their brightness."""
    error = x_hat - x
    return (error - grey(error)).square().mean()


def sobel(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean square error of edge maps, from 0 where the picture is flat to 1 on a strong edge."""
    return F.mse_loss(edge_map(x_hat), edge_map(x))


def grey(x: Tensor) -> Tensor:
    """Brightness, (B, 1, H, W)."""
    return (x * x.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blurred(x: Tensor, side: int) -> Tensor:
    """Means over squares of so many pixels, an odd number; at the edges over what there is of them."""
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def cumulative(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 3, BINS): the share of pixels below each of BINS values, softly."""
    edges = torch.linspace(0, 1, BINS).to(x)
    return torch.stack([torch.sigmoid((edge - x) * BINS).mean((2, 3)) for edge in edges], -1)


def window_moments(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 9, h, w): mean, deviation, and cube root of the third moment."""
    mean = F.avg_pool2d(x, 16, ceil_mode=True)
    rest = x - F.interpolate(mean, scale_factor=16)[..., : x.shape[2], : x.shape[3]]
    deviation = (F.avg_pool2d(rest**2, 16, ceil_mode=True) + 1e-5).sqrt()
    skewness = F.avg_pool2d(rest**3, 16, ceil_mode=True) / deviation**2
    return torch.cat([mean, deviation, skewness], 1)


def local_contrast(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    light = grey(x)
    mean = blurred(light, 9)
    variance = (blurred(light * light, 9) - mean**2).clamp_min(0) + 1e-4
    return 0.5 * variance.log() - (mean.clamp_min(0) + 0.05).log()


def random_features(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 32, H/4, W/4)."""
    for weight in filters():
        x = F.gelu(F.conv2d(x, weight.to(x), stride=1 if weight.shape[1] == 3 else 2, padding=2))
    return x


@cache
def filters() -> tuple[Tensor, ...]:
    """The weights of the random network, the same everywhere."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((16, 3), (32, 16), (32, 32))
    return tuple(torch.randn(*shape, 5, 5, generator=generator) * (2 / (25 * shape[1])) ** 0.5 for shape in shapes)


def grams(features: Tensor) -> Tensor:
    """(B, C, h, w) to (B, n, C, C), over windows of 8 x 8."""
    windows = F.unfold(F.pad(features, (0, -features.shape[3] % 8, 0, -features.shape[2] % 8)), 8, stride=8)
    channels = features.shape[1]
    columns = windows.reshape(len(features), channels, 64, -1)  # (B, C * 64, n) -> (B, C, 64, n)
    v = columns.permute(0, 3, 1, 2)  # (B, n, C, 64)
    return torch.matmul(v, v.mT) / 64


def edge_map(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 1, H, W)."""
    across = x.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
    kernels = torch.stack([across, across.T])[:, None]  # (2, 1, 3, 3)
    strength = F.conv2d(F.pad(grey(x), (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1, keepdim=True)
    return strength / (strength + STEEPNESS**2)
