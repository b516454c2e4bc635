"""Whether changes of the decoder's singular values promise to pay for their bits, before seconds are spent on them.

What they are worth shows late: they and the latents have to move together, and where a slope or a curvature at the
tuned latents sees nothing they can still earn 4 % (docs/ttft.md, "Where S pays"). What shows early is whether they are
drawn anywhere. So a phase with `decoder: auto` trains them at first, and asks once.
"""

from __future__ import annotations

from torch import Tensor

from taskodec.stream.delta import STEPS
from taskodec.tuning.pace import Pace
from taskodec.tuning.travel import TUNING_STEP

__all__ = ["ENOUGH", "asked", "drifts"]

ENOUGH = 10
"""How many steps singular values have at least before they are judged, if the phase has so many."""


def asked(pace: Pace) -> bool:
    """Whether it is time to ask: half-way through a phase, or at the end of a short one."""
    return pace.over or (pace.at_check and pace.done >= ENOUGH and pace.progress >= 0.5)


def drifts(delta: Tensor) -> bool:
    """Whether changes (n,) have gone so far that most would not be rounded to zero: by their root mean square."""
    return bool(delta.square().mean().sqrt() >= STEPS[TUNING_STEP] / 2)
