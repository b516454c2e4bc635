"""Where a quantity that rises, if not strictly, comes to its limit, in few looks at it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["closest", "edge"]

Miss = Callable[[float], float]
"""By how much the limit is missed: 0 or less where it is kept."""

MARGIN = 0.1
"""What interpolation leaves at least of a bracket on either side: a curve that bends cannot hold it up."""


def edge(miss: Callable[[int], float], count: int, start: int) -> int:
    """The last of `count` places at which the limit is kept, -1 for none; `miss` rises with the place."""
    kept, beyond = (-1, 0.0), (count, 0.0)
    place, stride = min(max(start, 0), count - 1), max(1, count // 16)
    while True:
        found = miss(place)
        if found <= 0:
            kept = (place, found)
        else:
            beyond = (place, found)
        gap = beyond[0] - kept[0]
        if gap == 1:
            return kept[0]
        if kept[0] >= 0 and beyond[0] < count:
            share = _interpolated(kept[1], beyond[1])
            place = kept[0] + min(max(round(share * gap), 1), gap - 1)
        elif found <= 0:
            place, stride = min(place + stride, count - 1), 2 * stride
        else:
            place, stride = max(place - stride, 0), 2 * stride


def closest(
    miss: Miss, kept: tuple[float, float], beyond: tuple[float, float], *, looks: int, near: float
) -> tuple[float, float]:
    """Where, of what `looks` at it find, the limit is kept most closely, and the miss there.

    `kept` and `beyond` are places with their misses; looking ends at a miss of no more than `near` below 0.
    """
    for look in range(looks):
        if -kept[1] <= near:
            break
        share = _interpolated(kept[1] + near / 2, beyond[1] + near / 2) if look % 3 < 2 else 0.5
        place = kept[0] + share * (beyond[0] - kept[0])
        found = miss(place)
        if found <= 0:
            kept = (place, found)
        else:
            beyond = (place, found)
    return kept


def _interpolated(kept: float, beyond: float) -> float:
    """The share of the way from what is kept to what is not at which a straight line is at the limit."""
    if not (kept < 0 < beyond < float("inf")):
        return 0.5
    return min(max(kept / (kept - beyond), MARGIN), 1 - MARGIN)
