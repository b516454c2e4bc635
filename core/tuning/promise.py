"""Whether changes of the decoder's singular values promise to pay for their bits, before seconds are spent on them.

What they are worth shows late: they and the latents have to move together, and where a slope or a curvature at the
tuned latents sees nothing they can still earn 4 % (docs/ttft.md, "Where S pays"). What shows early is whether they are
drawn anywhere. So a phase with `decoder: auto` trains them at first, and asks once.

Where steps see random views it asks before as well: their slopes must be the same from view to view. Where they differ
by chance, changes only wander, and latents follow them. (Where every step sees the same picture, slopes differ because
latents move, which says nothing of what changes are worth.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from taskodec.stream.delta import STEPS
from taskodec.tuning.pace import Pace
from taskodec.tuning.travel import TUNING_STEP

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings

__all__ = ["DRAWN", "ENOUGH", "HELD", "Pull", "asked", "drifts", "least_gain", "worth_searching"]

HELD = 5
"""For how many steps nothing sees changes, and their slopes are only felt."""

DRAWN = 0.27
"""How much slopes must agree by then: by chance they do by 0.2; features, for which changes pay, have 0.34."""

ENOUGH = 10
"""How many steps singular values have at least before they are judged, if the phase has so many."""

LEAST = 0.01
"""What they must save of the cost where a phase is over, and all that is left is a search as long as six steps."""


class Pull:
    """Whether the slope in singular values is the same step after step."""

    def __init__(self) -> None:
        self.steps = 0
        self._sum = self._squares = torch.zeros(())

    def felt(self, slope: Tensor) -> None:
        """Take in the slope (n,) of a step."""
        self.steps += 1
        self._sum, self._squares = self._sum.to(slope) + slope, self._squares.to(slope) + slope.square()

    @property
    def over(self) -> bool:
        """Whether enough of them were felt."""
        return self.steps >= HELD

    @property
    def agreement(self) -> float:
        """The square of their sum, of the most that it could be: 1 where all are the same, by chance 1 / steps.

        The mean over the values that have a slope, so that none counts for more than another: each is moved as far.
        """
        felt = self._squares > 0
        return float((self._sum[felt].square() / (self.steps * self._squares[felt])).mean()) if felt.any() else 0.0

    @property
    def drawn(self) -> bool:
        """Whether changes would get anywhere."""
        return self.agreement >= DRAWN


def asked(pace: Pace) -> bool:
    """Whether it is time to ask: half-way through a phase, or at the end of a short one."""
    return pace.over or (pace.at_check and pace.done >= ENOUGH and pace.progress >= 0.5)


def drifts(delta: Tensor) -> bool:
    """Whether changes (n,) have gone so far that most would not be rounded to zero: by their root mean square."""
    return bool(delta.square().mean().sqrt() >= STEPS[TUNING_STEP] / 2)


def least_gain(pace: Pace) -> float:
    """What of the cost they must save by now, their bits counted, to be kept."""
    return LEAST if pace.over else 0.0


def worth_searching(phase: PhaseSettings) -> int | None:
    """How many decodings their search may take: one for two steps, so that few steps have no long search."""
    return phase.steps // 2 if phase.decoder == "auto" else None
