"""Coding y in two passes, on the black and then the white fields of a checkerboard.

The first half is predicted from the hyperprior alone, the second also from the first half around it, all of it at
once (He et al. 2021, "Checkerboard Context Model for Efficient Learned Image Compression", section 3.2,
arXiv:2103.15306).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.coding.priors import decode_gaussian, encode_gaussian, estimate_gaussian
from taskodec.contracts import Rounding
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

__all__ = [
    "CheckerboardConv",
    "Prediction",
    "anchors",
    "decode_checkerboard",
    "encode_checkerboard",
    "estimate_checkerboard",
]

SIDE = 5
"""Height and width of the neighbourhood that a prediction sees."""

TAPS = tuple((row, column) for row in range(SIDE) for column in range(SIDE) if (row + column) % 2)
"""Where, around a field of one colour, those of the other lie."""


class Prediction(Protocol):
    """Scales and means of y, each (B, M, h, w), for one z_hat and quality."""

    def first(self) -> tuple[Tensor, Tensor]:
        """From the hyperprior alone."""

    def second(self, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """With the fields that are known, all others zero; only those of the other colour mean anything."""


class CheckerboardConv(nn.Module):
    """A 5×5 convolution that looks at the 12 neighbours of the other colour only: (B, I, h, w) to (B, O, h, w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = (len(TAPS) * inputs) ** -0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs, len(TAPS)).uniform_(-bound, bound))
        self.places: Tensor
        self.register_buffer("places", torch.tensor([SIDE * row + column for row, column in TAPS]), persistent=False)

    def kernel(self) -> Tensor:
        """The whole filters (O, I, 5, 5), zero where a field of the same colour would be."""
        kernel = self.weight.new_zeros(*self.weight.shape[:2], SIDE * SIDE)
        kernel = kernel.index_copy(2, self.places, self.weight)
        return kernel.reshape(*kernel.shape[:2], SIDE, SIDE)  # (O, I, 25) -> (O, I, 5, 5)

    def forward(self, y_hat: Tensor) -> Tensor:
        return F.conv2d(y_hat, self.kernel(), padding=SIDE // 2)


def anchors(like: Tensor) -> Tensor:
    """Which positions of (…, h, w) are coded first: boolean (h, w)."""
    height, width = like.shape[-2:]
    rows, columns = (torch.arange(n, device=like.device) for n in (height, width))
    return (rows[:, None] + columns) % 2 == 0


def estimate_checkerboard(y: Tensor, prediction: Prediction, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Quantised y and the likelihood of every element, as `taskodec.coding.priors.estimate_gaussian`."""
    known = anchors(y)
    y_hat, likelihoods = estimate_gaussian(y, *prediction.first(), rounding)
    other_y_hat, other_likelihoods = estimate_gaussian(y, *prediction.second(y_hat * known), rounding)
    return torch.where(known, y_hat, other_y_hat), torch.where(known, likelihoods, other_likelihoods)


def encode_checkerboard(y: Tensor, prediction: Prediction, coder: SymbolEncoder) -> Tensor:
    """Write y (1, M, h, w); returns y_hat. WeightsError for values that no stream can hold."""
    known = anchors(y)
    y_hat = torch.zeros_like(y, memory_format=torch.contiguous_format)
    for fields in (known, ~known):
        parameters = prediction.first() if fields is known else prediction.second(y_hat)
        scales, means = (p[..., fields] for p in parameters)  # (1, M, h, w) -> (1, M, n)
        y_hat[..., fields] = encode_gaussian(y[..., fields], scales, means, coder)
    return y_hat


def decode_checkerboard(prediction: Prediction, coder: SymbolDecoder) -> Tensor:
    """Read y_hat, of the shape that the prediction has."""
    parameters = prediction.first()
    known = anchors(parameters[0])
    y_hat = torch.zeros_like(parameters[0], memory_format=torch.contiguous_format)
    for fields in (known, ~known):
        if fields is not known:
            parameters = prediction.second(y_hat)
        scales, means = (p[..., fields] for p in parameters)  # (1, M, h, w) -> (1, M, n)
        y_hat[..., fields] = decode_gaussian(scales, means, coder)
    return y_hat
