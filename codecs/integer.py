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
from decimal import Context, Decimal, localcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.codecs.checkerboard import anchors
from taskodec.entropy import SCALES

__all__ = ["Doubles", "IntegerConv", "IntegerHyperSynthesis", "IntegerPrediction", "between", "exact_exp"]

Doubles = npt.NDArray[np.float64]

Layers = Sequence[tuple[Doubles, Doubles]]
"""Weight (O, I, k, k) and bias (O,) of each convolution."""

ACTIVATIONS = 255
"""Largest activation; the smallest is zero. The largest magnitude of y, too, before its context is computed."""

SYMBOLS = 127
"""Largest magnitude of a symbol of z that is told from larger ones."""

WEIGHTS = 2047
"""Largest magnitude of a weight; TF32 holds 11 bits."""

EXACT = 2**24
"""All sums stay below this, which float32 holds exactly."""

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
        whole = np.stack([row for row, _ in rows])
        self.weight = torch.from_numpy(whole).float()
        self.shift = np.array([shift for _, shift in rows])
        self.room = EXACT - 1 - np.abs(whole).sum((1, 2, 3)) * largest
        self.taps = [(int(row), int(column)) for row, column in np.argwhere(whole.any((0, 1)))]

    def __call__(self, q: Tensor, extra: Doubles | float = 0.0) -> Tensor:
        """Integers (B, I, h, w) to integers (B, O, h, w), padded to the same size; `extra` adds to the real bias.

        A sum of matrix products, one for each tap of the filter, since convolutions may be computed by algorithms
        that are not exact on integers (Winograd's has thirds).
        """
        bias = np.rint(np.ldexp((self.bias + extra) / self.unit_out, self.shift))
        bias = np.clip(bias, -self.room, self.room)
        batch, _, height, width = q.shape
        side = self.weight.shape[-1]
        padded = F.pad(q.cpu().float(), [side // 2] * 4)
        total = torch.from_numpy(bias).float()[:, None].repeat(batch, 1, height * width)
        for row, column in self.taps:
            shifted = padded[:, :, row : row + height, column : column + width].flatten(2)  # -> (B, I, h*w)
            total += self.weight[:, :, row, column] @ shifted
        scale = torch.from_numpy(np.ldexp(1.0, -self.shift)).float()[:, None]
        return torch.floor(total * scale + 0.5).view(batch, -1, height, width)  # (B, O, h*w) -> (B, O, h, w)


class IntegerHyperSynthesis:
    """`lite`'s h_s and context model in integers: from symbols of z, and then of y, to log-scales and means.

    `h_s` are the four convolutions of the one, the first two followed by a pixel shuffle; `context` the three of the
    other, as (weight, bias): of the neighbours, of the features, and the last. `ranges` holds the largest activation
    seen of every channel behind the first three and behind the hidden layer of the context model, and the largest
    magnitude of y at unit gain; `medians` (Z,) are added to the symbols of z.
    """

    def __init__(self, h_s: Layers, context: Layers, ranges: Sequence[Doubles], medians: Doubles) -> None:
        first, second, third, hidden = (np.maximum(r, 1e-3) / ACTIVATIONS for r in ranges[:4])
        self.exponents = np.frexp(np.maximum(ranges[4], 1e-3) / ACTIVATIONS)[1]
        y, last = np.ldexp(1.0, self.exponents), np.repeat([LOG_UNIT, MEAN_UNIT], len(self.exponents))
        (w1, b1), *others = h_s
        b1 = np.array([math.fsum((*share, b)) for share, b in zip(w1[:, :, 0, 0] * medians, b1, strict=True)])
        ones = np.ones(len(medians))
        units = [(ones, np.repeat(first, 4)), (first, np.repeat(second, 4)), (second, third), (third, last)]
        largest = (SYMBOLS, ACTIVATIONS, ACTIVATIONS, ACTIVATIONS)
        layers = zip([(w1, b1), *others], units, largest, strict=True)
        self.h_s = [IntegerConv(*layer, *unit, most) for layer, unit, most in layers]
        units = [(y, hidden), (third, hidden), (hidden, last)]
        self.context = [IntegerConv(*layer, *unit, ACTIVATIONS) for layer, unit in zip(context, units, strict=True)]

    @torch.no_grad()
    def __call__(self, symbols: Tensor, embedding: Doubles, log_gain: Doubles) -> IntegerPrediction:
        """What symbols of z (B, Z, h/4, w/4) say of y at this gain.

        `embedding` (4 Z,) belongs to the first convolution, `log_gain` (M,) to y.
        """
        conv1, conv2, conv3, conv4 = self.h_s
        q = symbols.cpu().float().round().clamp(-SYMBOLS, SYMBOLS)
        q = F.pixel_shuffle(conv1(q, embedding), 2).clamp(0, ACTIVATIONS)
        q = F.pixel_shuffle(conv2(q), 2).clamp(0, ACTIVATIONS)
        q = conv3(q).clamp(0, ACTIVATIONS)
        return IntegerPrediction(self, conv4(q), q, log_gain, symbols)

    def correction(self, y: Tensor, features: Tensor) -> Tensor:
        """What y (B, M, h, w), in units of 2^-16 at unit gain, adds to the output of h_s."""
        neighbours, of_features, last = self.context
        scale = torch.from_numpy(np.ldexp(1.0, -16 - self.exponents))[:, None, None]
        q = torch.floor(y * scale + 0.5).clamp(-ACTIVATIONS, ACTIVATIONS)
        return last((neighbours(q) + of_features(features)).clamp(0, ACTIVATIONS))


class IntegerPrediction:
    """Scales and means of y for one z_hat and gain, each (B, M, h, w), in the type and on the device of `like`.

    The scales lie between the bounds of the tables, at least half a unit from each, so that their table is beyond
    doubt. The means are the same on all machines too.
    """

    def __init__(
        self, net: IntegerHyperSynthesis, base: Tensor, features: Tensor, log_gain: Doubles, like: Tensor
    ) -> None:
        self.net, self.base, self.features, self.like = net, base, features, like
        self.shift = torch.from_numpy(np.rint((log_gain - LOG_FIRST) / LOG_UNIT)).float()[:, None, None]
        gain = exact_exp(log_gain)
        self.gain = torch.from_numpy(gain * MEAN_UNIT)[:, None, None]
        self.step = torch.from_numpy(np.rint(2**16 / gain))[:, None, None]

    def first(self) -> tuple[Tensor, Tensor]:
        """From the hyperprior alone."""
        return self._parameters(self.base)

    @torch.no_grad()
    def second(self, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """With the anchors of y_hat (B, M, h, w)."""
        _, means = self.first()
        known = anchors(self.base)
        symbols = torch.round(y_hat - means).cpu().double()
        y = symbols * self.step + self.base.chunk(2, 1)[1].double() * (2**16 * MEAN_UNIT)
        return self._parameters(self.base + self.net.correction(torch.where(known, y, 0.0), self.features))

    def _parameters(self, integers: Tensor) -> tuple[Tensor, Tensor]:
        logs, means = integers.chunk(2, 1)
        logs = (logs + self.shift).clamp(0, 16 * (len(SCALES) - 1))
        scales = torch.exp(LOG_FIRST + (logs.double() - 0.5) * LOG_UNIT)
        return scales.to(self.like), (means.double() * self.gain).to(self.like)


def exact_exp(x: Doubles) -> Doubles:
    """exp of every element, the same on all machines: no standard says how `numpy.exp` rounds."""
    with localcontext(Context(prec=25)):
        return np.array([float(Decimal(value).exp()) for value in x.tolist()])


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
