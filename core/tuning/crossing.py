"""Where a quantity that rises, if not strictly, comes to its limit, in few looks at it."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["closest", "edge"]

Miss = Callable[[float], float]
"""By how much the limit is missed: 0 or less where it is kept."""

MARGIN = 0.1
"""What interpolation leaves at least of a bracket on either side: a curve that bends cannot hold it up."""


def edge(miss: Callable[[int], float], count: int, start: int, slope: float | None = None, near: float = 0.0) -> int:
    """The last of `count` places at which the limit is kept, -1 for none; `miss` rises with the place.

    `slope` is about by how much from one place to the next, if that is known. Any place that keeps the limit with
    a miss of less than `near` below 0 will do.
    """
    kept, beyond = (-1, 0.0), (count, 0.0)
    place, looks = min(max(start, 0), count - 1), 0
    stride = max(1, count // 16)
    while True:
        found, last, looks = miss(place), (kept if kept[0] >= 0 else beyond), looks + 1
        if 0 <= last[0] < count and place != last[0] and math.isfinite(found - last[1]):
            slope = (found - last[1]) / (place - last[0])
        if found <= 0:
            kept = (place, found)
        else:
            beyond = (place, found)
        gap = beyond[0] - kept[0]
        if gap == 1 or (kept[0] >= 0 and -kept[1] < near):
            return kept[0]
        if kept[0] >= 0 and beyond[0] < count:
            share = _interpolated(kept[1], beyond[1], 0.0) if looks % 4 else 0.5
            place = kept[0] + min(max(round(share * gap), 1), gap - 1)
            continue
        ahead = -found / slope if slope is not None and slope > 0 and math.isfinite(found) else 0.0
        step = math.ceil(abs(ahead)) + 1 if ahead else stride
        place, stride = min(max(place + (step if found <= 0 else -step), 0), count - 1), 2 * stride


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


def _interpolated(kept: float, beyond: float, margin: float = MARGIN) -> float:
    """The share of the way from what is kept to what is not at which a straight line is at the limit."""
    if not (kept <= 0 < beyond < math.inf):
        return 0.5
    return min(max(kept / (kept - beyond), margin), 1 - margin)
