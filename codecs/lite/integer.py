"""Hyper-synthesis and context model in integers, whose results are the same on every machine.

Weights and activations are small integers held in floats: every sum of a matrix product stays below 2^24, so it is
added without rounding, in any order, on any number of threads, in any precision from TF32 up. Made from trained
float networks by quantisation with ranges per channel (Ballé, Johnston and Minnen 2019, "Integer networks for data
compression with latent-variable models", section 3). What decides on an integer is prepared with sums, products,
quotients and powers of two alone, which IEEE 754 rounds alike everywhere. All of it runs on the CPU: it is little work.
Where oneDNN convolves directly (`taskodec.codecs.products`) its convolutions are the same sums, and the fastest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.codecs.lite.board import BLACK, WHITE, fields, on_board
from taskodec.codecs.products import convolves_directly
from taskodec.stream.exact import ACTIVATIONS, LOG_UNIT, MEAN_UNIT, Doubles, whole_bias

__all__ = ["IntegerContext", "IntegerConv", "IntegerHyperSynthesis", "Layers", "activation_units"]

Layers = Sequence[tuple[Doubles, Doubles]]
"""Weight (O, I, k, k) and bias (O,) of each convolution."""

SYMBOLS = 127
"""Largest magnitude of a symbol of z that is told from larger ones."""

WEIGHTS = 2047
"""Largest magnitude of a weight; TF32 holds 11 bits."""

EXACT = 2**24
"""All sums stay below this, which float32 holds exactly."""


class IntegerConv(nn.Module):
    """A convolution on integers: `round((W q + b) / 2^k)`, with W and b integers and k one per output channel.

    `weight` (O, I, k, k) and `bias` (O,) are the real ones; input i stands for `q * unit_in[i]`, output o for
    `result * unit_out[o]`. All |q| are at most `largest`.
    """

    def __init__(self, weight: Doubles, bias: Doubles, unit_in: Doubles, unit_out: Doubles, largest: int) -> None:
        super().__init__()
        real = weight * unit_in[None, :, None, None] / unit_out[:, None, None, None]
        self.real_bias, self.unit_out, self.margin = bias, unit_out, weight.shape[-1] // 2
        rows = [_quantized(row, largest) for row in real]
        whole = np.stack([row for row, _ in rows])
        self.shift = np.array([shift for _, shift in rows])
        self.room = EXACT - 1 - np.abs(whole).sum((1, 2, 3)) * largest
        self.taps = [(int(row), int(column)) for row, column in np.argwhere(whole.any((0, 1)))]
        self.matrices: Tensor  # (taps, O, I)
        self.bias: Tensor  # (O,)
        self.scale: Tensor  # (O, 1)
        matrices = [whole[:, :, row, column] for row, column in self.taps]
        self.register_buffer("matrices", torch.from_numpy(np.array(matrices)).float())
        self.kernel: Tensor  # (O, I, k, k), the same once more
        kernel = torch.from_numpy(whole).float().contiguous(memory_format=torch.channels_last)
        self.register_buffer("kernel", kernel, persistent=False)
        self.register_buffer("bias", self.with_bias(0.0))
        self.register_buffer("scale", torch.from_numpy(np.ldexp(1.0, -self.shift)[:, None]).float())

    def with_bias(self, extra: Doubles | float) -> Tensor:
        """The integers b for a real bias larger by `extra`."""
        return torch.from_numpy(whole_bias(self.real_bias + extra, self.unit_out, self.shift, self.room)).float()

    def forward(self, q: Tensor, bias: Tensor | None = None) -> Tensor:
        """Integers (B, I, h, w) to integers (B, O, h, w), padded to the same size; `bias` in the place of b.

        In general a sum of matrix products, one for each tap of the filter, since convolutions may be computed by
        algorithms that are not exact on integers (Winograd's has thirds).
        """
        bias = self.bias if bias is None else bias
        if convolves_directly(q):
            return self.rounded(convolved(q, self.kernel, bias, self.margin))
        height, width = q.shape[2:]
        padded = F.pad(q, [self.margin] * 4)
        total = bias[:, None]
        for matrix, (row, column) in zip(self.matrices, self.taps, strict=True):
            shifted = padded[:, :, row : row + height, column : column + width].flatten(2)  # -> (B, I, h*w)
            total = total + matrix @ shifted
        out = torch.floor(total * self.scale + 0.5)
        return out.reshape(q.shape[0], -1, height, width)  # (B, O, h*w) -> (B, O, h, w)

    def rounded(self, total: Tensor) -> Tensor:
        """The result of sums (B, O, h, w), which are overwritten."""
        return total.mul_(self.scale[:, :, None]).add_(0.5).floor_()


class IntegerHyperSynthesis(nn.Module):
    """`lite`'s h_s in integers; of its four convolutions, the first two are followed by a pixel shuffle.

    `units` are those of the activations behind the first three, in reals, and `medians` (Z,) what is added to the
    symbols of z.
    """

    def __init__(self, layers: Layers, units: Sequence[Doubles], medians: Doubles) -> None:
        super().__init__()
        (weight, bias), *others = layers
        shares = zip(weight[:, :, 0, 0] * medians, bias, strict=True)
        first = (weight, np.array([math.fsum((*share, b)) for share, b in shares]))
        inputs = (np.ones(len(medians)), *units)
        outputs = (np.repeat(units[0], 4), np.repeat(units[1], 4), units[2], parameter_units(len(others[-1][1]) // 2))
        largest = (SYMBOLS, ACTIVATIONS, ACTIVATIONS, ACTIVATIONS)
        convs = zip((first, *others), inputs, outputs, largest, strict=True)
        self.first, self.second, self.third, self.last = (
            IntegerConv(*layer, unit_in, unit_out, most) for layer, unit_in, unit_out, most in convs
        )

    def forward(self, symbols: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scales and means at unit gain (B, 2M, h, w), and features (B, F, h, w).

        From symbols of z (B, Z, h/4, w/4) and the first convolution's bias (4 Z,), which depends on the quality.
        """
        q = F.pixel_shuffle(self.first(symbols.clamp(-SYMBOLS, SYMBOLS), bias), 2).clamp(0, ACTIVATIONS)
        q = F.pixel_shuffle(self.second(q), 2).clamp(0, ACTIVATIONS)
        features = self.third(q).clamp(0, ACTIVATIONS)
        return self.last(features), features


class IntegerContext(nn.Module):
    """`lite`'s context model in integers: its convolutions of the neighbours, of the features, and the last.

    `units` are those of y, which are powers of two, of the features and of the hidden layer, in reals.
    """

    def __init__(self, layers: Layers, units: Sequence[Doubles]) -> None:
        super().__init__()
        y, features, hidden = units
        pairs = ((y, hidden), (features, hidden), (hidden, parameter_units(len(y))))
        convs = [IntegerConv(*layer, *pair, ACTIVATIONS) for layer, pair in zip(layers, pairs, strict=True)]
        self.neighbours, self.features, self.last = convs
        self.halves: Tensor  # (2, C, M, 5, 3)
        self.register_buffer("halves", half_kernels(self.neighbours.kernel), persistent=False)

    def forward(self, y: Tensor, features: Tensor) -> Tensor:
        """What y (B, M, h, w), up to ±ACTIVATIONS and 0 on the white fields, adds there to the output of h_s.

        (B, 2M, h, w), whose black fields mean nothing.
        """
        if convolves_directly(y) and y.shape[2] % 2 == y.shape[3] % 2 == 0:
            hidden = self._neighbours(fields(y, BLACK)) + self.features(fields(features, WHITE))
            return on_board(self.last(hidden.clamp_(0, ACTIVATIONS)), WHITE)
        correction: Tensor = self.last((self.neighbours(y) + self.features(features)).clamp(0, ACTIVATIONS))
        return correction

    def _neighbours(self, black: Tensor) -> Tensor:
        """The convolution of the neighbours at the white fields (B, C, h, w/2) of what is on the black (B, M, h, w/2).

        Where a field's neighbours lie among the black ones depends on whether its row is an even one.
        """
        padded = F.pad(black, (1, 1, 2, 2)).contiguous(memory_format=torch.channels_last)
        out = black.new_empty(len(black), self.halves.shape[1], *black.shape[2:])
        for parity, kernel in enumerate(self.halves):
            rows = convolved(padded[:, :, parity:], kernel, self.neighbours.bias, 0, (2, 1))
            out[:, :, parity::2] = self.neighbours.rounded(rows)
        return out


def convolved(q: Tensor, kernel: Tensor, bias: Tensor | None, padding: int, stride: tuple[int, int] = (1, 1)) -> Tensor:
    """oneDNN's convolution of (B, I, h, w), which PyTorch has it compute as the sums that it is."""
    q = q.contiguous(memory_format=torch.channels_last)
    out: Tensor = torch.mkldnn_convolution(q, kernel, bias, (padding, padding), stride, (1, 1), 1)
    return out


def half_kernels(kernel: Tensor) -> Tensor:
    """What a 5×5 filter (O, I, 5, 5) of the other colour is on the fields of one colour alone: (2, O, I, 5, 3).

    The first is for the white fields of even rows, the second for those of odd ones.
    """
    halves = kernel.new_zeros(2, *kernel.shape[:3], 3)
    for parity in (0, 1):
        for row in range(5):
            for column in range((row + 1) % 2, 5, 2):
                # black field j of a row is in column 2 j or, of an odd one, 2 j + 1; white ones the other way round
                own, other = 1 - parity, (parity + row) % 2
                halves[parity, :, :, row, (column - 2 + own - other) // 2 + 1] = kernel[:, :, row, column]
    return halves


def parameter_units(channels: int) -> Doubles:
    """What an integer log-scale and an integer mean stand for, (2 * channels,)."""
    return np.repeat([LOG_UNIT, MEAN_UNIT], channels)


def activation_units(ranges: Doubles) -> Doubles:
    """What an integer stands for where the largest real activation of each channel is this."""
    units: Doubles = np.maximum(ranges, 1e-3) / ACTIVATIONS
    return units


def _quantized(real: Doubles, largest: int) -> tuple[Doubles, int]:
    """Integers `W = round(real * 2^k)` of one output channel, and the largest k up to 20 for which all fits."""
    peak = float(np.abs(real).max())
    shift = min(20, math.frexp(WEIGHTS / peak)[1] - 1) if peak else 0
    while True:
        row = np.rint(np.ldexp(real, shift))
        if np.abs(row).sum() * largest < EXACT // 2:  # the other half is for the bias
            return row, shift
        shift -= 1
