"""COCO's average precision: which detections of an image count, and what that amounts to over many images."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kind", "average_precision", "match", "silent"]

Kind = Literal["bbox", "segm"]
"""What is compared: boxes, or masks."""

THRESHOLDS = 10
"""Overlaps from 0.50 to 0.95 at which a detection may count as found."""

RECALLS = np.linspace(0.0, 1.0, 101)

MAX_DETECTIONS = 100

Matches = Mapping[str, Any]
"""Of one image, as JSON has it.

`objects`: how many there are to find, by category. `found`: of each detection its category, its score, and two
numbers whose bit t says for threshold t whether it meets an object, and whether it is not to be counted at all.
"""


def match(wanted: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]], kind: Kind) -> Matches:
    """What pycocotools says of one image's detections.

    Both are annotations in COCO's form, with an `area`; `segm` needs `segmentation` as compressed RLE. `wanted` may
    have an `iscrowd`, `found` has a `score`.
    """
    from pycocotools.cocoeval import COCOeval

    with silent():
        judge = COCOeval(_index(wanted), _index(found), kind)
        judge.params.imgIds = [1]
        judge.params.catIds = sorted({one["category_id"] for one in [*wanted, *found]})
        judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], judge.params.areaRngLbl[:1]
        judge.params.maxDets = [MAX_DETECTIONS]
        judge.evaluate()
    objects: dict[str, int] = {}
    rows: list[list[float]] = []
    for result in judge.evalImgs:
        category = int(result["category_id"])
        objects[str(category)] = int(np.count_nonzero(result["gtIgnore"] == 0))
        bits = 1 << np.arange(THRESHOLDS)
        hits, ignored = (bits @ (result[key] > 0) for key in ("dtMatches", "dtIgnore"))
        rows += [[category, *row] for row in zip(result["dtScores"], hits.tolist(), ignored.tolist(), strict=True)]
    return {"objects": {category: count for category, count in objects.items() if count}, "found": rows}


def average_precision(images: Sequence[Matches]) -> tuple[float, float]:
    """Mean average precision over categories and thresholds, and at the first threshold (AP50).

    The same figures, to the last bit, as `COCOeval.accumulate` and `summarize` give for these images in this order;
    it is done in numpy because a bootstrap asks hundreds of times. An image that comes twice counts as two. Not a
    number if there is no object in any image.
    """
    objects: Counter[int] = Counter()
    for image in images:
        objects.update({int(category): count for category, count in image["objects"].items()})
    if not objects:
        return float("nan"), float("nan")
    rows = np.array([row for image in images for row in image["found"]], float).reshape(-1, 4)
    rows = rows[np.argsort(-rows[:, 1], kind="stable")]  # COCO's order, also among equal scores
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    categories = sorted(objects)
    first, last = (rows[:, 0].searchsorted(categories, side) for side in ("left", "right"))
    curves = [_precision(rows[a:b], objects[c]) for a, b, c in zip(first, last, categories, strict=True)]
    precision = np.stack(curves, axis=2)  # (thresholds, recalls, categories)
    return float(precision.reshape(-1).mean()), float(precision[0].reshape(-1).mean())


def _precision(rows: NDArray[np.float64], objects: int) -> NDArray[np.float64]:
    """Highest precision at each of 101 recalls or above, (thresholds, 101), from rows by falling score."""
    bits = np.arange(THRESHOLDS)[:, None]
    hits, ignored = (rows[:, column].astype(np.int64) >> bits & 1 > 0 for column in (2, 3))
    true = np.cumsum(hits & ~ignored, axis=1, dtype=float)
    false = np.cumsum(~hits & ~ignored, axis=1, dtype=float)
    precision = np.zeros((THRESHOLDS, len(rows) + 1))  # one more, for recalls that are never reached
    precision[:, :-1] = true / (false + true + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.stack([p[r.searchsorted(RECALLS)] for p, r in zip(precision, true / objects, strict=True)])


def _index(annotations: Sequence[Mapping[str, Any]]) -> Any:
    """A pycocotools data set of one image. Identities start at 1: pycocotools takes 0 for no match."""
    from pycocotools.coco import COCO

    data = COCO()
    data.dataset = {
        "images": [{"id": 1, "height": 0, "width": 0}],  # read, but of no use to masks that are RLE
        "categories": [],
        "annotations": [
            {"iscrowd": 0, **one, "image_id": 1, "id": identity} for identity, one in enumerate(annotations, 1)
        ],
    }
    data.createIndex()
    return data


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep pycocotools from printing."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
