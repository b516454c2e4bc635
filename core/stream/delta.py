"""Coding of the numbers that travel: integers `q = round(delta / step)`, in groups, one group a layer.

The segment holds, in this order: the number of the step (5 bits), the number of the gate table (3 bits), the
number of the value table (4 bits), one gate per group (is any of its values not zero?), and the values of the
open groups. Both tables are the cheapest ones for the vector, found by trying all. A vector of zeros has no
segment: one bit in the stream's header says so. numpy only, no torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.tables import TOTAL, counts_by_weight

__all__ = ["LARGEST", "STEPS", "decode_delta", "delta_bits", "encode_delta", "gate_tables", "value_tables"]

IntArray = npt.NDArray[Any]

STEPS: tuple[float, ...] = tuple(2.0 ** -(k // 2) * (math.sqrt(0.5) if k % 2 else 1.0) for k in range(32))
"""The step sizes 2^(-k/2), from 1 down to 2e-5; square roots are rounded alike everywhere, powers are not."""

LARGEST = 2**20
"""No value is farther from zero than this."""

STEP_BITS, GATE_BITS, VALUE_BITS = 5, 3, 4

GATE_OPEN = (1, 4, 8, 16, 32, 48, 56, 63)
"""Probabilities of an open gate, in 64ths."""

DECAY = (8, 24, 44, 66, 89, 111, 133, 153, 171, 187, 201, 212, 222, 230, 242, 250)
"""How the probability falls from |q| to |q| + 1, in 256ths: mean |q| of open groups from 0.06 to 42."""


@functools.cache
def gate_tables() -> Tables:
    """Row i: gate closed (0) or open (1) with probability GATE_OPEN[i] / 64. The escape is never used."""
    opens = [TOTAL * p // 64 for p in GATE_OPEN]
    return Tables([np.array([TOTAL - p - 1, p, 1]) for p in opens], np.zeros(len(opens), dtype=np.int64))


@functools.cache
def value_tables() -> Tables:
    """Row i: the two-sided geometric distribution with ratio DECAY[i] / 256, cut where a count would vanish.

    The integers come from integer arithmetic only, so that they are the same everywhere.
    """
    rows = [_geometric(ratio) for ratio in DECAY]
    return Tables(rows, np.array([-(len(row) // 2 - 1) for row in rows]))


def delta_bits(values: IntArray, groups: Sequence[int]) -> float:
    """Exact cost of this vector in a stream; 0 for a vector of zeros.

    `values` is a (sum of groups,) integer vector. Raises UsageError if it is not.
    """
    values = _checked(values, groups)
    if not values.any():
        return 0.0
    gates, opened = _split(values, groups)
    return (
        STEP_BITS + GATE_BITS + VALUE_BITS + _cheapest(gates, gate_tables())[1] + _cheapest(opened, value_tables())[1]
    )


def encode_delta(values: IntArray, groups: Sequence[int], step_index: int, coder: SymbolEncoder) -> None:
    """Write a vector that is not all zeros, in units of `STEPS[step_index]`. UsageError for anything else."""
    values = _checked(values, groups)
    if not values.any():
        raise UsageError("the delta is all zeros; leave its segment out instead")
    if not 0 <= step_index < len(STEPS):
        raise UsageError(f"step number {step_index} does not exist; valid: 0 to {len(STEPS) - 1}")
    gates, opened = _split(values, groups)
    gate_row, value_row = _cheapest(gates, gate_tables())[0], _cheapest(opened, value_tables())[0]
    coder.encode_uniform(step_index, STEP_BITS)
    coder.encode_uniform(gate_row, GATE_BITS)
    coder.encode_uniform(value_row, VALUE_BITS)
    coder.encode(gates, np.full_like(gates, gate_row), gate_tables())
    coder.encode(opened, np.full_like(opened, value_row), value_tables())


def decode_delta(groups: Sequence[int], coder: SymbolDecoder) -> tuple[npt.NDArray[np.int32], float]:
    """Read the integers (sum of groups,) and their step. DamagedStreamError if no encoder writes such data."""
    step = STEPS[coder.decode_uniform(STEP_BITS)]
    gate_row, value_row = coder.decode_uniform(GATE_BITS), coder.decode_uniform(VALUE_BITS)
    gates = coder.decode(np.full(len(groups), gate_row), gate_tables())
    if ((gates != 0) & (gates != 1)).any():
        raise DamagedStreamError("the stream's adapter values are damaged: a gate is neither open nor closed")
    is_open = np.repeat(gates.astype(bool), groups)
    values = np.zeros(len(is_open), dtype=np.int32)
    values[is_open] = coder.decode(np.full(int(is_open.sum()), value_row), value_tables())
    if (np.abs(values.astype(np.int64)) > LARGEST).any():
        raise DamagedStreamError(f"the stream's adapter values are damaged: one is beyond {LARGEST}")
    return values, step


def _geometric(ratio: int) -> IntArray:
    """Counts of -k .. k and the escape; the weight of j is (ratio / 256)^|j|, k the last one worth a count."""
    side = [2**32]
    while (weight := side[-1] * ratio // 256) * TOTAL // 2 > sum(side) and len(side) < 512:
        side.append(weight)
    return counts_by_weight([*side[:0:-1], *side])


def _checked(values: IntArray, groups: Sequence[int]) -> npt.NDArray[np.int32]:
    values = np.asarray(values)
    if values.shape != (sum(groups),) or any(size < 1 for size in groups):
        raise UsageError(f"the delta has shape {values.shape}; its groups {tuple(groups)} need ({sum(groups)},)")
    if values.dtype.kind not in "iu":
        raise UsageError(f"the delta must hold integers, found {values.dtype}")
    if values.size and (values.max() > LARGEST or values.min() < -LARGEST):
        raise UsageError(f"the delta holds values beyond {LARGEST}; use a larger step")
    return values.astype(np.int32)


def _split(values: npt.NDArray[np.int32], groups: Sequence[int]) -> tuple[IntArray, IntArray]:
    """The gate of every group, and the values of the open groups."""
    starts = np.cumsum([0, *groups[:-1]])
    gates = np.logical_or.reduceat(values != 0, starts).astype(np.int32)
    return gates, values[np.repeat(gates.astype(bool), groups)]


def _cheapest(symbols: IntArray, tables: Tables) -> tuple[int, float]:
    """The row that codes these symbols in the fewest bits, and those bits."""
    costs = [tables.bits(symbols, np.full_like(symbols, row)) for row in range(len(tables.rows))]
    best = int(np.argmin(costs))
    return best, costs[best]
