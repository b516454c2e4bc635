"""Why tuning gained nothing, for a person who wonders."""

from __future__ import annotations

from taskodec.tuning.ttft import Tuned

__all__ = ["why_untuned"]

LITTLE, MUCH = 0.02, 0.98
"""Shares of the cost below and above which its other part is next to nothing."""


def why_untuned(tuned: Tuned, wanted: int) -> str | None:
    """Why no tuned stream is sent, and what to try; None if one is, or `wanted` no step."""
    if not wanted or tuned.best.name not in ("untuned", "plain"):
        return None
    before = tuned.untuned
    said = f"tuning gained nothing in {tuned.steps} of {wanted} steps, so the picture is sent as the codec has it"
    if tuned.steps == 0:
        return f"{said}: the time budget had no room for a step; allow more"
    share = tuned.lmbda * before.loss / before.cost if before.cost else 0.0
    if tuned.diverged:
        why = "its steps left the finite numbers; a root or logarithm of 0 in the loss may be why: add something small"
    elif before.loss == 0:
        why = "the loss is 0 already, and all that is left to save are bits; try a lower quality"
    elif share < LITTLE:
        why = f"the loss is {share:.1%} of the cost, so there is nothing to win; raise task.lmbda_scale"
    elif share > MUCH:
        why = f"the loss is {share:.1%} of the cost, so bits do not count; lower task.lmbda_scale"
    else:
        why = (
            "no state it came by cost less; the loss may be noisy, flat, or close to what the codec was trained for: "
            "try more steps (--preset thorough), or steps a fifth as large (lr_latents and lr_z of ttft.phases)"
        )
    return f"{said}: {why}"
