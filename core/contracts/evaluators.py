"""How a task is judged over a set of images: what is kept of each, and what that amounts to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

__all__ = ["Evaluator", "Record"]

Record = Mapping[str, Any]
"""What is kept of one image: plain data, as JSON has it."""


class Evaluator(ABC):
    """Judges pictures, one at a time, and sums up over a set of them."""

    metrics: Mapping[str, bool]
    """The figures that `summarise` gives, the main one first, and of each whether more of it is better."""
    labels_version: str | None = None
    """What stands for the labels where rows say what they depend on; None for the bytes of the file or folder."""

    @abstractmethod
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        """What is kept of a decoded picture and its original, (1, 3, H, W) in [0, 1].

        `name` is the original's file name, under which labels know it. UsageError if they do not.
        """

    @abstractmethod
    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        """The figures over these records. One that comes twice counts twice, as the bootstrap needs it."""

    def satisfied(self, record: Record) -> bool | None:
        """Whether the answer to the decoded picture is that to the original, for the satisfied machine ratio.

        None, by default, where an answer is no matter of yes or no.
        """
        return None
