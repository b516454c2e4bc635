"""The boundary guard: makes the table of every symbol certain where scales come from a float network.

Two machines, or float32 and float64, compute the same scale with other last digits. That matters only where it lies
next to the bound between two tables. The encoder therefore sends, before the symbols, how the bounds are to be moved
by a hair into gaps between its scales, and a list of the few scales that are still next to a bound, each with its
side. The decoder needs to know neither how much its scales may differ nor why. numpy only, no torch.

`docs/exactness.md` says why and has the figures, `docs/bitstream.md` has the format.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taskodec.errors import DamagedStreamError
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, Tables
from taskodec.stream.tables import IntArray

__all__ = ["LARGEST_TOLERANCE", "Guard", "read_guard", "write_guard"]

Doubles = npt.NDArray[np.float64]

BOUNDS = SCALES[:-1]
"""Where one table ends and the next begins, before they are moved."""

OFFSETS = 16
"""A bound stays, or moves up by 1 to 15 times `HAIR` of itself."""

HAIR = 2.0**-12

LARGEST_TOLERANCE = 0.02
"""Of a bound; the next one is 13 % away, so that nobody can take one for the other."""

RATIOS = (0.02, 0.2, 0.5, 0.75)
"""How much rarer each further offset is, for the modes 1 to 4; mode 0 has no offsets and no list."""

LISTED_BITS = 14
"""About what a listed scale costs; an offset costs about a bit a step."""


@dataclass(frozen=True, eq=False)
class Guard:
    """What encoder and decoder agree on for all scales of one image.

    `bounds` are the (63,) moved ones. `sides` has the shape of the scales: -1 where the scale alone decides, else 0 or
    1, for below or above the nearest bound.
    """

    bounds: Doubles
    sides: npt.NDArray[np.int8]

    def indexes(self, scales: Doubles, sides: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int32]:
        """The table row of every scale; `sides` is the matching part of the guard's own where these are not all."""
        sides = self.sides if sides is None else sides
        rows = np.searchsorted(self.bounds, scales).astype(np.int32)
        listed = sides >= 0
        if listed.any():
            rows[listed] = _nearest(self.bounds, scales[listed]) + sides[listed]
        return rows


def write_guard(scales: Doubles, tolerance: Doubles, coder: SymbolEncoder) -> Guard:
    """Choose and write the guard for these scales.

    Args:
        scales: as the encoder has them, of any shape.
        tolerance: how far the decoder's may be from each, of the same shape; capped at `LARGEST_TOLERANCE`.
        coder: what the guard is written to.
    """
    where, nearest, hits = _doubtful(scales.reshape(-1), tolerance.reshape(-1))
    counts = np.zeros((len(BOUNDS), OFFSETS), dtype=np.int64)
    np.add.at(counts, nearest, hits)
    offsets = (LISTED_BITS * counts + np.arange(OFFSETS)).argmin(1)
    listed = where[hits[np.arange(len(where)), offsets[nearest]]]
    bounds = _moved(offsets)
    flat = scales.reshape(-1)[listed]
    sides = np.searchsorted(bounds, flat) - _nearest(bounds, flat)
    _write(offsets, listed, sides, scales.size, coder)
    return Guard(bounds, _spread(listed, sides, scales.shape))


def read_guard(shape: tuple[int, ...], coder: SymbolDecoder) -> Guard:
    """Read the guard for scales of this shape. Raises DamagedStreamError; time and memory depend on the shape only."""
    mode = _read_symbols(1, 0, _mode_table(), coder, len(RATIOS))[0]
    if not mode:
        return Guard(BOUNDS, np.full(shape, -1, dtype=np.int8))
    offsets = _read_symbols(len(BOUNDS), mode - 1, _offset_tables(), coder, OFFSETS - 1)
    size = math.prod(shape)
    count = int(_read_symbols(1, 0, _count_tables(), coder, size)[0])
    low_bits = _low_bits(size, count)
    high = _read_symbols(count, 1, _count_tables(), coder, size >> low_bits)
    listed = np.cumsum((high << low_bits) + coder.decode_bits(count, low_bits) + 1) - 1
    if count and listed[-1] >= size:
        raise DamagedStreamError(f"the coded data is damaged: its guard lists scale {listed[-1]} of {size}")
    return Guard(_moved(offsets), _spread(listed, coder.decode_bits(count, 1), shape))


def _doubtful(scales: Doubles, tolerance: Doubles) -> tuple[IntArray, IntArray, npt.NDArray[np.bool_]]:
    """The n scales near enough to a bound: where they are, that bound, and (n, OFFSETS) whether each offset hits."""
    reach = LARGEST_TOLERANCE + OFFSETS * HAIR
    usable = np.flatnonzero((scales > (1 - reach) * BOUNDS[0]) & (scales < (1 + reach) * BOUNDS[-1]))
    nearest = _nearest(BOUNDS, scales[usable])
    relative = scales[usable] / BOUNDS[nearest] - 1
    allowed = np.minimum(tolerance[usable] / BOUNDS[nearest], LARGEST_TOLERANCE)
    near = (relative >= -allowed) & (relative <= (OFFSETS - 1) * HAIR + allowed)
    relative, allowed = relative[near, None], allowed[near, None]
    return usable[near], nearest[near], np.abs(relative - HAIR * np.arange(OFFSETS)) <= allowed


def _write(offsets: IntArray, listed: IntArray, sides: IntArray, size: int, coder: SymbolEncoder) -> None:
    """The format: see `docs/bitstream.md`."""
    if not offsets.any() and not len(listed):
        _write_symbols(np.zeros(1, dtype=np.int64), 0, _mode_table(), coder)
        return
    rows = [np.full(len(offsets), row) for row in range(len(RATIOS))]
    mode = 1 + int(np.argmin([_offset_tables().bits(offsets, row) for row in rows]))
    _write_symbols(np.array([mode]), 0, _mode_table(), coder)
    _write_symbols(offsets, mode - 1, _offset_tables(), coder)
    _write_symbols(np.array([len(listed)]), 0, _count_tables(), coder)
    low_bits = _low_bits(size, len(listed))
    gaps = np.diff(listed, prepend=-1) - 1
    _write_symbols(gaps >> low_bits, 1, _count_tables(), coder)
    coder.encode_bits(gaps & ((1 << low_bits) - 1), low_bits)
    coder.encode_bits(sides, 1)


def _write_symbols(values: IntArray, row: int, tables: Tables, coder: SymbolEncoder) -> None:
    coder.encode(values, np.full(len(values), row), tables)


def _read_symbols(count: int, row: int, tables: Tables, coder: SymbolDecoder, largest: int) -> IntArray:
    values = coder.decode(np.full(count, row), tables).astype(np.int64)
    if count and not 0 <= values.min() <= values.max() <= largest:
        raise DamagedStreamError(
            f"the coded data is damaged: its guard holds a value from {values.min()} to {values.max()}, valid: 0 to "
            f"{largest}; get the file again"
        )
    return values


def _nearest(bounds: Doubles, scales: Doubles) -> IntArray:
    """The number of the nearest bound of each scale."""
    above: IntArray = np.searchsorted(bounds, scales).clip(1, len(bounds) - 1)
    above -= scales - bounds[above - 1] < bounds[above] - scales
    return above


def _moved(offsets: IntArray) -> Doubles:
    return BOUNDS * (1 + HAIR * offsets)


def _spread(listed: IntArray, sides: IntArray, shape: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """(n,) sides of the listed scales to the shape of all scales."""
    everywhere = np.full(math.prod(shape), -1, dtype=np.int8)
    everywhere[listed] = sides
    return everywhere.reshape(shape)


def _low_bits(size: int, count: int) -> int:
    """How many bits of a gap are sent as they are (a Rice code: Rice and Plaunt 1971)."""
    return (size // max(count, 1)).bit_length() - 1 if count else 0


@functools.cache
def _mode_table() -> Tables:
    return Tables.from_pmfs([np.array([0.96] + len(RATIOS) * [0.01])], np.zeros(1))


@functools.cache
def _offset_tables() -> Tables:
    pmfs = [_geometric(ratio) for ratio in RATIOS]
    return Tables.from_pmfs([pmf / pmf.sum() for pmf in pmfs], np.zeros(len(RATIOS)))


@functools.cache
def _count_tables() -> Tables:
    """Row 0 is for the length of the list, row 1 for the upper part of a gap; larger ones are escapes."""
    return Tables.from_pmfs([_geometric(0.8), _geometric(0.5)], np.zeros(2))


def _geometric(ratio: float) -> Doubles:
    """By products alone, which are the same on every machine; a power need not be."""
    mass: Doubles = (1 - ratio) * np.cumprod([1.0] + (OFFSETS - 1) * [ratio])
    return mass
