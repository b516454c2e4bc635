"""Running averages of what is tuned, and the way back to the best of them.

Steps of one size wander about the place where the cost is lowest; their average lies nearer to it, however large they
are (Polyak and Juditsky 1992). So steps can stay large, and no schedule has to know when the last one comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["Averages"]


class Averages:
    """Averages of variables over their values so far, the first included, and from `window` steps on a moving one."""

    def __init__(self, variables: Sequence[Tensor], window: int) -> None:
        self.variables, self.window, self.steps = list(variables), window, 0
        self.means = [v.detach().clone() for v in variables]
        self.marked = [mean.clone() for mean in self.means]

    @torch.no_grad()
    def stepped(self) -> None:
        """Take in the variables as they are after a step."""
        self.steps += 1
        share = max(1 / (self.steps + 1), 1 / self.window)
        for mean, v in zip(self.means, self.variables, strict=True):
            mean.lerp_(v, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the variables have the values of their averages."""
        own = [v.detach().clone() for v in self.variables]
        self._set(self.means)
        try:
            yield
        finally:
            self._set(own)

    def forget(self, variable: Tensor) -> None:
        """Leave a variable out from here on."""
        kept = [v is not variable for v in self.variables]
        for part in (self.variables, self.means, self.marked):
            part[:] = [one for one, stays in zip(part, kept, strict=True) if stays]

    def mark(self) -> None:
        """Remember the averages as the best so far."""
        self.marked = [mean.clone() for mean in self.means]

    def anew(self) -> None:
        """Forget what was averaged: begin with the variables as they are."""
        self.steps = 0
        self.means = [v.detach().clone() for v in self.variables]

    def back(self) -> None:
        """Begin anew where the best averages were."""
        self.steps = 0
        self.means = [mean.clone() for mean in self.marked]
        self._set(self.means)

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for v, value in zip(self.variables, values, strict=True):
            v.copy_(value)
