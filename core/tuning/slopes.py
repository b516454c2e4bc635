"""Whether a task's loss has a slope: without one no tuning lowers it, however many steps are made."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from taskodec.contracts import JointReference

__all__ = ["SlopeWatch", "WatchedReference", "no_slope", "warn_without_slope", "watch"]

FIRST = 64
"""On how many crops a training looks for a slope."""

WITHOUT = "round, sign, argmax, comparisons, and clamp beyond its bounds have no gradient"


class SlopeWatch:
    """Of one picture, or a patch of it: the `gradients` seen so far, and whether one was `found` that is not zero."""

    def __init__(self) -> None:
        self.gradients, self.found, self.told = 0, False, False


@dataclass(frozen=True)
class WatchedReference(JointReference):
    """That of a picture, or a patch of it, with what has been seen of the slope of each part's loss."""

    slopes: tuple[SlopeWatch, ...] = ()


def watch(x_hat: Tensor, watches: Sequence[SlopeWatch]) -> None:
    """Look at the gradient that each picture of x_hat (B, 3, H, W) is going to get, as long as none was found."""
    if not x_hat.requires_grad or all(one.found for one in watches):
        return

    def look(gradient: Tensor) -> None:
        for one, own in zip(watches, gradient, strict=True):
            one.gradients += 1
            one.found = one.found or bool(own.any())

    x_hat.register_hook(look)  # type: ignore[no-untyped-call]


def no_slope(task: str, watches: Sequence[SlopeWatch], loss: float) -> str | None:
    """What a user should know if no gradient of the task's loss was other than zero; `loss` is that before tuning."""
    seen = sum(one.gradients for one in watches)
    if not seen or any(one.found for one in watches):
        return None
    if loss == 0:
        return f"the loss of task {task!r} is 0 before tuning: there was nothing to gain for it, only bits to save"
    return (
        f"the loss of task {task!r} has no slope: its gradient was zero in all {seen} steps, at a loss of {loss:.5g}, "
        f"so that nothing was tuned for the task, only bits were saved; {WITHOUT}"
    )


def warn_without_slope(task: str, seen: SlopeWatch) -> None:
    """Warn, once, if the gradient of the task's loss was zero on all of the first crops of a training."""
    if not seen.found and not seen.told and seen.gradients >= FIRST:
        seen.told = True
        warnings.warn(
            f"the loss of task {task!r} has no slope: its gradient was zero on the first {seen.gradients} crops, so "
            f"that the adapter learns to save bits and nothing else; {WITHOUT}",
            stacklevel=2,
        )
