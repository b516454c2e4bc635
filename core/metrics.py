"""Figures of fidelity between a decoded picture and its original."""

from __future__ import annotations

import math

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ms_ssim_loss", "psnr"]

MIN_SIDE = 33
"""Four halvings must leave more than the smallest window of MS-SSIM, of three pixels."""


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
    values: Tensor = ms_ssim(x_hat, x, data_range=1.0, size_average=False, win_size=window)
    return values
