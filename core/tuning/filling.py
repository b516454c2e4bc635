"""What a tuned file leaves of a size, spent on the picture where the task's loss hardly feels it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from taskodec.contracts import Latents
from taskodec.tuning.fitting import fitted
from taskodec.tuning.goals import Goal
from taskodec.tuning.trials import Trial

__all__ = ["ROOM", "filled"]

ROOM = 0.01
"""What a file may leave of a size, as a logarithm, before it is filled."""

NEAR = 0.005
"""How close to the size is close enough."""

ORDERS = ((False, 1.0), (False, 0.1), (True, 0.5))
"""Which latents go first, those that the loss feels least or those that it wants back; and what share is on its way."""


def filled(goal: Goal, best: Trial, start: Latents) -> Trial | None:
    """A file closer to a size than the best one, and with less loss; None where there is no room, or no such file.

    Latents y go back to where tuning began. What is tuned for a network is at the bottom of a narrow valley: there
    those must go first that the loss feels least. Where it is wide, as for errors of pixels, those that it wants back.
    """
    if not goal.by_size or -goal.miss(best) <= ROOM or best.candidate.loss <= 0:
        return None
    away, felt, wanted = start.y - best.latents.y, best.candidates.felt(best.coded), goal.rank(best.candidate)
    for wanted_back, width in ORDERS:
        made = _way(best, away, _ranks(felt * away if wanted_back else felt.abs()), width)
        _, tried = fitted(goal, {0.0: best, 1.0: made(1.0)}, made, near=NEAR)
        fuller = max((one for one in tried if goal.miss(one) <= 0), key=goal.miss)
        if goal.rank(fuller.candidate) < wanted:
            return fuller
    return None


def _way(best: Trial, away: Tensor, rank: Tensor, width: float) -> Callable[[float], Trial]:
    """Files from the best one, at 0, to one with all of y back, at 1."""

    @torch.no_grad()
    def made(share: float) -> Trial:
        back = ((share * (1 + width) - rank) / width).clamp(0, 1)
        return best.of_latents(Latents(best.latents.y + back * away, best.latents.z))

    return made


def _ranks(felt: Tensor) -> Tensor:
    """Of each element its place among all, from 0 for the least to 1."""
    order = felt.flatten().argsort(stable=True)
    ranks = torch.empty_like(felt).flatten()
    ranks[order] = torch.linspace(0, 1, len(order), dtype=felt.dtype, device=felt.device)
    return ranks.view_as(felt)
