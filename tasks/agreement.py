"""How much of what a network finds in the original it finds in the decoded picture: no labels needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Evaluator, Record
from taskodec.errors import UsageError

__all__ = ["SATISFIED", "AgreementEvaluator", "Counts", "binary_divergence", "match"]

SATISFIED = 0.9
"""From this F1 of one picture on, the answer counts as that to the original."""


class Counts(NamedTuple):
    """Things (pixels, boxes) that are in both pictures, in the decoded picture, and in the original."""

    matched: int
    found: int
    wanted: int

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 1 if there is nothing in either picture."""
        both = self.found + self.wanted
        return 2 * self.matched / both if both else 1.0


class AgreementEvaluator(Evaluator):
    """F1, with what a network finds in the original as the truth.

    `count(x_hat, x)` compares two pictures (1, 3, H, W) in [0, 1]. Counts are added up over the images first, so that
    images with nothing in them neither help nor hurt. UsageError for `labels`: there is no use for them.
    """

    metrics: Mapping[str, bool] = MappingProxyType({"f1": True})

    def __init__(self, count: Callable[[Tensor, Tensor], Counts], labels: Path | None = None) -> None:
        if labels is not None:
            raise UsageError(
                "this task is judged against what its network finds in the originals, without labels; leave out "
                f"{labels}"
            )
        self.count = count

    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        return self.count(x_hat, x)._asdict()

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        total = Counts(*(sum(record[key] for record in records) for key in Counts._fields))
        return {"f1": total.f1}

    def satisfied(self, record: Record) -> bool:
        """Whether nearly all that is in the original is found, and little else: by the F1 of this picture."""
        return Counts(*(record[key] for key in Counts._fields)).f1 >= SATISFIED


def binary_divergence(found: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence of probabilities from those `wanted`, in nats, mean over elements.

    Both are logits of one shape. The slope does not fade where a sigmoid is flat, and zero is agreement.
    """
    p = wanted.sigmoid()
    yes = p * (F.logsigmoid(wanted) - F.logsigmoid(found))
    no = (1 - p) * (F.logsigmoid(-wanted) - F.logsigmoid(-found))
    return (yes + no).mean()


def match(overlaps: Tensor, least: float = 0.5) -> int:
    """How many pairs there are between things found and wanted, (F, W) overlaps from 0 to 1, each used once.

    The largest overlap is paired first; below `least` nothing is paired.
    """
    left, pairs = overlaps.clone(), 0
    while left.numel() and float(left.max()) >= least:
        row, column = divmod(int(left.argmax()), left.shape[1])
        left[row], left[:, column] = -1, -1
        pairs += 1
    return pairs
