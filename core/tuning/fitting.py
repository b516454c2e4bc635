"""The last bytes: from one file to another that keeps a limit as closely as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from taskodec.tuning.crossing import closest
from taskodec.tuning.goals import Goal
from taskodec.tuning.trials import Thinned, Trial, mixed

__all__ = ["NEAR", "between", "fitted", "thinned"]

NEAR = 0.002
"""How close to a limit is close enough."""

LOOKS = 6
"""How many files are written at most once the limit is between two of them."""

FIRST, GROWTH, WIDEST = 0.005, 4.0, 2.0
"""The first share of a thinning, by what the next ones are larger, and where that ends."""

Made = Callable[[float], Trial]
"""The file at a share of a way, from 0 to 1 or beyond."""


@torch.no_grad()
def thinned(goal: Goal, start: Trial) -> Trial | None:
    """The file of latents with as few bits taken away as a size asks for, or as many as a figure allows.

    `start` misses the size, or keeps to the figure; None where there is no such file.
    """
    thinner = Thinned(start.candidates.subject.codec, start.latents, start.quality)
    share, last, tried = FIRST, 0.0, {0.0: start}
    while share <= WIDEST:
        tried[share] = start.of_latents(thinner.at(share))
        if (goal.miss(tried[share]) <= 0) == goal.by_size:
            ends = {one: tried[one] for one in (last, share)}
            return fitted(goal, ends, lambda at: start.of_latents(thinner.at(at)))[0]
        last, share = share, share * GROWTH
    return None if goal.by_size else tried[last]


@torch.no_grad()
def between(goal: Goal, first: Trial, last: Trial) -> Trial | None:
    """The file on the straight way between two files' latents that keeps the limit most closely; None if none does."""
    ends = {0.0: first, 1.0: last}
    return fitted(goal, ends, lambda share: first.of_latents(mixed(first.latents, last.latents, share)))[0]


def fitted(goal: Goal, ends: Mapping[float, Trial], made: Made, near: float = NEAR) -> tuple[Trial | None, list[Trial]]:
    """The file between two ends of a way that keeps the limit most closely, and all that were tried.

    None where neither end keeps it, and the better one where both do.
    """
    tried = dict(ends)
    misses = [(share, goal.miss(trial)) for share, trial in ends.items()]
    kept = [one for one in misses if one[1] <= 0]
    if len(kept) != 1:
        best = min((tried[at] for at, _ in kept), key=lambda one: goal.rank(one.candidate), default=None)
        return best, [*tried.values()]
    (beyond,) = [one for one in misses if one[1] > 0]

    def miss(share: float) -> float:
        tried[share] = made(share)
        return goal.miss(tried[share])

    share, _ = closest(miss, kept[0], beyond, looks=LOOKS, near=near)
    return tried[share], [*tried.values()]
