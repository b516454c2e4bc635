"""The last bytes: from one file to another that keeps a limit as closely as can be."""

from __future__ import annotations

from collections.abc import Callable

import torch

from taskodec.contracts import Latents
from taskodec.tuning.crossing import closest
from taskodec.tuning.goals import Goal
from taskodec.tuning.trials import Thinned, Trial, between

__all__ = ["fitted", "thinned"]

NEAR = 0.002
"""How close to a limit is close enough."""

LOOKS = 6
"""How many files are written at most once the limit is between two of them."""

FIRST, GROWTH, WIDEST = 0.002, 3.0, 2.0
"""The first share of a thinning, by what the next ones are larger, and where that ends."""

Path = Callable[[float], Latents]


@torch.no_grad()
def thinned(goal: Goal, start: Trial) -> Trial | None:
    """The file of latents with as few bits taken away as a size asks for, or as many as a figure allows.

    `start` misses the size, or keeps to the figure; None where there is no such file.
    """
    path = Thinned(start.candidates.subject.codec, start.latents, start.candidates.subject.quality).at
    share, last = FIRST, (0.0, goal.miss(start))
    tried = {0.0: start}
    while share <= WIDEST:
        tried[share] = start.of_latents(path(share))
        found = (share, goal.miss(tried[share]))
        if (found[1] <= 0) == goal.by_size:
            kept, beyond = (found, last) if goal.by_size else (last, found)
            return _closest(goal, start, path, tried, kept, beyond)
        last, share = found, share * GROWTH
    return None if goal.by_size else tried[last[0]]


@torch.no_grad()
def fitted(goal: Goal, start: Trial, end: Trial, path: Path | None = None) -> Trial | None:
    """The file on the way from one file's latents to another's that keeps the limit most closely.

    The way is straight unless there is a path; None where neither end keeps the limit.
    """

    def straight(share: float) -> Latents:
        return between(start.latents, end.latents, share)

    tried = {0.0: start, 1.0: end}
    ends = [(share, goal.miss(trial)) for share, trial in tried.items()]
    kept = [one for one in ends if one[1] <= 0]
    if len(kept) == 1:
        (beyond,) = [one for one in ends if one[1] > 0]
        return _closest(goal, start, path or straight, tried, kept[0], beyond)
    return min((tried[share] for share, _ in kept), key=lambda one: goal.rank(one.candidate), default=None)


def _closest(
    goal: Goal,
    start: Trial,
    path: Path,
    tried: dict[float, Trial],
    kept: tuple[float, float],
    beyond: tuple[float, float],
) -> Trial:
    def miss(share: float) -> float:
        tried[share] = start.of_latents(path(share))
        return goal.miss(tried[share])

    return tried[closest(miss, kept, beyond, looks=LOOKS, near=NEAR)[0]]
