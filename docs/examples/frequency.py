"""An open-set task: keep the texture, as the magnitudes of the Fourier transform see it.

taskodec compress PHOTO.jpg --task docs/examples/frequency.py:loss --quality 2
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def loss(x_hat: Tensor, x: Tensor) -> Tensor:
    """How far the magnitudes are from the original's; images are (1, 3, H, W) in [0, 1]."""
    return F.l1_loss(magnitudes(x_hat), magnitudes(x))


def magnitudes(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 3, H, W // 2 + 1); the constant keeps the slope finite at zero."""
    frequencies = torch.fft.rfft2(x, norm="ortho")
    return torch.sqrt(frequencies.real.square() + frequencies.imag.square() + 1e-8)
