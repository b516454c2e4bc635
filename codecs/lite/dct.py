"""The two-dimensional DCT as convolution filters."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["dct_filters"]

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (-0.5, 1.0, -0.5))
"""Luma and two colour differences, orthogonal; rows are made unit length."""


def dct_filters(channels: int, size: int = 16, luma_share: float = 2 / 3) -> Tensor:
    """Orthonormal DCT-II filters of the lowest frequencies on opponent colours, (channels, 3, size, size).

    `luma_share` of them are luma, the rest is split over the two colour differences.
    """
    n = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(torch.pi / size * (n[None, :] + 0.5) * n[:, None]) * (2 / size) ** 0.5  # (frequency, position)
    basis[0] /= 2**0.5
    # low frequencies first, by distance from DC; the sort is stable, so the order is the same everywhere
    order = (n[:, None] ** 2 + n[None, :] ** 2).flatten().argsort(stable=True)
    colours = torch.tensor(OPPONENT, dtype=torch.float64)
    colours /= colours.norm(dim=1, keepdim=True)
    luma = round(channels * luma_share)
    counts = (luma, (channels - luma) // 2, channels - luma - (channels - luma) // 2)
    planes = []
    for colour, count in zip(colours, counts, strict=True):
        rows, columns = order[:count] // size, order[:count] % size
        patterns = basis[rows][:, :, None] * basis[columns][:, None, :]  # (count, size, size)
        planes.append(colour[None, :, None, None] * patterns[:, None])  # (count, 3, size, size)
    return torch.cat(planes).float()
