"""Image classification: the decoded picture must be taken for what the original is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Evaluator, Findings, Found
from taskodec.tasks.classification_metrics import ClassificationEvaluator
from taskodec.tasks.feature_units import FeatureReference
from taskodec.tasks.features import FeatureTask
from taskodec.tasks.labels import imagenet_names

__all__ = ["Classification"]

LISTED = 5
"""Classes that are found in a picture: the likeliest."""

IMAGENET = 1000
"""A network of so many classes is taken for one of ImageNet."""


class Classification(FeatureTask):
    """Agreement of a classifier, whose `outputs` are class scores before the softmax (B, K).

    `loss="outputs"` is the Kullback-Leibler divergence, in nats, of the predicted from the original's class
    probabilities. Features stand beside it, with five times its weight: 1 nat where they err by as much as they vary.
    """

    losses = ("features", "outputs")
    features_beside = 5.0  # classifiers that a file was not made for agree more often: docs/ttft_measured.md
    views = ("scale", "shift", "flip")  # noise makes files worse for other networks: docs/ttft_measured.md

    def prepare_outputs(self, x: Tensor) -> Tensor:
        return self.network.outputs(x).float().log_softmax(1)

    def unit(self, x: Tensor, whole: FeatureReference) -> float:
        """1 nat where features err by as much as they vary: how sure a classifier is of one picture says too little."""
        return 1.0

    def prepare_both(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        features, scores = self.network.both(x)
        return features, scores.float().log_softmax(1)

    def divergence(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        return self.divergences(x_hat, [reference]).mean()

    def divergences(self, x_hat: Tensor, references: Sequence[Tensor]) -> Tensor:
        return class_divergences(self.network.outputs(x_hat), references)

    def asked(self, x_hat: Tensor, references: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        features, scores = self.network.both(x_hat)
        return class_divergences(scores, references), features

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`top1_agreement` with the prediction on the original (0 or 1 for one image) and `feature_distance`."""
        shown, original = self.look(x_hat.clamp(0, 1)), self.look(x)
        same = self.network.outputs(shown).argmax(1) == self.network.outputs(original).argmax(1)
        return {"top1_agreement": float(same.float().mean()), **super().metrics(x_hat, x)}

    @torch.no_grad()
    def findings(self, x: Tensor) -> Findings:
        """The likeliest classes, by ImageNet's names for a network of a thousand."""
        likely = self.network.outputs(self.look(x.clamp(0, 1)))[0].float().softmax(0)
        scores, classes = likely.topk(min(LISTED, len(likely)))
        names = imagenet_names() if len(likely) == IMAGENET else [f"class {i}" for i in range(len(likely))]
        return Findings([Found(names[c], s) for s, c in zip(scores.tolist(), classes.tolist(), strict=True)])

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        return ClassificationEvaluator(lambda x: self.network.outputs(self.look(x)), labels)


def class_divergences(scores: Tensor, references: Sequence[Tensor]) -> Tensor:
    """The Kullback-Leibler divergences (B,), in nats, of scores (B, K) from logarithms of probabilities (1, K) each."""
    found = scores.float().log_softmax(1)
    return F.kl_div(found, torch.cat(list(references)), log_target=True, reduction="none").sum(1)
