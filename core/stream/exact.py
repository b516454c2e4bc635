"""Numbers that are the same on every machine, for codecs whose tables are chosen by integers: numpy only, no torch.

Sums, products, quotients and powers of two are rounded alike everywhere (IEEE 754); nothing else is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ACTIVATIONS",
    "LOG_FIRST",
    "LOG_UNIT",
    "MEAN_UNIT",
    "Doubles",
    "between",
    "exact_exp",
    "knots_of",
    "whole_bias",
]

Doubles = npt.NDArray[np.float64]

ACTIVATIONS = 255
"""Largest activation; the smallest is zero. The largest magnitude of y, too, before its context is computed."""

LOG_FIRST = -2.2072749131897207
"""log 0.11, the smallest scale; in figures, since no standard says how a logarithm is rounded."""

LOG_UNIT = 0.007690924958005241
"""log(256 / 0.11) / 63 / 16: log-scales are counted in sixteenths of the distance between two tables."""

MEAN_UNIT = 2.0**-10


def exact_exp(x: Doubles) -> Doubles:
    """exp of every element, the same on all machines: no standard says how `numpy.exp` rounds."""
    with localcontext(Context(prec=25)):
        return np.array([float(Decimal(value).exp()) for value in x.tolist()])


def knots_of(arrays: Mapping[str, npt.NDArray[Any]], levels: int) -> list[float]:
    """The qualities that `levels` rows stand for: the array `knots`, or 1 to L where exports are older than it."""
    return [float(quality) for quality in arrays.get("knots", np.arange(1, levels + 1))]


def between(levels: Doubles, quality: float, knots: Sequence[float]) -> Doubles:
    """The row of `levels` (L, C), which stand for the qualities `knots` (L,), at any quality: linearly interpolated."""
    low = min(max(bisect_right(knots, quality) - 1, 0), len(levels) - 2)
    share = (quality - knots[low]) / (knots[low + 1] - knots[low])
    row: Doubles = levels[low] + share * (levels[low + 1] - levels[low])
    return row


def whole_bias(real: Doubles, unit: Doubles, shift: npt.NDArray[np.int64], room: Doubles) -> Doubles:
    """The integers, within ±`room`, that stand for a real bias in units of `unit / 2^shift`; all (O,)."""
    bias: Doubles = np.clip(np.rint(np.ldexp(real / unit, shift)), -room, room)
    return bias
