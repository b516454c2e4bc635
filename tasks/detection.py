"""Object detection: the same objects must be found in the decoded picture as in the original, in the same places."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

from taskodec.contracts import Evaluator, Findings, Found
from taskodec.tasks.coco import CocoEvaluator
from taskodec.tasks.detections import Detections, coco_names
from taskodec.tasks.features import FeatureNetwork, FeatureTask

__all__ = ["COCO_IDS", "Detection", "Detector", "InstanceSegmentation", "MaskDetector"]

COCO_IDS = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""The 80 categories of COCO's annotations in their usual order, by id."""

SHOWN_SCORE = 0.3
"""From this score on objects are among the findings."""

FLOOR = 1e-6
"""Probabilities closer to 0 or 1 count as this close."""


class Detector(FeatureNetwork):
    """A network that finds objects."""

    names: Sequence[str] = ()
    """What its classes are called, in their order, if it knows; COCO's categories have COCO's names."""

    @abstractmethod
    def detect(self, x: Tensor) -> Detections:
        """The objects in one picture (1, 3, H, W) in [0, 1], overlapping ones suppressed, best first."""

    @abstractmethod
    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        """What it says of every anchor, (B, A, 4 + K): a box x1, y1, x2, y2 in pixels, and K class probabilities.

        Networks of two stages look at `proposals` (A, 4) of one picture instead of their own.
        """

    def proposals(self, x: Tensor) -> Tensor | None:
        """The places in one picture that the second stage looks at, (A, 4); None for networks of one stage."""
        return None


class MaskDetector(Detector):
    """A network that finds objects and their outlines; `detect` gives masks too."""

    @abstractmethod
    def proposals(self, x: Tensor) -> Tensor:
        """The places in one picture whose masks are compared, those that the second stage looks at if any (P, n)."""

    @abstractmethod
    def outputs_and_masks(self, x: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """`outputs` (1, A, 4 + K) of one picture, and the probability that a pixel of a place is the object (P, h, w).

        Networks of two stages have their proposals for anchors, others all of theirs.
        """

    def certainty(self, outputs: Tensor, proposals: Tensor) -> Tensor:
        """How much each of the proposals looks like an object (P,), of `outputs` (1, A, 4 + K)."""
        return outputs[0, :, 4:].amax(-1)


@dataclass(frozen=True)
class DetectionReference:
    """What a detector says of the original (B, A, 4 + K), and of which places."""

    outputs: Tensor
    proposals: Tensor | None


@dataclass(frozen=True)
class MaskReference:
    """What a network says of the original, (1, A, 4 + K), and masks of places in it (P, h, w)."""

    proposals: Tensor
    outputs: Tensor
    masks: Tensor


class Detection(FeatureTask):
    """Agreement of a detector.

    `loss="outputs"` asks every anchor. With p and q the probabilities of a class in the original and in the decoded
    picture, it is the Kullback-Leibler divergence of q from p as one of yes and no, summed over classes, plus
    1 - GIoU of the two boxes (Rezatofighi et al. 2019, arXiv:1902.09630). An anchor's divergence counts as much as
    either picture makes it look like an object, its box as much as the original does, and the sum is relative to how
    much the original's anchors look like objects, plus one. Features stand beside it, with three tenths of its weight.
    """

    losses = ("features", "outputs")
    exact_losses = ("outputs",)  # a box in pixels has more digits
    features_beside = 0.3  # detectors that a file was not made for find more again: docs/ttft_measured.md
    network: Detector

    def prepare_outputs(self, x: Tensor) -> Any:
        proposals = self.network.proposals(x)
        return DetectionReference(self.network.outputs(x, proposals), proposals)

    def prepare_both(self, x: Tensor) -> tuple[list[Tensor], Any]:
        proposals = self.network.proposals(x)
        if proposals is None:
            features, outputs = self.network.both(x)
            return features, DetectionReference(outputs, None)
        return self.network.features(x), DetectionReference(self.network.outputs(x, proposals), proposals)

    def divergence(self, x_hat: Tensor, reference: Any) -> Tensor:
        found = self.network.outputs(x_hat, reference.proposals)
        return detection_divergence(found, reference.outputs).mean()

    def divergences(self, x_hat: Tensor, references: Sequence[Any]) -> Tensor:
        if any(reference.proposals is not None for reference in references):
            return super().divergences(x_hat, references)  # places of one picture are no places of another
        wanted = torch.cat([reference.outputs for reference in references])
        return detection_divergence(self.network.outputs(x_hat), wanted)

    def asked(self, x_hat: Tensor, references: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
        if any(reference.proposals is not None for reference in references):
            return super().asked(x_hat, references)
        features, outputs = self.network.both(x_hat)
        return detection_divergence(outputs, torch.cat([reference.outputs for reference in references])), features

    @torch.no_grad()
    def metrics(self, x_hat: Tensor, x: Tensor) -> dict[str, float]:
        """`objects_kept`, the share of the original's objects that are found again, and `feature_distance`."""
        kept = objects_kept(self.detect(x_hat.clamp(0, 1)), self.detect(x))
        return {"objects_kept": kept, **super().metrics(x_hat, x)}

    @torch.no_grad()
    def findings(self, x: Tensor) -> Findings:
        """The objects with a score of at least `SHOWN_SCORE`, by COCO's names or the network's."""
        seen = self.detect(x.clamp(0, 1))
        names = coco_names() if seen.of_coco else ("", *self.network.names)
        found = []
        for i in (seen.scores >= SHOWN_SCORE).nonzero()[:, 0].tolist():
            number = int(seen.categories[i])
            label = names[number] if 0 <= number < len(names) else f"category {number}"
            mask = None if seen.masks is None else seen.masks[i]
            found.append(Found(label, float(seen.scores[i]), seen.boxes[i].tolist(), mask=mask))
        return Findings(found)

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        return CocoEvaluator(self.detect, labels)

    def detect(self, x: Tensor) -> Detections:
        """The objects in one picture (1, 3, H, W) in [0, 1], in its own pixels."""
        place, found = self.place(x), self.network.detect(self.look(x))
        masks = None if found.masks is None else place.masks(found.masks)
        return replace(found, boxes=place.boxes(found.boxes), masks=masks)


class InstanceSegmentation(Detection):
    """Agreement of a network that finds objects and their outlines.

    `loss="outputs"` is that of `Detection`, plus the mean divergence of masks' pixels as yes or no, in the boxes of the
    original's proposals; a mask counts as much as the original makes it look like an object.
    """

    features_beside = 0.0  # not measured
    network: MaskDetector

    def prepare_outputs(self, x: Tensor) -> Any:
        proposals = self.network.proposals(x)
        return MaskReference(proposals, *self.network.outputs_and_masks(x, proposals))

    def prepare_both(self, x: Tensor) -> tuple[list[Tensor], Any]:
        return self.network.features(x), self.prepare_outputs(x)

    def divergence(self, x_hat: Tensor, reference: Any) -> Tensor:
        outputs, masks = self.network.outputs_and_masks(x_hat, reference.proposals)
        certain = self.network.certainty(reference.outputs, reference.proposals)  # (P,)
        divergences = _of_yes_or_no(masks.float(), reference.masks.float()).mean((1, 2))
        of_masks: Tensor = (certain * divergences).sum() / (1 + certain.sum())
        return detection_divergence(outputs, reference.outputs).mean() + of_masks

    def evaluator(self, labels: Path | None = None) -> Evaluator:
        return CocoEvaluator(self.detect, labels, "segm")


def detection_divergence(found: Tensor, wanted: Tensor) -> Tensor:
    """The losses (B,) of `Detection` between anchors (B, A, 4 + K) of the decoded pictures and of the originals."""
    found, wanted = found.float(), wanted.float()
    q, p = found[..., 4:], wanted[..., 4:]
    divergences = _of_yes_or_no(q, p).sum(-1)  # (B, A)
    certain = p.amax(-1)
    suspected = torch.maximum(certain, q.detach().amax(-1))
    boxes: Tensor = generalized_box_iou_loss(_solid(found[..., :4]), _solid(wanted[..., :4]))  # (B, A)
    total = (suspected * divergences + certain * boxes).sum(1)
    return total / (1 + certain.sum(1))


def _solid(boxes: Tensor) -> Tensor:
    """Boxes (…, 4) at least a hundredth of a pixel wide and high: the GIoU of an empty box with itself is no 1."""
    corner = boxes[..., :2]
    return torch.cat([corner, torch.maximum(boxes[..., 2:], corner + 0.01)], -1)


def _of_yes_or_no(found: Tensor, wanted: Tensor) -> Tensor:
    """The Kullback-Leibler divergence, in nats, of probabilities `found` from `wanted`, each alone."""
    q, p = found.clamp(FLOOR, 1 - FLOOR), wanted.clamp(FLOOR, 1 - FLOOR)
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


def objects_kept(found: Detections, wanted: Detections, score: float = 0.5, overlap: float = 0.5) -> float:
    """The share of `wanted` objects of at least this score that `found` has with the same category and place.

    1 where there are none.
    """
    sure, again = wanted.scores >= score, found.scores >= score
    if not bool(sure.any()):
        return 1.0
    overlaps = box_iou(wanted.boxes[sure], found.boxes[again])  # (N, M)
    same = wanted.categories[sure][:, None] == found.categories[again]
    return float((same & (overlaps >= overlap)).any(1).float().mean())
