"""How detection and instance segmentation are judged: COCO's average precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from taskodec.contracts import Evaluator, Record
from taskodec.errors import TaskError
from taskodec.extras import require
from taskodec.tasks.coco_ap import MAX_DETECTIONS, Kind, average_precision, match
from taskodec.tasks.coco_labels import CocoLabels
from taskodec.tasks.detections import Detections

__all__ = ["MIN_SCORE", "SATISFIED", "SELF_SCORE", "CocoEvaluator"]

MIN_SCORE = 0.01
"""Detections below it are not looked at."""

SELF_SCORE = 0.3
"""Detections on the original from this score on are what `self_ap` takes for the objects that there are."""

SATISFIED = 0.9
"""From this `ap50` of one picture on, against the detections on the original, the answer counts as the same."""

_PREFIX: Mapping[Kind, str] = {"bbox": "", "segm": "mask_"}


class CocoEvaluator(Evaluator):
    """Average precision of a detector, by pycocotools, from 0 to 1, over all sizes of objects; UsageError without it.

    `detect` gives the objects in a picture (1, 3, H, W) in [0, 1]; `kind` says whether boxes or masks are compared.
    With `labels` (a file that `CocoLabels` reads) come `ap` (mean over overlaps from 0.50 to 0.95) and `ap50`.
    `self_ap` and `self_ap50` are the same with other objects to find: what the detector sees in the original with a
    score of at least `SELF_SCORE`. Of masks, all four have a `mask_` in front.

    A record has the `Matches` of these two, under `labels` and `self`.
    """

    def __init__(self, detect: Callable[[Tensor], Detections], labels: Path | None = None, kind: Kind = "bbox") -> None:
        require("eval", "average precision", only=["pycocotools"])
        self.detect, self.kind = detect, kind
        self.labels = None if labels is None else CocoLabels(labels, kind)
        names = ("ap", "ap50", "self_ap", "self_ap50") if labels is not None else ("self_ap", "self_ap50")
        self.metrics: Mapping[str, bool] = {_PREFIX[kind] + name: True for name in names}

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        size = x.shape[-2:]
        wanted, known = (None, size) if self.labels is None else self.labels.of(name, size)
        found, seen = (in_coco_form(self.detect(picture).scaled(size, known), self.kind) for picture in (x_hat, x))
        sure = [one for one in seen if one["score"] >= SELF_SCORE]
        record = {"self": match(sure, found, self.kind)}
        return record if wanted is None else {"labels": match(wanted, found, self.kind), **record}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        kinds = ("self",) if self.labels is None else ("labels", "self")
        figures = [figure for kind in kinds for figure in average_precision([record[kind] for record in records])]
        return dict(zip(self.metrics, figures, strict=True))

    def satisfied(self, record: Record) -> bool:
        """Whether the objects of the original are found again: `self_ap50` of this picture, or nothing to find."""
        ap50 = average_precision([record["self"]])[1]
        return math.isnan(ap50) or ap50 >= SATISFIED


def in_coco_form(found: Detections, kind: Kind) -> list[dict[str, Any]]:
    """At most 100 detections in COCO's form, the best first: boxes as x, y, width, height, or masks as RLE."""
    if kind == "segm" and found.masks is None:
        raise TaskError("masks are to be compared, but the network gives none: choose one for instance segmentation")
    best = found.scores.argsort(descending=True, stable=True)[:MAX_DETECTIONS]
    best = best[found.scores[best] >= MIN_SCORE]
    scores, categories = found.scores[best].tolist(), found.categories[best].tolist()
    shapes = _masks(found.masks[best]) if kind == "segm" and found.masks is not None else _boxes(found.boxes[best])
    return [
        {"category_id": int(category), "score": round(score, 5), **shape}
        for category, score, shape in zip(categories, scores, shapes, strict=True)
    ]


def _boxes(boxes: Tensor) -> list[dict[str, Any]]:
    sides = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).double()
    return [{"bbox": box, "area": box[2] * box[3]} for box in sides.tolist()]


def _masks(masks: Tensor) -> list[dict[str, Any]]:
    from pycocotools import mask as rle

    codes = rle.encode(np.asfortranarray(masks.permute(1, 2, 0).cpu().numpy().astype(np.uint8)))  # (H, W, N)
    return [{"segmentation": code, "area": float(rle.area(code))} for code in codes]
