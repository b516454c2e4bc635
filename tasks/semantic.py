"""Semantic segmentation: every pixel of the decoded picture must be taken for what the original's is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.evaluators import Evaluator
from taskodec.tasks.features import FeatureNetwork, FeatureTask
from taskodec.tasks.semantic_metrics import SemanticEvaluator

__all__ = ["Semantic"]


class Semantic(FeatureTask):
    """Agreement of a network whose `outputs` are class scores of every pixel before the softmax (B, K, H, W).

    `loss="outputs"` is the Kullback-Leibler divergence, in nats, of the predicted from the original's class
    probabilities, mean over pixels.
    """

    losses = ("features", "outputs")

    def __init__(
        self, network: FeatureNetwork, name: str, *, label_table: Sequence[int] | None = None, **options: Any
    ) -> None:
        """`label_table` has the class of each value in label files, by default the value itself."""
        super().__init__(network, name, **options)
        self.label_table = label_table

    def prepare_outputs(self, x: Tensor) -> Tensor:
        return self.network.outputs(x).log_softmax(1)

    def divergence(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        found = self.network.outputs(x_hat).log_softmax(1)
        return F.kl_div(found, reference, log_target=True, reduction="none").sum(1).mean()

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`pixel_agreement`, the share of pixels that keep their class, and `feature_distance`."""
        same = self.classes(x_hat.clamp(0, 1)) == self.classes(x)
        return {"pixel_agreement": float(same.float().mean()), **super().metrics(x_hat, x)}

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        def predict(x: Tensor) -> Tensor:
            return self.classes(x)[0]

        side = self.network.min_side
        count = self.network.outputs(
            torch.zeros(1, 3, side, side, device=next(self.network.parameters()).device)
        ).shape[1]
        return SemanticEvaluator(predict, labels, classes=count, table=self.label_table)

    @torch.no_grad()
    def classes(self, x: Tensor) -> Tensor:
        """The class of every pixel, (B, H, W)."""
        height, width = x.shape[2:]
        return self.network.outputs(self._fit(x)).argmax(1)[:, :height, :width]
