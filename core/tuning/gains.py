"""Why tuning gained nothing, for a person who wonders."""

from __future__ import annotations

from taskodec.tuning.ttft import Tuned

__all__ = ["why_untuned"]

LITTLE, MUCH = 0.02, 0.98
"""Shares of the cost below and above which its other part is next to nothing."""

FROM_THE_CODEC = "try --adapter svd-lora, which starts at the codec itself, or more steps (--preset thorough)"
OTHER_STEPS = "try more steps (--preset thorough), or steps a fifth as large (lr_latents and lr_z of ttft.phases)"


def why_untuned(tuned: Tuned, wanted: int) -> str | None:
    """Why no tuned stream is sent, and what to try; None if one is, or `wanted` no step."""
    if not wanted or tuned.best.name not in ("untuned", "plain"):
        return None
    sent = "the codec's own, without the adapter," if tuned.best.name == "plain" else "the untuned one"
    none = "no tuned file was cheaper" if tuned.reached is None else "no tuned file that keeps to the target was better"
    said = f"{none} than {sent} that is sent, in {tuned.steps} of {wanted} steps{_margin(tuned)}"
    why, advice = _reason(tuned)
    return f"{said}, because {why}; {advice}"


def _margin(tuned: Tuned) -> str:
    """How much dearer the best tuned file was, if there was one."""
    if not 0 < tuned.best.cost < tuned.tried < float("inf"):  # equal if the start itself was the best state
        return ""
    return f" (the cheapest by {tuned.tried / tuned.best.cost - 1:.1%} dearer)"


def _reason(tuned: Tuned) -> tuple[str, str]:
    """Why, and what to do about it."""
    before = tuned.untuned
    share = tuned.lmbda * before.loss / before.cost if before.cost else 0.0
    if tuned.steps == 0:
        return "the time budget had no room for a step", "allow more (--time-budget)"
    if tuned.diverged:
        return "its steps left the finite numbers", "try to add something small inside roots and logarithms of the loss"
    if before.loss == 0:
        lower = "try a lower quality" if tuned.reached is None else "ask for a smaller size"
        return "the loss is 0 already, and all that is left to save are bits", lower
    if tuned.reached is None and not LITTLE <= share <= MUCH:  # the weight that a target has is no setting
        what, way = ("there is nothing to win", "raise") if share < LITTLE else ("bits do not count", "lower")
        return f"the loss is {share:.1%} of the cost, so {what}", f"try to {way} task.lmbda_scale"
    if tuned.best.name == "plain":
        return "what was tuned from the adapter did not catch up", FROM_THE_CODEC
    return "the loss may be noisy, flat, or close to what the codec was trained for", OTHER_STEPS
