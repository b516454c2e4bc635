"""How classification is judged: by labels, and by what the network says of the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from taskodec.contracts import Evaluator, Record
from taskodec.tasks.labels import ClassLabels

__all__ = ["ClassificationEvaluator"]


class ClassificationEvaluator(Evaluator):
    """Accuracy of a network's predictions, from 0 to 1.

    `predict` gives scores (1, K) of a picture (1, 3, H, W) in [0, 1]. `agreement` is how often its first class is
    that of the original; with `labels` (what `ClassLabels` reads) come `top1` and `top5`, how often the label
    is the first class, or among the first five.

    A record has the first five classes of the decoded picture (`found`), of the original, and the `label`.
    """

    def __init__(self, predict: Callable[[Tensor], Tensor], labels: Path | None = None) -> None:
        self.predict = predict
        self.labels = None if labels is None else ClassLabels.read(labels)
        self.labels_version = None if self.labels is None else self.labels.version
        judged = {} if labels is None else {"top1": True, "top5": True}
        self.metrics: Mapping[str, bool] = {**judged, "agreement": True}

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        label = None if self.labels is None else self.labels.of(name)
        scores = self.predict(x)
        if self.labels is not None:
            self.labels.check_classes(scores.shape[1])
        found = {"found": _first_five(self.predict(x_hat)), "original": _first_five(scores)}
        return found if label is None else {**found, "label": label}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        figures = {"agreement": fmean(record["found"][0] == record["original"][0] for record in records)}
        if self.labels is not None:
            figures["top1"] = fmean(record["label"] == record["found"][0] for record in records)
            figures["top5"] = fmean(record["label"] in record["found"] for record in records)
        return {metric: figures[metric] for metric in self.metrics}

    def satisfied(self, record: Record) -> bool:
        """Whether the first class is that of the original."""
        return bool(record["found"][0] == record["original"][0])


def _first_five(scores: Tensor) -> list[int]:
    found: list[int] = scores[0].topk(min(5, scores.shape[1])).indices.tolist()
    return found
