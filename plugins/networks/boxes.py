"""What detectors have in common: how their anchors become objects."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from taskodec.tasks.detection import COCO_IDS
from taskodec.tasks.detections import Detections

__all__ = ["suppress", "suppress_and_tell"]

MIN_SCORE = 0.01
MAX_OVERLAP = 0.65
"""What YOLOX is evaluated with."""


def suppress(anchors: Tensor, size: tuple[int, int]) -> Detections:
    """The objects among anchors (A, 4 + K) of a picture of `size` (H, W), best first.

    Boxes are x1, y1, x2, y2. Of overlapping boxes of one category the best is kept. With K = 80
    categories are COCO's, else 1 to K.
    """
    return suppress_and_tell(anchors, size)[0]


def suppress_and_tell(anchors: Tensor, size: tuple[int, int]) -> tuple[Detections, Tensor]:
    """What `suppress` gives, and the numbers (N,) of the anchors that the objects are."""
    boxes = anchors[:, :4]
    scores, classes = anchors[:, 4:].max(1)
    sure = (scores >= MIN_SCORE).nonzero()[:, 0]
    boxes, scores, classes = boxes[sure], scores[sure], classes[sure]
    kept = batched_nms(boxes, scores, classes, MAX_OVERLAP)
    inside = boxes[kept].clamp(min=0).minimum(boxes.new_tensor([size[1], size[0]] * 2))
    count = anchors.shape[1] - 4
    of_coco = count == len(COCO_IDS)
    ids = torch.tensor(COCO_IDS if of_coco else range(1, count + 1), device=boxes.device)
    return Detections(inside, scores[kept], ids[classes[kept]], of_coco=of_coco), sure[kept]
