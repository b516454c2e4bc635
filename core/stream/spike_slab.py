"""Coding of singular values themselves, as published: rounded to a fixed step, under a spike-and-slab prior.

Van Rozendaal et al. 2021 ("Overfitting for Fun and Profit", arXiv:2101.08687, section 3) code weights under
`p = (N(0, 0.05²) + alpha · N(0, (t / 6)²)) / (1 + alpha)` with alpha = 1000. Park et al. (CVPR 2025) take the prior
of t = 5e-3 for values rounded to 5e-5, which costs some 20 bits a value; this module is for comparisons with them.

A value q, in steps, is near (|q| <= 72) or far. The segment holds: near or far, of all values; the near ones; of
the far ones the signs, then which 64 steps beyond 72 they lie in, then where in these. That is within 1 % of the
published prior, whose own probabilities are too small for one table. numpy only, no torch.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.delta import LARGEST
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.tables import IntArray, counts_by_weight

__all__ = ["ABSOLUTE_STEP", "ALPHA", "SLAB", "SPIKE", "decode_absolute", "encode_absolute", "spike_slab_tables"]

ABSOLUTE_STEP = 5e-5
"""What singular values are rounded to."""

ALPHA, SLAB, SPIKE = 1000, 0.05, 5e-3 / 6
"""Weight of the spike, and the standard deviations of slab and spike."""

NEAR, BLOCKS, BLOCK_BITS = 72, 128, 6

PRECISION = 128
"""Bits after the point of the integers that the prior is computed in."""


@functools.cache
def spike_slab_tables() -> tuple[Tables, Tables, Tables]:
    """For near (0) or far (1), for the near values, and for the blocks of the far ones; from integers only."""
    slab = _bells(NEAR + 1 + (BLOCKS << BLOCK_BITS), Fraction(1, 2 * 1000**2))  # 0.05 is 1000 steps
    spike = _bells(len(slab), Fraction(9, 5000))  # 5e-3 / 6 is 50 / 3 steps
    weights = [a + ALPHA * 60 * b for a, b in zip(slab, spike, strict=True)]  # 60 times narrower, so as much higher
    near, far = weights[: NEAR + 1], weights[NEAR + 1 :]
    blocks = [sum(far[i : i + (1 << BLOCK_BITS)]) for i in range(0, len(far), 1 << BLOCK_BITS)]
    rows = ([2 * sum(near) - near[0], 2 * sum(far)], [*near[:0:-1], *near], blocks)
    classes, values, blocks_table = (
        Tables([counts_by_weight(row)], np.array([offset])) for row, offset in zip(rows, (0, -NEAR, 0), strict=True)
    )
    return classes, values, blocks_table


def encode_absolute(values: IntArray, coder: SymbolEncoder) -> None:
    """Write (n,) integers in units of `ABSOLUTE_STEP`. UsageError for values beyond `LARGEST`."""
    values = np.asarray(values)
    if (
        values.ndim != 1
        or values.dtype.kind not in "iu"
        or (values.size and np.abs(values.astype(int)).max() > LARGEST)
    ):
        raise UsageError(f"singular values to be coded must be a row of whole numbers of at most {LARGEST} steps")
    classes, near, blocks = spike_slab_tables()
    is_far = np.abs(values) > NEAR
    coder.encode(is_far.astype(np.int32), _first_row(values), classes)
    coder.encode(values[~is_far], _first_row(values[~is_far]), near)
    far = values[is_far].astype(np.int64)
    beyond = np.abs(far) - NEAR - 1
    coder.encode_bits((far < 0).astype(np.int64), 1)
    coder.encode(beyond >> BLOCK_BITS, _first_row(far), blocks)
    coder.encode_bits(beyond & ((1 << BLOCK_BITS) - 1), BLOCK_BITS)


def decode_absolute(count: int, coder: SymbolDecoder) -> npt.NDArray[np.int32]:
    """Read so many integers. DamagedStreamError if no encoder writes such data."""
    classes, near, blocks = spike_slab_tables()
    kinds = coder.decode(np.zeros(count, dtype=np.int64), classes)
    if ((kinds != 0) & (kinds != 1)).any():
        raise DamagedStreamError("the stream's singular values are damaged: one is neither near zero nor far")
    values = np.zeros(count, dtype=np.int64)
    is_far = kinds == 1
    values[~is_far] = coder.decode(_first_row(values[~is_far]), near)
    if (np.abs(values) > NEAR).any():
        raise DamagedStreamError(f"the stream's singular values are damaged: a near one is beyond {NEAR}")
    far = int(is_far.sum())
    signs = 1 - 2 * coder.decode_bits(far, 1)
    block = coder.decode(np.zeros(far, dtype=np.int64), blocks).astype(np.int64)
    if (block < 0).any() or (block > LARGEST >> BLOCK_BITS).any():
        raise DamagedStreamError(f"the stream's singular values are damaged: a far one is beyond {LARGEST}")
    values[is_far] = signs * (NEAR + 1 + (block << BLOCK_BITS) + coder.decode_bits(far, BLOCK_BITS))
    return values.astype(np.int32)


def _first_row(values: IntArray) -> IntArray:
    return np.zeros(len(values), dtype=np.int64)


def _bells(count: int, a: Fraction) -> list[int]:
    """exp(-a q²) for q from 0 to count - 1, times 2^PRECISION; each from the one before, in integers."""
    ratio, second = _exponential(a), _exponential(2 * a)
    bells = [1 << PRECISION]
    while len(bells) < count:
        bells.append(bells[-1] * ratio >> PRECISION)
        ratio = ratio * second >> PRECISION
    return bells


def _exponential(a: Fraction) -> int:
    """exp(-a) times 2^PRECISION for 0 <= a < 1, by its series."""
    terms = ((-a) ** k / math.factorial(k) for k in range(30))
    scaled: Fraction = sum(terms, Fraction(0)) * 2**PRECISION
    return math.floor(scaled)
