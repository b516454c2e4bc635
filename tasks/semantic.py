"""Semantic segmentation: every pixel of the decoded picture must be taken for what the original's is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from taskodec.contracts import Evaluator, Findings
from taskodec.errors import UsageError
from taskodec.tasks.detections import coco_names
from taskodec.tasks.features import FeatureNetwork, FeatureTask
from taskodec.tasks.semantic_metrics import VOC_IN_COCO, SemanticEvaluator, classes_from_coco, voc_names

__all__ = ["Semantic"]

LABEL_IDS = ("coco", "network")


class Semantic(FeatureTask):
    """Agreement of a network whose `outputs` are class scores of every pixel before the softmax (B, K, H, W).

    `loss="outputs"` is the Kullback-Leibler divergence, in nats, of the predicted from the original's class
    probabilities, mean over the pixels that the network sees. `label_ids` says what the values in label files are:
    COCO's category ids, for networks with Pascal VOC's classes, or the network's own classes.
    """

    losses = ("features", "outputs")

    def __init__(self, network: FeatureNetwork, name: str, *, label_ids: str = "coco", **options: Any) -> None:
        super().__init__(network, name, **options)
        if label_ids not in LABEL_IDS:
            raise UsageError(f"task {name!r} has no label_ids {label_ids!r}; valid: {', '.join(LABEL_IDS)}")
        self.label_ids = label_ids

    def findings(self, x: Tensor) -> Findings:
        """The class of every pixel, with Pascal VOC's names, or COCO's, where labels are COCO's."""
        own = self.network.in_coco
        names = tuple(coco_names()[i] if i else "background" for i in own) if own else voc_names()
        names = names if self.label_ids == "coco" else ()
        return Findings(classes=self.classes(x.clamp(0, 1))[0], names=names)

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        table = classes_from_coco(self.network.in_coco or VOC_IN_COCO) if self.label_ids == "coco" else None
        return SemanticEvaluator(lambda x: self.classes(x)[0], labels, table=table)

    def prepare_outputs(self, x: Tensor) -> Tensor:
        return self.network.outputs(x).float().log_softmax(1)

    def divergence(self, x_hat: Tensor, reference: Tensor) -> Tensor:
        return self.divergences(x_hat, [reference]).mean()

    def divergences(self, x_hat: Tensor, references: Sequence[Tensor]) -> Tensor:
        found = self.network.outputs(x_hat).float().log_softmax(1)
        return F.kl_div(found, torch.cat(list(references)), log_target=True, reduction="none").sum(1).mean((1, 2))

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`pixel_agreement`, the share of pixels that keep their class, and `feature_distance`."""
        same = self.classes(x_hat.clamp(0, 1)) == self.classes(x)
        return {"pixel_agreement": float(same.float().mean()), **super().metrics(x_hat, x)}

    @torch.no_grad()
    def classes(self, x: Tensor) -> Tensor:
        """The class of every pixel, (B, H, W)."""
        rows, columns = self.place(x).inside
        return _likeliest(self.network.outputs(self.look(x))[:, :, rows, columns], (x.shape[2], x.shape[3]))


def _likeliest(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of each pixel of a picture of this size (B, H, W), from scores of what is seen of it (B, K, h, w)."""
    if scores.shape[2:] == size:
        return scores.argmax(1)
    best = classes = None
    for number, own in enumerate(torch.split(scores.float(), 1, dim=1)):  # one by one: a picture may be large
        scaled = F.interpolate(own, size, mode="bilinear", align_corners=False)
        if best is None or classes is None:
            best, classes = scaled, torch.zeros_like(scaled, dtype=torch.long)
        else:
            classes = torch.where(scaled > best, number, classes)
            best = torch.maximum(scaled, best)
    assert classes is not None
    return classes[:, 0]
