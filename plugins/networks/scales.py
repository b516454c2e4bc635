"""The option `scale` of networks that can look at every picture scaled by one factor."""

from __future__ import annotations

from taskodec.errors import UsageError

__all__ = ["LARGEST_SCALE", "check_scale", "refuse_scale"]

LARGEST_SCALE = 4


def check_scale(scale: float | None, option: str = "scale") -> None:
    """UsageError unless it is a factor, or none is given."""
    if scale is not None and not 0 < scale <= LARGEST_SCALE:
        raise UsageError(f"task.options.{option} = {scale!r}: expected a factor above 0 and at most {LARGEST_SCALE}")


def refuse_scale(network: str, scale: float | None) -> None:
    """UsageError if a scale is given for a network that takes none."""
    if scale is not None:
        raise UsageError(f"network {network!r} scales pictures itself; leave out task.options.scale")
