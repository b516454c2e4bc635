"""Scales and means of `lite`'s y: in floats for training, in integers for coding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.lite.board import BLACK, WHITE, fields, on_board
from taskodec.codecs.lite.checkerboard import Prediction
from taskodec.codecs.lite.integer import IntegerContext, IntegerHyperSynthesis, activation_units
from taskodec.codecs.lite.transforms import Context, HyperSynthesis, full_precision
from taskodec.stream.entropy import SCALES
from taskodec.stream.exact import ACTIVATIONS, LOG_FIRST, LOG_UNIT, MEAN_UNIT, Doubles, exact_exp
from taskodec.stream.tables import IntArray

__all__ = ["FloatPrediction", "IntegerPrediction", "IntegerPredictor", "double"]


class FloatPrediction(Prediction):
    """In floats, differentiable.

    `z_hat` is (B, Z, h/4, w/4), `embedding` (1 or B, 4 Z, 1, 1), `log_gain` (1 or B, M, 1, 1).
    """

    def __init__(
        self, h_s: HyperSynthesis, context: Context, z_hat: Tensor, embedding: Tensor, log_gain: Tensor
    ) -> None:
        self.context, self.log_gain = context, log_gain
        with full_precision(z_hat):
            self.base, self.features = h_s(z_hat, embedding)
        self.shape = self.base.chunk(2, 1)[0].shape

    def first(self) -> tuple[Tensor, Tensor]:
        """From the hyperprior alone."""
        return self._parameters(self.base)

    def second(self, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """With the anchors of y_hat (B, M, h, w), all else zero."""
        with full_precision(y_hat):
            correction = self.context(y_hat * (-self.log_gain).exp(), self.features)
        return self._parameters(self.base + correction)

    def _parameters(self, real: Tensor) -> tuple[Tensor, Tensor]:
        log_scales, means = real.chunk(2, 1)
        log_scales = (log_scales + self.log_gain).clamp(math.log(SCALES[0]), math.log(SCALES[-1]))
        return log_scales.exp(), means * self.log_gain.exp()


class IntegerPredictor:
    """h_s and the context model of trained weights, in integers on the CPU.

    `ranges` holds, in parts of these `sizes`, the largest activations behind the three hidden layers of h_s and the
    one of the context model, and the largest magnitude of y at unit gain.
    """

    def __init__(
        self, h_s: HyperSynthesis, context: Context, ranges: Tensor, sizes: Sequence[int], medians: Tensor
    ) -> None:
        *parts, y = (double(part) for part in torch.split(ranges, list(sizes)))
        *units, hidden = (activation_units(part) for part in parts)
        self.features = sizes[2]
        self.exponents = np.frexp(activation_units(y))[1]
        self.y_scale = torch.from_numpy(np.ldexp(1.0, -self.exponents))[:, None, None]
        layers = [_weight_and_bias(layer) for layer in (h_s.first, *h_s.body, h_s.last) if isinstance(layer, nn.Conv2d)]
        self.h_s = IntegerHyperSynthesis(layers, units, double(medians))
        features, last = (_weight_and_bias(layer) for layer in (context.features, context.last))
        neighbours = (double(context.neighbours.kernel()), np.zeros_like(features[1]))
        y_units = np.ldexp(1.0, self.exponents)
        self.context = IntegerContext([neighbours, features, last], [y_units, units[-1], hidden])

    @torch.no_grad()
    def __call__(self, symbols: Tensor, embedding: Doubles, log_gain: Doubles) -> IntegerPrediction:
        """What symbols of z (B, Z, h/4, w/4) say of y; `embedding` (4 Z,) and `log_gain` (M,) say at which quality."""
        base, features = self.h_s(symbols.cpu().float().round(), self.h_s.first.with_bias(embedding))
        return IntegerPrediction(self, base, features, log_gain, symbols)

    @torch.no_grad()
    def correction(self, y: Tensor, features: Tensor) -> Tensor:
        """What y on the black fields (B, M, h, w/2), whole multiples of 2^-16 at unit gain, adds on the white ones.

        (B, 2M, h, w); `y` is overwritten.
        """
        q = y.mul_(self.y_scale).add_(0.5).floor_().clamp_(-ACTIVATIONS, ACTIVATIONS)
        correction: Tensor = self.context(on_board(q.float(), BLACK), features)
        return correction


class IntegerPrediction(Prediction):
    """Scales and means of y for one z_hat and gain, each (B, M, h, w), in the type and on the device of `like`.

    The scales lie between the bounds of the tables, at least half a unit from each, so that their table is beyond
    doubt. The means are the same on all machines too.
    """

    def __init__(
        self, predictor: IntegerPredictor, base: Tensor, features: Tensor, log_gain: Doubles, like: Tensor
    ) -> None:
        self.predictor, self.base, self.features, self.like = predictor, base, features, like
        self.shape = base.chunk(2, 1)[0].shape
        self.shift, self.gain, self.step = _level(log_gain.tobytes())

    def first(self) -> tuple[Tensor, Tensor]:
        """From the hyperprior alone."""
        return self._parameters(self.base)

    def second(self, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """With the anchors of y_hat (B, M, h, w)."""
        correction = on_board(fields(self._correction(y_hat), WHITE), WHITE)  # and nothing where it means nothing
        return self._parameters(self.base + correction)

    def black(self) -> tuple[IntArray, Tensor]:
        return self._rows_and_means(fields(self.base, BLACK))

    def white(self, y_hat: Tensor) -> tuple[IntArray, Tensor]:
        return self._rows_and_means(fields(self.base, WHITE).add_(fields(self._correction(y_hat), WHITE)))

    @torch.no_grad()
    def _correction(self, y_hat: Tensor) -> Tensor:
        """What the anchors of y_hat (B, M, h, w) add to the output of h_s on all other fields."""
        whole = fields(self.base.chunk(2, 1)[1], BLACK).double()  # (B, M, h, w/2)
        symbols = torch.round(fields(y_hat, BLACK) - self._means(whole)).cpu().double()
        y = symbols.mul_(self.step).add_(whole.mul_(MEAN_UNIT))
        return self.predictor.correction(y, self.features)

    def _parameters(self, integers: Tensor) -> tuple[Tensor, Tensor]:
        logs, means = integers.chunk(2, 1)
        scales = torch.exp(LOG_FIRST + (self._steps(logs).double() - 0.5) * LOG_UNIT)
        return scales.to(self.like), self._means(means.double())

    def _rows_and_means(self, integers: Tensor) -> tuple[IntArray, Tensor]:
        """Table rows and means from integers (1, 2M, h, w/2): (1, M, h * w/2) each."""
        logs, means = integers.flatten(2).chunk(2, 1)
        # the first table whose scale is not below the one of `_parameters`: there are 16 steps from one to the next
        rows = torch.ceil(self._steps(logs[..., None]) / 16)[..., 0]
        return rows.short().numpy(), self._means(means[..., None].double())[..., 0]

    def _steps(self, logs: Tensor) -> Tensor:
        return (logs + self.shift).clamp_(0, 16 * (len(SCALES) - 1))

    def _means(self, whole: Tensor) -> Tensor:
        return (whole * self.gain).to(self.like)


@lru_cache(maxsize=16)
def _level(log_gain: bytes) -> tuple[Tensor, Tensor, Tensor]:
    """For the bytes of a log_gain (M,): the shift of log-scales, the unit of means, the step of symbols (M, 1, 1)."""
    values: Doubles = np.frombuffer(log_gain)
    gain = exact_exp(values)
    shift, step = np.rint((values - LOG_FIRST) / LOG_UNIT), np.ldexp(np.rint(np.ldexp(1 / gain, 16)), -16)
    column = (torch.from_numpy(value)[:, None, None] for value in (shift, gain * MEAN_UNIT, step))
    shift, unit, step = column
    return shift.float(), unit, step


def double(value: Tensor) -> Doubles:
    """A copy as a numpy array of float64."""
    array: Doubles = value.detach().double().cpu().numpy()
    return array


def _weight_and_bias(conv: nn.Conv2d) -> tuple[Doubles, Doubles]:
    assert conv.bias is not None
    return double(conv.weight), double(conv.bias)
