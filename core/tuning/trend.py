"""Whether the costs of a phase's steps fall, so that one dear look does not count for more than it says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Trend"]


class Trend:
    """Costs of steps, those of `window` against those of as many before them.

    A cost changes with what latents round to, by several percent where a loss is a statistic of textures. A single
    look at a state is no better than one of these, their mean is.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._costs: list[Tensor] = []

    def stepped(self, cost: Tensor) -> None:
        """Take in the cost of a step, a scalar."""
        self._costs = [*self._costs, cost.detach()][-2 * self.window :]

    def clear(self) -> None:
        """Begin anew, from another state or in other steps."""
        self._costs = []

    @property
    def falling(self) -> bool:
        """Whether the last costs lie below those before by more than the standard error of the two means."""
        now, before = self._costs[-self.window :], self._costs[: -self.window] or self._costs[:1]
        if len(self._costs) < 2:
            return False
        (mean, error), (mean_before, error_before) = _mean(now), _mean(before)
        return bool(mean + (error + error_before) ** 0.5 < mean_before)

    @property
    def error(self) -> float:
        """The standard error of the mean of the last costs: what two looks may differ by, and neither is better."""
        return _mean(self._costs[-self.window :])[1] ** 0.5 if self._costs else 0.0


def _mean(costs: Sequence[Tensor]) -> tuple[float, float]:
    """The mean of some, and the square of its standard error; 0 of a single one."""
    values = torch.stack(list(costs)).double()
    return float(values.mean()), float(values.var()) / len(values) if len(values) > 1 else 0.0
