"""Scales and means of `lite`'s y: in floats for training, and how its integer form is made."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from taskodec.codecs.integer import Doubles, IntegerHyperSynthesis
from taskodec.codecs.lite_transforms import Context, HyperSynthesis, full_precision
from taskodec.entropy import SCALES

__all__ = ["FloatPrediction", "double", "integer_hyper_synthesis"]


class FloatPrediction:
    """A `taskodec.codecs.checkerboard.Prediction` in floats, differentiable.

    `z_hat` is (B, Z, h/4, w/4), `embedding` (1 or B, 4 Z, 1, 1), `log_gain` (1 or B, M, 1, 1).
    """

    def __init__(
        self, h_s: HyperSynthesis, context: Context, z_hat: Tensor, embedding: Tensor, log_gain: Tensor
    ) -> None:
        self.context, self.log_gain = context, log_gain
        with full_precision(z_hat):
            self.base, self.features = h_s(z_hat, embedding)

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


def integer_hyper_synthesis(
    h_s: HyperSynthesis, context: Context, ranges: Tensor, sizes: Sequence[int], medians: Tensor
) -> IntegerHyperSynthesis:
    """The integer form of trained networks; `ranges` are the measured ones, in parts of these `sizes`."""
    convs = [layer for layer in (h_s.first, *h_s.body, h_s.last) if isinstance(layer, nn.Conv2d)]
    features, last = (_weight_and_bias(layer) for layer in (context.features, context.last))
    neighbours = (double(context.neighbours.kernel()), np.zeros_like(features[1]))
    parts = [double(part) for part in torch.split(ranges, list(sizes))]
    layers = [_weight_and_bias(conv) for conv in convs]
    return IntegerHyperSynthesis(layers, [neighbours, features, last], parts, double(medians))


def double(value: Tensor) -> Doubles:
    """A copy as a numpy array of float64."""
    array: Doubles = value.detach().double().cpu().numpy()
    return array


def _weight_and_bias(conv: nn.Conv2d) -> tuple[Doubles, Doubles]:
    assert conv.bias is not None
    return double(conv.weight), double(conv.bias)
