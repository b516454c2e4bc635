"""Rate-distortion-optimised rounding: cheaper integers for changes of the singular values, by true prices.

What is tried comes from exact bits and, for single values and whole layers, from an estimate of how the weighted
loss will grow: its slope, and a curvature for each layer, from how the slope differs where nothing is changed.
Whether something is taken is decided by decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from taskodec.coding.singular_values import Delta
from taskodec.stream.delta import LARGEST, STEPS, delta_bits
from taskodec.tuning.travel import TUNING_STEP

__all__ = ["DeltaSearch", "Move"]

Integers = npt.NDArray[np.int32]

STEP_STRIDE = 2
"""Steps are tried at this distance: a factor of 2."""

OFFSETS = (0.15, 0.3)
"""By how much less than by half a step values must be rounded away from zero."""

SLOPE_COST = 3
"""How many decodings one slope takes."""


@dataclass(frozen=True)
class Move:
    """Some values set to others, and the gain that this is expected to give."""

    where: tuple[int, ...]
    values: tuple[int, ...]
    gain: float


class DeltaSearch:
    """Looks for the cheapest changes.

    `price` is what a stream of changes costs, in bits per pixel; `slope` how this, without the bits of the changes,
    grows with each singular value, (sum of groups,). `parts` are those of `TTFTSettings.search`; `decodings` bounds
    the prices asked for, where a slope counts as three; `goes_on` says whether there is time for so many.
    """

    def __init__(
        self,
        price: Callable[[Delta], float],
        slope: Callable[[Delta], npt.NDArray[np.float64]],
        groups: Sequence[int],
        pixels: int,
        parts: Sequence[str],
        decodings: int,
        goes_on: Callable[[int], bool],
    ) -> None:
        self.price, self.slope = price, slope
        self.groups, self.pixels = groups, pixels
        self.parts, self.left, self.goes_on = parts, decodings, goes_on
        self.cost = float("inf")
        self.curvature: npt.NDArray[np.float64] | None = None

    def best(self, delta: Tensor) -> Delta:
        """The cheapest integers found for changes (sum of groups,) that were tuned at `TUNING_STEP`."""
        self.found = Delta.of(delta, TUNING_STEP)
        if not self.parts or not self.found.values.any() or not self._allowed():
            return self.found
        self.left -= 1
        self.cost = self.price(self.found)
        if "steps" in self.parts:
            self._steps(delta)
        if "deadzone" in self.parts:
            scaled = delta.detach().cpu().numpy() / STEPS[self.found.step_index]
            for offset in OFFSETS:
                self._take(toward_zero(scaled, offset))
        if {"gates", "values"} & set(self.parts):
            while self._moves():
                pass
        return self.found

    def _allowed(self, decodings: int = 1) -> bool:
        return self.left >= decodings and self.goes_on(decodings)

    def _take(self, values: Integers, step_index: int | None = None) -> bool:
        """Try these values, and keep them if they are cheaper."""
        tried = Delta(values, self.found.step_index if step_index is None else step_index)
        same = tried.step_index == self.found.step_index and np.array_equal(values, self.found.values)
        if same or not values.any() or not self._allowed():
            return False
        self.left -= 1
        cost = self.price(tried)
        if cost >= self.cost:
            return False
        self.found, self.cost = tried, cost
        return True

    def _steps(self, delta: Tensor) -> None:
        """Coarser and coarser while that helps, else finer and finer."""
        for stride in (-STEP_STRIDE, STEP_STRIDE):
            helped = False
            while 0 <= (step := self.found.step_index + stride) < len(STEPS):
                if not self._take(Delta.of(delta, step).values, step):
                    break
                helped = True
            if helped:
                return

    def _moves(self) -> bool:
        """One round of moves that should help: all at once, else the best half of them, and so on; whether one did."""
        slopes = SLOPE_COST * (1 if self.curvature is not None else 2)
        if not self._allowed(slopes + 1):
            return False
        self.left -= slopes
        moves = self._promising()
        count = len(moves)
        while count:
            if self._take(moved(self.found.values, moves[:count])):
                return True
            count //= 2
        return False

    def _promising(self) -> list[Move]:
        """Moves with an expected gain, the best first; no value is in two of them."""
        slope, step = self.slope(self.found), STEPS[self.found.step_index]
        if self.curvature is None:
            still = self.slope(Delta(np.zeros_like(self.found.values), self.found.step_index))
            self.curvature = layer_curvature(slope - still, self.found.values * step, self.groups)
        bits = delta_bits(self.found.values, self.groups)
        moves = []
        for where, values in self._proposed():
            changed = moved(self.found.values, [Move(where, values, 0.0)])
            change = (changed - self.found.values) * step
            fall = -float(slope @ change + self.curvature @ change**2 / 2)
            if fall <= 0 and abs(changed).sum() > abs(self.found.values).sum():
                continue  # more bits and more loss, as most moves away from zero
            saved = (bits - delta_bits(changed, self.groups)) / self.pixels
            moves.append(Move(where, values, fall + saved))
        taken: set[int] = set()
        disjoint = []
        for move in sorted(moves, key=lambda move: -move.gain):
            if move.gain > 0 and taken.isdisjoint(move.where):
                taken.update(move.where)
                disjoint.append(move)
        return disjoint

    def _proposed(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Positions and the values that they could get."""
        values = self.found.values
        if "gates" in self.parts:
            for size, end in zip(self.groups, accumulate(self.groups), strict=True):
                if values[end - size : end].any():
                    yield tuple(range(end - size, end)), (0,) * size
        if "values" in self.parts:
            for i, value in enumerate(values.tolist()):
                for other in {0, value - 1, value + 1} - {value}:
                    yield (i,), (other,)


def layer_curvature(
    slopes: npt.NDArray[np.float64], values: npt.NDArray[np.floating[Any]], groups: Sequence[int]
) -> npt.NDArray[np.float64]:
    """For each value the second derivative of its layer, if `slopes` is what the slope has grown by up to `values`.

    Layers without a value, or with a negative one, get that of all layers together, at least zero.
    """
    ends = list(accumulate(groups))
    grown, squared = (
        np.array([part.sum() for part in np.split(of, ends[:-1])]) for of in (slopes * values, values * values)
    )
    shared = max(0.0, grown.sum() / squared.sum())
    layers = np.divide(grown, squared, out=np.full(len(grown), shared), where=(squared > 0) & (grown > 0))
    return np.repeat(layers, groups)


def toward_zero(scaled: npt.NDArray[Any], offset: float) -> Integers:
    """Rounded, but away from zero only from `0.5 + offset` on."""
    magnitude = np.floor(np.abs(scaled) + 0.5 - offset).clip(0, LARGEST)
    integers: Integers = (np.sign(scaled) * magnitude).astype(np.int32)
    return integers


def moved(values: Integers, moves: Sequence[Move]) -> Integers:
    """The values after these moves."""
    values = values.copy()
    for move in moves:
        values[list(move.where)] = move.values
    return values
