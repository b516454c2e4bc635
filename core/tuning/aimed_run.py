"""One tuning whose weight of the loss follows a goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from taskodec.tuning.goals import Goal
from taskodec.tuning.objective import Estimate
from taskodec.tuning.pace import STREAMS, Pace
from taskodec.tuning.phases import Point
from taskodec.tuning.run import Run, Share
from taskodec.tuning.together import Tuning
from taskodec.tuning.trials import Trial

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings
    from taskodec.tuning.ttft import Tuner

__all__ = ["AimedRun"]

GAIN, MOST = 4.0, 0.7
"""How much of what is missing a step adds to the weight's logarithm, and at most."""


class AimedRun(Run):
    """Tuning of one image towards a goal."""

    def __init__(self, tuner: Tuner, x: Tensor, share: Share, reference: Any, goal: Goal, start: Trial) -> None:
        super().__init__(tuner, x, share, reference)
        self.goal, self.start = goal, start
        self.overhead = 0.0
        """Bits per pixel of the file that no estimate has."""
        self.noise = 1.0
        """Rate of a state as it is sent, of what a step says of it."""
        self.looks: list[tuple[Point, Estimate]] = []
        """States that were looked at as they would be sent."""
        self.began = 0.0
        """What the loss should have weighed more at the start."""
        self._sent: Estimate | None = None
        self._begins = True

    def aimed(self, phases: Sequence[PhaseSettings]) -> Tuning[list[Trial]]:
        """All phases from `start` on: its file, perhaps that of a state on the way, and the last one's."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        point = Point(self.start.latents, self.padded.new_zeros(sum(groups)))
        names: list[str] = []
        for phase in phases:
            if phase.steps and self.budget.allows(check=2, step=1, stream=STREAMS):
                names = [*names, "+".join(phase.train)]
                self._sent, self._begins = None, True
                point = yield from self.phase(phase, point)
        if not names:
            return [self.start]
        self.weigh_files()
        best = self.candidates.cheapest(names[-1], point)
        last = Trial(self.candidates, best.name, point.latents, best.coded)
        kept = self.goal.miss(last) <= 0
        other = [seen for seen, look in self.looks if (self.goal.lacks(*self._figures(look)) <= 0) != kept]
        return [self.start, *(last.of_latents(seen.latents) for seen in other[-1:]), last]

    def rounded(self, point: Point) -> Tuning[Estimate | None]:
        look = yield from super().rounded(point)
        if look is not None:
            if not self.looks:  # of the file that tuning begins with
                self.overhead = 8 * self.start.size / self.objective.subject.pixels - float(look.bpp)
                self.began = self._wish(look)
            self.looks.append((point, look))
        if self._begins:
            self._sent, self._begins = look, False
        return look

    def stepped(self, pace: Pace, estimate: Estimate | None) -> None:
        if estimate is not None:
            if self._sent is not None:
                self.noise, self._sent = float(self._sent.bpp) / float(estimate.bpp), None
            left = 1 - (self.done + 1) / self.share.steps
            wish = self._wish(replace(estimate, bpp=estimate.bpp * self.noise)) - left * self.began
            self.weigh(self.lmbda * math.exp(min(max(GAIN * wish, -MOST), MOST)))
        super().stepped(pace, estimate)

    def _figures(self, look: Estimate) -> tuple[float, float]:
        """The loss, and bits per pixel of the file."""
        return float(look.loss), float(look.bpp) + self.overhead

    def _wish(self, look: Estimate) -> float:
        return self.goal.wish(*self._figures(look))

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
