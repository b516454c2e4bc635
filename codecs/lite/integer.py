"""Hyper-synthesis and context model in integers, whose results are the same on every machine.

Weights and activations are small integers held in floats: every sum of a matrix product stays below 2^24, so it is
added without rounding, in any order, on any number of threads, in any precision from TF32 up. Made from trained
float networks by quantisation with ranges per channel (Ballé, Johnston and Minnen 2019, "Integer networks for data
compression with latent-variable models", section 3). What decides on an integer is prepared with sums, products,
quotients and powers of two alone, which IEEE 754 rounds alike everywhere. All of it runs on the CPU: it is little work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        self.register_buffer("bias", self.with_bias(0.0))
        self.register_buffer("scale", torch.from_numpy(np.ldexp(1.0, -self.shift)[:, None]).float())

    def with_bias(self, extra: Doubles | float) -> Tensor:
        """The integers b for a real bias larger by `extra`."""
        return torch.from_numpy(whole_bias(self.real_bias + extra, self.unit_out, self.shift, self.room)).float()

    def forward(self, q: Tensor, bias: Tensor | None = None) -> Tensor:
        """Integers (B, I, h, w) to integers (B, O, h, w), padded to the same size; `bias` in the place of b.

        A sum of matrix products, one for each tap of the filter, since convolutions may be computed by algorithms
        that are not exact on integers (Winograd's has thirds).
        """
        height, width = q.shape[2:]
        padded = F.pad(q, [self.margin] * 4)
        total = (self.bias if bias is None else bias)[:, None]
        for matrix, (row, column) in zip(self.matrices, self.taps, strict=True):
            shifted = padded[:, :, row : row + height, column : column + width].flatten(2)  # -> (B, I, h*w)
            total = total + matrix @ shifted
        out = torch.floor(total * self.scale + 0.5)
        return out.reshape(q.shape[0], -1, height, width)  # (B, O, h*w) -> (B, O, h, w)


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
        outputs = (np.repeat(units[0], 4), np.repeat(units[1], 4), units[2], parameter_units(len(layers[-1][1]) // 2))
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

    def forward(self, y: Tensor, features: Tensor) -> Tensor:
        """What y (B, M, h, w), up to ±ACTIVATIONS, adds to the output of h_s (B, 2M, h, w)."""
        correction: Tensor = self.last((self.neighbours(y) + self.features(features)).clamp(0, ACTIVATIONS))
        return correction


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
