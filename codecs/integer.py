"""A hyper-synthesis in integers, whose result is the same on every machine.

Weights and activations are small integers held in float64: every sum stays below 2^24, so it is added without
rounding in any order and on any number of threads; an algorithm that is not exact on integers (Winograd's has thirds)
errs by about 2^-29, and what follows rounds that away. Made from a trained float network by quantisation with ranges
per channel (Ballé, Johnston and Minnen 2019, "Integer networks for data compression with latent-variable models",
section 3). What decides on an integer is prepared with sums, products, quotients and powers of two alone, which
IEEE 754 rounds alike everywhere. All of it runs on the CPU: not every device has float64, and it is little work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from taskodec.entropy import SCALES

__all__ = ["IntegerConv", "IntegerHyperSynthesis", "between"]

Doubles = npt.NDArray[np.float64]

ACTIVATIONS = 255
"""Largest activation; the smallest is zero."""

SYMBOLS = 127
"""Largest magnitude of a symbol of z that is told from larger ones."""

WEIGHTS = 127
"""Largest magnitude of a weight."""

EXACT = 2**24
"""All sums stay below this; float64 has 29 bits to spare."""

LOG_FIRST = -2.2072749131897207
"""log 0.11, the smallest scale; in figures, since no standard says how a logarithm is rounded."""

LOG_UNIT = 0.007690924958005241
"""log(256 / 0.11) / 63 / 16: log-scales are counted in sixteenths of the distance between two tables."""

MEAN_UNIT = 2.0**-10


class IntegerConv:
    """A convolution on integers: `round((W q + b) / 2^k)`, with W and b integers and k one per output channel.

    `weight` (O, I, k, k) and `bias` (O,) are the real ones; input i stands for `q * unit_in[i]`, output o for
    `result * unit_out[o]`. All |q| are at most `largest`.
    """

    def __init__(self, weight: Doubles, bias: Doubles, unit_in: Doubles, unit_out: Doubles, largest: int) -> None:
        real = weight * unit_in[None, :, None, None] / unit_out[:, None, None, None]
        self.bias, self.unit_out = bias, unit_out
        rows = [_quantized(row, largest) for row in real]
        self.weight = torch.from_numpy(np.stack([row for row, _ in rows]))
        self.shift = np.array([shift for _, shift in rows])
        self.room = EXACT - 1 - np.abs(np.stack([row for row, _ in rows])).sum((1, 2, 3)) * largest

    def __call__(self, q: Tensor, extra: Doubles | float = 0.0) -> Tensor:
        """Integers (B, I, h, w) to integers (B, O, h, w), padded to the same size; `extra` adds to the real bias.

        The result is float32, which holds the integers of activations exactly, and lies on the CPU.
        """
        bias = np.rint(np.ldexp((self.bias + extra) / self.unit_out, self.shift))
        bias = np.clip(bias, -self.room, self.room)
        padding = self.weight.shape[-1] // 2
        total = F.conv2d(q.cpu().double(), self.weight, torch.from_numpy(bias), padding=padding)
        total = total.round()  # Winograd convolutions leave a hair on exact sums
        scale = torch.from_numpy(np.ldexp(1.0, -self.shift))[:, None, None]
        return torch.floor(total * scale + 0.5).float()


class IntegerHyperSynthesis:
    """`lite`'s h_s in integers: from symbols of z to log-scales and means.

    `convs` are its four convolutions, the first two followed by a pixel shuffle; `ranges` holds the largest
    activation seen of every channel behind the first three; `medians` (Z,) are added to the symbols of z.
    """

    def __init__(self, convs: Sequence[nn.Conv2d], ranges: Sequence[Doubles], medians: Doubles) -> None:
        first, second, third = (np.maximum(r, 1e-3) / ACTIVATIONS for r in ranges)
        out = len(ranges[2])
        last = np.repeat([LOG_UNIT, MEAN_UNIT], out)
        weights = [_double(conv.weight) for conv in convs]
        biases = [_double(conv.bias) for conv in convs if conv.bias is not None]
        shares = weights[0][:, :, 0, 0] * medians
        biases[0] = np.array([math.fsum((*share, bias)) for share, bias in zip(shares, biases[0], strict=True)])
        units = (np.ones(len(medians)), np.repeat(first, 4), first, np.repeat(second, 4), second, third, third, last)
        largest = (SYMBOLS, ACTIVATIONS, ACTIVATIONS, ACTIVATIONS)
        self.convs = [
            IntegerConv(weights[i], biases[i], units[2 * i], units[2 * i + 1], largest[i]) for i in range(len(convs))
        ]

    @torch.no_grad()
    def __call__(self, symbols: Tensor, embedding: Doubles, log_gain: Doubles) -> tuple[Tensor, Tensor]:
        """Scales and means of y at this gain, (B, M, h, w), from symbols of z (B, Z, h/4, w/4).

        `embedding` (4 Z,) belongs to the first convolution, `log_gain` (M,) to y. The scales lie between the
        bounds of the tables, at least half a unit from each, so that their table is beyond doubt. The means may
        differ in their last digit, where machines have another `exp`; that moves no symbol of a decoder.
        """
        conv1, conv2, conv3, conv4 = self.convs
        q = symbols.cpu().double().round().clamp(-SYMBOLS, SYMBOLS)
        q = F.pixel_shuffle(conv1(q, embedding), 2).clamp(0, ACTIVATIONS)
        q = F.pixel_shuffle(conv2(q), 2).clamp(0, ACTIVATIONS)
        q = conv3(q).clamp(0, ACTIVATIONS)
        logs, means = conv4(q).chunk(2, 1)
        shift = torch.from_numpy(np.rint((log_gain - LOG_FIRST) / LOG_UNIT))[:, None, None]
        logs = (logs + shift).clamp(0, 16 * (len(SCALES) - 1))
        gain = torch.from_numpy(np.exp(log_gain) * MEAN_UNIT)[:, None, None]
        scales, means = torch.exp(LOG_FIRST + (logs - 0.5) * LOG_UNIT), means * gain
        return scales.to(symbols), means.to(symbols)


def between(levels: Doubles, quality: float) -> Doubles:
    """The row of `levels` (L, C), which stand for qualities 1 to L, at any quality: linearly interpolated."""
    position = quality - 1
    low = min(max(math.floor(position), 0), len(levels) - 2)
    row: Doubles = levels[low] + (position - low) * (levels[low + 1] - levels[low])
    return row


def _quantized(real: Doubles, largest: int) -> tuple[Doubles, int]:
    """Integers `W = round(real * 2^k)` of one output channel, and the largest k up to 20 for which all fits."""
    peak = float(np.abs(real).max())
    shift = min(20, math.frexp(WEIGHTS / peak)[1] - 1) if peak else 0
    while True:
        row = np.rint(np.ldexp(real, shift))
        if np.abs(row).sum() * largest < EXACT // 2:  # the other half is for the bias
            return row, shift
        shift -= 1


def _double(value: Tensor) -> Doubles:
    array: Doubles = value.detach().double().cpu().numpy()
    return array
