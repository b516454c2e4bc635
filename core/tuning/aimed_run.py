"""One tuning whose weight of the loss follows a goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from taskodec.tuning.goals import Goal
from taskodec.tuning.objective import Estimate
from taskodec.tuning.pace import CHECK_EVERY, LOOKS, STREAMS
from taskodec.tuning.phases import Point
from taskodec.tuning.promise import worth_searching
from taskodec.tuning.run import Run, Share
from taskodec.tuning.together import Tuning
from taskodec.tuning.trials import Trial

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings
    from taskodec.tuning.ttft import Tuner

__all__ = ["AimedRun"]

STEER, MOST = 10.0, 1.2
"""By how much a wish changes the weight's logarithm: for the change of a rate from look to look, and at most."""

LOSS_STEER = 0.5
"""The same for a loss that is too high or lower than it need be."""

AIM = 0.03
"""How far below a size tuning aims: a state between the last two that fits is better than one that is thinned out."""


class AimedRun(Run):
    """Tuning of one image towards a goal."""

    steady = False

    def __init__(self, tuner: Tuner, x: Tensor, share: Share, reference: Any, goal: Goal, start: Trial) -> None:
        super().__init__(tuner, x, share, reference)
        self.goal, self.start = goal, start
        self.overhead = 0.0
        """Bits per pixel of the file that no estimate has."""
        self.looks: list[tuple[Point, Estimate]] = []
        """States that were looked at as they would be sent."""
        for objective in (self.objective, *self.objectives):
            objective.fidelity = 0.0  # states are compared by the goal's weight of the loss, and bits
            if not goal.by_size:
                objective.views = frozenset()  # the loss of a step says how far the goal is

    def aimed(self, phases: Sequence[PhaseSettings]) -> Tuning[list[Trial]]:
        """All phases from `start` on: its file, perhaps that of a state on the way, and the last one's."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        point = Point(self.start.latents, self.padded.new_zeros(sum(groups)))
        done: list[PhaseSettings] = []
        for phase in phases:
            if phase.steps and self.budget.allows(check=LOOKS, step=1, stream=STREAMS):
                done.append(phase)
                point = yield from self.phase(phase, point)
        if not done:
            return [self.start]
        self.weigh_files()
        best = self.candidates.cheapest("+".join(done[-1].train), point, worth_searching(done[-1]))
        last = Trial(self.candidates, best.name, point.latents, best.coded, best)
        kept = self.goal.miss(last) <= 0
        other = [seen for seen, look in self.looks if (self.goal.lacks(*self._figures(look)) <= 0) != kept]
        return [self.start, *(last.of_latents(seen.latents) for seen in other[-1:]), last]

    @property
    def began_at(self) -> float:
        """The loss of the file that tuning begins with."""
        if self.looks and self.looks[0][0].latents is self.start.latents:
            return float(self.looks[0][1].loss)
        return self.start.candidate.loss

    def rounded(self, point: Point) -> Tuning[Estimate | None]:
        look = yield from super().rounded(point)
        if look is None:
            return None
        if not self.looks:  # of the file that tuning begins with
            self.overhead = 8 * self.start.size / self.objective.subject.pixels - float(look.bpp)
        self.looks.append((point, look))
        if len(self.looks) > 1 and self.done < self.share.steps:
            self.weigh(self.lmbda * math.exp(min(max(self._steer(), -MOST), MOST)))
        return look

    def _steer(self) -> float:
        """What the weight's logarithm needs more, so that the last state comes to the goal."""
        before, now = (self.goal.wish(*self._figures(look)) for _, look in self.looks[-2:])
        if not self.goal.by_size:
            return LOSS_STEER * now
        left = max(1.0, (self.share.steps - self.done) / CHECK_EVERY)
        return STEER * ((now - AIM) / left - (before - now))

    def _figures(self, look: Estimate) -> tuple[float, float]:
        """The loss, and bits per pixel of the file."""
        return float(look.loss), float(look.bpp) + self.overhead

    def weigh(self, lmbda: float) -> None:
        """What the loss weighs from here on."""
        self.lmbda = lmbda
        for objective in (self.objective, *self.objectives):
            objective.lmbda = lmbda

    def weigh_files(self) -> None:
        """Judge files by the weight of now."""
        self.candidates.subject = replace(self.candidates.subject, lmbda=self.lmbda)
        self.candidates.patches = [replace(patch, lmbda=self.lmbda) for patch in self.candidates.patches]

    def price(self, look: Estimate | None) -> float:
        return float("inf") if look is None else self.lmbda * float(look.loss) + float(look.bpp)
