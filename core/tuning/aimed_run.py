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

GAIN, MOST = 1.0, 0.7
"""How much of what is missing a step adds to the weight's logarithm, and at most."""


class AimedRun(Run):
    """Tuning of one image towards a goal."""

    def __init__(self, tuner: Tuner, x: Tensor, share: Share, reference: Any, goal: Goal) -> None:
        super().__init__(tuner, x, share, reference)
        self.goal = goal
        self.overhead = 0.0
        """Bits per pixel of the file that no estimate has."""
        self.noise = 1.0
        """Rate of a state as it is sent, of what a step says of it."""
        self.began = 0.0
        """What the loss should have weighed more at the start."""
        self._sent: Estimate | None = None
        for objective in (self.objective, *self.objectives):
            objective.fidelity = 0.0  # states are compared by the goal's weight of the loss, and bits
            if not goal.by_size:
                objective.views = frozenset()  # the loss of a step says how far the goal is

    def aimed(self, phases: Sequence[PhaseSettings], start: Trial) -> Tuning[list[Trial]]:
        """All phases from a file's latents on: its own file, those of states on the way, and of the last one."""
        groups = self.adapter.delta_groups if self.adapter is not None else ()
        point = Point(start.latents, self.padded.new_zeros(sum(groups)))
        names: list[str] = []
        for phase in phases:
            if phase.steps and self.budget.allows(check=2, step=1, stream=STREAMS):
                names = [*names, "+".join(phase.train)]
                self._sent = yield from self.rounded(point)
                if self._sent is not None and len(names) == 1:
                    self.overhead = 8 * start.size / start.candidates.subject.pixels - float(self._sent.bpp)
                    self.began = self._missing(self._sent)
                point = yield from self.phase(phase, point)
        if not names:
            return [start]
        self.weigh_files()
        best = self.candidates.cheapest(names[-1], point)
        trials = [Trial(self.candidates, best.name, point.latents, best.coded)]
        return [start, *trials]

    def stepped(self, pace: Pace, estimate: Estimate | None) -> None:
        if estimate is not None:
            if self._sent is not None:
                self.noise, self._sent = float(self._sent.bpp) / float(estimate.bpp), None
            rate = self.noise * float(estimate.bpp)
            left = 1 - (self.done + 1) / self.share.steps
            wish = self._missing(replace(estimate, bpp=estimate.bpp * self.noise)) - left * self.began
            self.weigh(self.lmbda * math.exp(min(max(GAIN * wish, -MOST), MOST)))
            import os

            if os.environ.get("RATE_DEBUG"):
                print("step", self.done, float(estimate.loss), rate, self.noise, "lmbda", self.lmbda, "wish", wish)
        super().stepped(pace, estimate)

    def _missing(self, look: Estimate) -> float:
        return self.goal.wish(float(look.loss), float(look.bpp) + self.overhead)

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
