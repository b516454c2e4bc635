"""As what a task judges crops: as parts of pictures of the sizes that there are, or of several in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from taskodec.coding.streams import padded
from taskodec.contracts import Task
from taskodec.isolation.pieces import piece_of
from taskodec.training.costs import Figures, relative_cost
from taskodec.training.datasets import Size
from taskodec.tuning.calibration import Balance

if TYPE_CHECKING:
    from taskodec.settings.model import PretrainSettings

__all__ = ["Shown", "cost_of", "mean_figures", "pick", "shown_as"]

LONGER = 4 / 3
"""The longer side of the pictures of a size, in units of the shorter one."""


@dataclass
class Shown:
    """Crops as parts of pictures whose shorter side is `side`: `short`, where settings give one, else that of the data.

    `task` judges them so, with weights and costs of `balance`; `untuned` is what held-out images cost without adapter.
    """

    short: int | None
    side: int
    task: Task
    balance: Balance = field(default_factory=lambda: Balance((), (), ()))
    untuned: Figures = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """What was measured, as plain values."""
        return {"short": self.short, "balance": self.balance.state(), "untuned": self.untuned}

    def take(self, state: dict[str, Any]) -> None:
        """What `state` gave; ValueError, or KeyError, for anything else."""
        self.balance = Balance.of(state["balance"])
        self.untuned = [{name: float(value) for name, value in figures.items()} for figures in state["untuned"]]

    @contextmanager
    def told(self, stride: int) -> Iterator[None]:
        """Within, crops are pieces of such pictures for adapters as well; `stride` is what the codec pads to."""
        with piece_of(padded(self.side, stride), padded(round(LONGER * self.side), stride)):
            yield


def shown_as(task: Task, settings: PretrainSettings, sizes: Sequence[Size]) -> list[Shown]:
    """Every way that crops are shown to the task; `sizes` are those of the data, for settings that have none."""
    if not settings.sizes:
        return [Shown(None, round(median(map(min, sizes))), task.for_crops(sizes))]
    return [Shown(short, short, task.for_crops([(short, round(LONGER * short))])) for short in settings.sizes]


def pick(ways: Sequence[Shown], seed: int, step: int) -> Shown:
    """The one of a step; the same in every process."""
    return ways[int(np.random.default_rng((seed, step, 2)).integers(len(ways)))]


def cost_of(ways: Sequence[Shown], figures: Sequence[Figures]) -> float:
    """Costs in units of the untuned codec's, the mean."""
    return fmean(relative_cost(mine, way.untuned) for way, mine in zip(ways, figures, strict=True))


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Of each quality, the means of its figures."""
    return [{name: fmean(each[name] for each in same) for name in same[0]} for same in zip(*figures, strict=True)]
