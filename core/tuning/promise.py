"""Whether changes of the decoder's singular values promise to pay for their bits, before seconds are spent on them.

What they are worth shows late: they and the latents have to move together, and where a slope or a curvature at the
tuned latents sees nothing they can still earn 4 % (docs/ttft.md, "Where S pays"). What shows early is whether they are
drawn anywhere. So a phase with `decoder: auto` trains them at first, and asks once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from taskodec.stream.delta import STEPS
from taskodec.tuning.pace import Pace
from taskodec.tuning.travel import TUNING_STEP

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings

__all__ = ["ENOUGH", "asked", "drifts", "least_gain", "worth_searching"]

ENOUGH = 10
"""How many steps singular values have at least before they are judged, if the phase has so many."""

LEAST = 0.01
"""What they must save of the cost where a phase is over, and all that is left is a search as long as six steps."""


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
