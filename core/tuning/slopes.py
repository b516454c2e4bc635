"""Whether a task's loss has a slope: without one no tuning lowers it, however many steps are made."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["SlopeWatch", "no_slope", "watch"]


class SlopeWatch:
    """Of one picture, or a patch of it: the `gradients` seen so far, and whether one was not zero everywhere."""

    def __init__(self) -> None:
        self.gradients, self.found = 0, False


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
        "so that nothing was tuned for the task, only bits were saved; round, sign, argmax, comparisons, and clamp "
        "beyond its bounds have no gradient"
    )
