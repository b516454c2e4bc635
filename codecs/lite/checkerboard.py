"""Coding y in two passes, on the black and then the white fields of a checkerboard.

The first half is predicted from the hyperprior alone, the second also from the first half around it, all of it at
once (He et al. 2021, "Checkerboard Context Model for Efficient Learned Image Compression", section 3.2,
arXiv:2103.15306).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.lite.board import BLACK, WHITE, anchors, in_reading_order, put_back
from taskodec.coding.priors import decode_indexed, encode_indexed, estimate_gaussian, scale_indexes
from taskodec.contracts import Rounding
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.stream.tables import IntArray

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


class Prediction(ABC):
    """Scales and means of y, each of this `shape` (B, M, h, w), for one z_hat and quality."""

    shape: Sequence[int]

    @abstractmethod
    def first(self) -> tuple[Tensor, Tensor]:
        """From the hyperprior alone."""

    @abstractmethod
    def second(self, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """With the fields that are known, all others zero; only those of the other colour mean anything."""

    def black(self) -> tuple[IntArray, Tensor]:
        """Table rows and means, (1, M, n) each, of the fields that are coded first."""
        return self._coded(self.first(), BLACK)

    def white(self, y_hat: Tensor) -> tuple[IntArray, Tensor]:
        """Table rows and means, (1, M, n) each, of the others, with the first in y_hat (1, M, h, w)."""
        return self._coded(self.second(y_hat), WHITE)

    @staticmethod
    def _coded(parameters: tuple[Tensor, Tensor], colour: int) -> tuple[IntArray, Tensor]:
        scales, means = (in_reading_order(p, colour) for p in parameters)  # (1, M, h, w) -> (1, M, n)
        return scale_indexes(scales), means


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


def estimate_checkerboard(y: Tensor, prediction: Prediction, rounding: Rounding) -> tuple[Tensor, Tensor]:
    """Quantised y and the likelihood of every element, as `taskodec.coding.priors.estimate_gaussian`."""
    known = anchors(y)
    y_hat, likelihoods = estimate_gaussian(y, *prediction.first(), rounding)
    other_y_hat, other_likelihoods = estimate_gaussian(y, *prediction.second(y_hat * known), rounding)
    return torch.where(known, y_hat, other_y_hat), torch.where(known, likelihoods, other_likelihoods)


def encode_checkerboard(y: Tensor, prediction: Prediction, coder: SymbolEncoder) -> Tensor:
    """Write y (1, M, h, w); returns y_hat. WeightsError for values that no stream can hold."""

    def code(rows: IntArray, means: Tensor, colour: int) -> Tensor:
        return encode_indexed(in_reading_order(y, colour), means, rows, coder)

    return _both_colours(prediction, code)


def decode_checkerboard(prediction: Prediction, coder: SymbolDecoder) -> Tensor:
    """Read y_hat, of the shape that the prediction has."""

    def code(rows: IntArray, means: Tensor, _: int) -> Tensor:
        return decode_indexed(means, rows, coder)

    return _both_colours(prediction, code)


def _both_colours(prediction: Prediction, code: Callable[[IntArray, Tensor, int], Tensor]) -> Tensor:
    """The one way through of encoder and decoder: `code` gives y_hat of a colour (1, M, n); returns all of it."""
    black = code(*prediction.black(), BLACK)
    y_hat = put_back(black, BLACK, black.new_zeros(prediction.shape))
    return put_back(code(*prediction.white(y_hat), WHITE), WHITE, y_hat)
