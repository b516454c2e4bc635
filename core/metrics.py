"""Figures of fidelity between a decoded picture and its original."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["psnr"]


def psnr(x_hat: Tensor, x: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; 100 for equal ones."""
    mse = float((x_hat - x).square().mean())
    return min(100.0, -10 * math.log10(max(mse, 1e-10)))
