"""Figures of fidelity between a decoded picture and its original."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import torch
from pytorch_msssim import ms_ssim
from pytorch_msssim.ssim import _fspecial_gauss_1d, _ssim
from torch import Tensor
from torch.nn import functional as F

from taskodec.errors import WeightsError
from taskodec.images.perceptual import PerceptualNetwork, dists_network, lpips_network
from taskodec.images.perceptual_files import ALEXNET, DISTS_WEIGHTS, VGG16, lpips_installed

__all__ = ["Metric", "load_dists", "load_lpips", "ms_ssim_loss", "psnr"]

Metric = Callable[[Tensor, Tensor], float]
"""A figure of a decoded and an original picture, (1, 3, H, W) in [0, 1]."""

MIN_SIDE = 33
"""Four halvings must leave more than the smallest window of MS-SSIM, of three pixels."""

LARGE = 2**20
"""From so many pixels on, MS-SSIM without a gradient is worked out in strips: the library needs 0.4 kB a pixel."""

STRIP = 2**18
"""Pixels of a strip: few enough for a processor's cache."""

LEVELS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's five scales, finest first (Wang et al. 2003, section 3.2)."""


def psnr(x_hat: Tensor, x: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; 100 for equal ones."""
    mse = float((x_hat - x).square().mean())
    return min(100.0, -10 * math.log10(max(mse, 1e-10)))


def ms_ssim_loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """1 - MS-SSIM of images (B, 3, H, W) in [0, 1] (Wang et al. 2003), the mean over images and channels.

    Images of any size: the window of 11 pixels shrinks to 3 where a side is too short for it (160 pixels
    or less), and below 33 pixels the right column and the bottom row are repeated. A channel with a
    structure opposite to the original's has an MS-SSIM of zero and no gradient there: it costs 1 + its mean
    square error instead.
    """
    height, width = x.shape[-2:]
    fit = (0, max(0, MIN_SIDE - width), 0, max(0, MIN_SIDE - height))
    found, wanted = (F.pad(v, fit, mode="replicate").flatten(0, 1)[:, None] for v in (x_hat, x))  # (B*3, 1, H, W)
    window = min(11, (max(MIN_SIDE, min(height, width)) - 1) // 16 // 2 * 2 + 1)
    values = _ms_ssim(found, wanted, window)
    alive = values.detach() > 0
    if bool(alive.all()):
        return 1 - values.mean()
    losses = [1 + (found - wanted)[~alive].square().mean((1, 2, 3))]
    if bool(alive.any()):  # anew, because the slope at zero would be NaN even where nothing asks for it
        losses.append(1 - _ms_ssim(found[alive], wanted[alive], window))
    return torch.cat(losses).mean()


def _ms_ssim(x_hat: Tensor, x: Tensor, window: int) -> Tensor:
    """MS-SSIM of every plane: (N, 1, H, W) to (N,)."""
    if x.shape[2] * x.shape[3] > LARGE and not (x_hat.requires_grad and torch.is_grad_enabled()):
        return torch.stack([_in_strips(x_hat[i, None], x[i, None], window) for i in range(len(x))])
    values: Tensor = ms_ssim(x_hat, x, data_range=1.0, size_average=False, win_size=window)
    return values


def _in_strips(x_hat: Tensor, x: Tensor, window: int) -> Tensor:
    """MS-SSIM of one large plane (1, 1, H, W), a scalar: what `ms_ssim` gives, in a bounded amount of memory."""
    gauss = _fspecial_gauss_1d(window, 1.5)[None]  # (1, 1, window) -> (1, 1, 1, window)
    values = []
    for level in range(len(LEVELS)):
        if level:
            odd = [side % 2 for side in x.shape[2:]]
            x_hat, x = (F.avg_pool2d(v, 2, padding=odd) for v in (x_hat, x))
        luminance_too, contrast = _strips_ssim(x_hat, x, gauss)
        values.append(contrast if level < len(LEVELS) - 1 else luminance_too)
    return torch.stack(values).relu().pow(x.new_tensor(LEVELS)).prod()


def _strips_ssim(x_hat: Tensor, x: Tensor, gauss: Tensor) -> tuple[Tensor, Tensor]:
    """Means of SSIM and of its contrast and structure over a plane; strips overlap by what a window reaches."""
    overlap = gauss.shape[-1] - 1
    outputs = x.shape[2] - overlap
    rows = max(1, STRIP // x.shape[3])
    sums = x.new_zeros(2)
    for top in range(0, outputs, rows):
        count = min(rows, outputs - top)
        strips = (v[:, :, top : top + count + overlap] for v in (x_hat, x))
        sums += count * torch.cat(_ssim(*strips, data_range=1.0, win=gauss)).flatten()  # 2 of (1, 1) -> (2,)
    ssim, contrast = sums / outputs
    return ssim, contrast


def load_lpips(*, download: bool = False) -> Metric | None:
    """LPIPS with AlexNet (Zhang et al. 2018) where a package with its weights is installed.

    None without one, and with a warning where its network is broken, or not here and not to be downloaded.
    """
    if not lpips_installed():
        return None
    if not download and ALEXNET.located() is None:
        how = f"`taskodec models fetch {ALEXNET.name}` downloads it"
        warnings.warn(f"LPIPS is left out, its network is not here: {how}", stacklevel=2)
        return None
    return _figure("LPIPS", lpips_network)


def load_dists(*, download: bool = False) -> Metric | None:
    """DISTS (Ding et al. 2020) where its package is installed; None without, or where VGG-16 is not here either."""
    if DISTS_WEIGHTS.located() is None or not (download or VGG16.located()):
        return None
    return _figure("DISTS", dists_network)


def _figure(name: str, load: Callable[[], PerceptualNetwork]) -> Metric | None:
    try:
        network = load()
    except WeightsError as error:
        warnings.warn(f"{name} is left out, its network cannot be loaded: {error}", stacklevel=3)
        return None
    return lambda x_hat, x: float(network(x_hat.cpu(), x.cpu()))
