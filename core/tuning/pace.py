"""How far a phase of tuning is, and when it ends: by its steps, by time, or because it gains too little."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from taskodec.tuning.budget import Budget

if TYPE_CHECKING:
    from taskodec.settings.ttft import PhaseSettings

__all__ = ["CHECK_EVERY", "LOOKS", "STREAMS", "Pace"]

log = logging.getLogger(__name__)

CHECK_EVERY = 5
"""After how many steps a phase looks at its state rounded, to keep the best."""

LOOKS = 3
"""For how many looks at rounded states there is to be time after a step: two of a check, and one more."""

STREAMS = 4
"""For how many streams a time budget leaves time after a phase: two that are written, and as much for the search."""

LOOK_BACK = 2
"""Over how many checks the gain is measured."""


class Pace:
    """Of a phase that may take until `part` of the budget is spent.

    Learning rates and annealing follow `progress`, which is the share of the steps or of the time, whichever is
    further: so that they have come to their end when the time has.
    """

    def __init__(self, phase: PhaseSettings, budget: Budget, part: float, min_gain: float = 0.0) -> None:
        self.steps, self.budget, self.min_gain = phase.steps, budget, min_gain
        self.begin, self.end = budget.spent, budget.end(part, stream=STREAMS)
        self.done = 0
        self.costs: list[tuple[float, float]] = []
        self.over = self._is_over()

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        timed = (self.budget.spent - self.begin) / (self.end - self.begin) if self.end > self.begin else 1.0
        return min(1.0, max(self.done / self.steps, timed))

    @property
    def at_check(self) -> bool:
        """Whether the state after this step should be looked at."""
        return self.over or self.done % CHECK_EVERY == 0

    def stepped(self) -> None:
        """A step has been made."""
        self.done += 1
        self.over = self._is_over()

    def reached(self, cost: float) -> None:
        """The lowest cost at a check; ends the phase if it has fallen by less than `min_gain` of the first a second."""
        self.costs.append((self.budget.spent, cost))
        log.debug("step %d of %d, %.2f s: the cheapest state so far costs %.5g", self.done, self.steps, *self.costs[-1])
        if self.min_gain and len(self.costs) > LOOK_BACK:
            (before, high), (now, low) = self.costs[-1 - LOOK_BACK], self.costs[-1]
            self.over = self.over or high - low < self.min_gain * self.costs[0][1] * (now - before)

    def _is_over(self) -> bool:
        return self.done >= self.steps or self.budget.spent + self.budget.needed(step=1, check=LOOKS) > self.end
