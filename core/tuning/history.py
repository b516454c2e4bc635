"""What tuning went through: the figures of every step of an image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from taskodec.tuning.objective import Estimate
from taskodec.tuning.travel import Travel

__all__ = ["Check", "History", "Step"]


@dataclass(frozen=True)
class Step:
    """The estimate of a step, before it was made; None for all figures where it came to nothing.

    `phase` is what was trained. `bits_adapter` are those of the singular values alone, and `changed` is how many of
    them would not stay as they are.
    """

    phase: str
    loss: float | None
    bpp: float | None
    cost: float | None
    bits_adapter: float | None
    changed: int | None


@dataclass(frozen=True)
class Check:
    """What the file would cost of the state after so many steps, rounded as it would be sent."""

    steps: int
    loss: float
    bpp: float
    cost: float


class History:
    """Notes steps as they are made, and works their figures out at the end: to ask a GPU each time would slow it."""

    def __init__(self, travel: Travel) -> None:
        self.travel = travel
        self._noted: list[tuple[str, Tensor | None]] = []
        self.checks: list[Check] = []

    @torch.no_grad()
    def note(self, phase: str, estimate: Estimate | None, delta: Tensor) -> None:
        """A step of a phase that trains `phase`, from singular values that were changed by `delta` (n,)."""
        if estimate is None:
            self._noted.append((phase, None))
            return
        change, bits = self.travel.of(delta.detach(), sent=True)
        changed = bits.new_zeros(()) if change is None else (change != 0).sum()
        figures = (estimate.loss, estimate.bpp, estimate.cost, bits, changed)
        self._noted.append((phase, torch.stack([v.detach().double().reshape(()) for v in figures])))

    def looked(self, estimate: Estimate) -> float:
        """The cost of a state that was looked at as it would be sent; of several after one step the least stays."""
        loss, bpp, cost = (float(v.detach()) for v in (estimate.loss, estimate.bpp, estimate.cost))
        check = Check(len(self._noted), loss, bpp, cost)
        if not self.checks or self.checks[-1].steps < check.steps:
            self.checks.append(check)
        elif cost < self.checks[-1].cost:
            self.checks[-1] = check
        return cost

    def told(self) -> tuple[tuple[Step, ...], tuple[Check, ...]]:
        """All steps, and all looks at rounded states, in order."""
        return tuple(_step(phase, figures) for phase, figures in self._noted), tuple(self.checks)


def _step(phase: str, figures: Tensor | None) -> Step:
    if figures is None:
        return Step(phase, None, None, None, None, None)
    loss, bpp, cost, bits, changed = figures.tolist()
    return Step(phase, loss, bpp, cost, bits, int(changed))
