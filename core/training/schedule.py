"""What changes over a training run: stages of crops, rounding and precision, and the learning rate.

All of it follows the *position* of a run, in steps: the steps done, or, where the run has a budget of seconds, as many
of them as go with the share of the seconds that is spent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskodec.errors import UsageError

if TYPE_CHECKING:
    from taskodec.settings.model import StageSettings, TrainSettings

__all__ = ["check_batch", "check_crops", "crops_of", "largest_crop", "learning_rate", "position", "stage_at"]


def position(step: int, seconds: float, settings: TrainSettings) -> float:
    """Where a run stands after so many steps and seconds, from 0 to `settings.steps`."""
    if settings.time_budget is None:
        return step
    return settings.steps * min(1.0, seconds / settings.time_budget)


def stage_at(position: float, settings: TrainSettings) -> StageSettings:
    """The stage that a position belongs to, the last one from its end on."""
    return next((s for s in settings.stages if position < s.until * settings.steps), settings.stages[-1])


def crops_of(stage: StageSettings, settings: TrainSettings) -> int:
    """How many crops a step of this stage has: as many pixels as one of the first stage, and at least two crops."""
    return max(2, settings.batch * settings.stages[0].crop ** 2 // stage.crop**2)


def largest_crop(settings: TrainSettings) -> int:
    """Side of the largest crop of a run, in pixels."""
    return max(stage.crop for stage in settings.stages)


def check_batch(settings: TrainSettings, processes: int) -> None:
    """A UsageError when some step has fewer crops than there are processes, or several go by one clock."""
    if settings.time_budget is not None and processes > 1:
        raise UsageError("time_budget is for one process: several would leave a stage at different steps; give steps")
    for number, stage in enumerate(settings.stages, 1):
        if (crops := crops_of(stage, settings)) < processes:
            raise UsageError(
                f"stage {number} of the run has {crops} crops a step, fewer than the {processes} processes: raise "
                "the batch, make its crop smaller, or start fewer processes"
            )


def check_crops(settings: TrainSettings, codec: str, stride: int) -> None:
    """A UsageError when crops of some stage have a side that the codec does not take."""
    for number, stage in enumerate(settings.stages, 1):
        if stage.crop % stride:
            raise UsageError(
                f"stage {number} of the run has crops of {stage.crop} pixels a side, codec {codec!r} takes multiples "
                f"of {stride}: try {max(stride, stage.crop // stride * stride)}"
            )


def learning_rate(position: float, settings: TrainSettings) -> float:
    """At a position of the run. With `schedule: step`, `lr` times `gamma` for each milestone passed.

    Else linear warm-up over the first hundredth, then a cosine down to `final_lr`.
    """
    if settings.schedule == "step":
        return settings.lr * settings.gamma ** sum(position >= milestone for milestone in settings.milestones)
    warmup = max(1, settings.steps // 100)
    if position < warmup:
        return settings.lr * min(1.0, (position + 1) / warmup)
    share = min(1.0, (position - warmup) / max(1, settings.steps - warmup))
    return settings.final_lr + (settings.lr - settings.final_lr) * 0.5 * (1 + math.cos(math.pi * share))
