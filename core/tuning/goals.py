"""What the file of one image must keep to, and which of those that do is the best."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from taskodec.tuning.candidates import Candidate
    from taskodec.tuning.trials import Trial

__all__ = ["Goal", "MetricBound", "MostBytes", "MostLoss"]

FLOOR = 1e-12
"""Losses below count as this in ratios."""


class Goal(ABC):
    """A limit. `by_size` says that it is kept by small files; else by those that are large enough."""

    by_size: bool = False

    @abstractmethod
    def miss(self, trial: Trial) -> float:
        """By how much a file misses the limit: 0 or less where it is kept, else about a logarithm of a ratio."""

    def rank(self, one: Candidate) -> tuple[float, float]:
        """What the files that keep the limit are compared by, the lower the better."""
        return (len(one.coded.stream), one.loss)

    @abstractmethod
    def figure(self, trial: Trial) -> float:
        """What the file has of what is limited."""

    @abstractmethod
    def said(self, trial: Trial) -> str:
        """The file's figure, for a person."""

    @abstractmethod
    def wish(self, loss: float, bpp: float) -> float:
        """How much more the loss should weigh in tuning for a state of these figures; a logarithm."""

    def lacks(self, loss: float, bpp: float) -> float:
        """What `miss` would be for a state of these figures, as far as they say."""
        return -self.wish(loss, bpp) if self.by_size else self.wish(loss, bpp)


@dataclass(frozen=True)
class MostBytes(Goal):
    """No more than so many bytes, for a picture of so many pixels: the least loss wins."""

    bytes: int
    pixels: int
    by_size = True

    def miss(self, trial: Trial) -> float:
        return math.log(trial.size / self.bytes)

    def rank(self, one: Candidate) -> tuple[float, float]:
        return (one.loss, len(one.coded.stream))

    def figure(self, trial: Trial) -> float:
        return trial.size

    def said(self, trial: Trial) -> str:
        return f"{trial.size} bytes, {8 * trial.size / self.pixels:.4g} bpp"

    def __str__(self) -> str:
        return f"at most {self.bytes} bytes"

    def wish(self, loss: float, bpp: float) -> float:
        return math.log(8 * self.bytes / self.pixels / max(bpp, FLOOR))


@dataclass(frozen=True)
class MostLoss(Goal):
    """A loss of the task of no more than this: the smallest file wins."""

    most: float

    def miss(self, trial: Trial) -> float:
        loss = trial.candidate.loss
        if loss <= self.most:
            return min(-1e-9, _log_ratio(loss, self.most))
        return max(1e-9, _log_ratio(loss, self.most))

    def figure(self, trial: Trial) -> float:
        return trial.candidate.loss

    def said(self, trial: Trial) -> str:
        return f"{trial.candidate.loss:.5g}"

    def __str__(self) -> str:
        return f"a task loss of at most {self.most:g}"

    def wish(self, loss: float, bpp: float) -> float:
        return _log_ratio(loss, self.most)


@dataclass(frozen=True)
class MetricBound(Goal):
    """A figure of the decoded picture, `value(x_hat)`, of at least or at most `limit`: the smallest file wins.

    `loss` is a loss at which the figure is about met, as far as is known, for tuning to aim at.
    """

    name: str
    value: Callable[[Tensor], float]
    limit: float
    least: bool
    loss: float = math.nan

    def miss(self, trial: Trial) -> float:
        value = trial.figure(self.value)
        short = self.limit - value if self.least else value - self.limit
        return math.inf if math.isnan(short) else short

    def figure(self, trial: Trial) -> float:
        return trial.figure(self.value)

    def said(self, trial: Trial) -> str:
        return f"{trial.figure(self.value):.5g}"

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.least else '<='} {self.limit:g}"

    def wish(self, loss: float, bpp: float) -> float:
        return 0.0 if math.isnan(self.loss) else _log_ratio(loss, self.loss)


def _log_ratio(loss: float, limit: float) -> float:
    return math.log(max(loss, FLOOR) / max(limit, FLOOR))
