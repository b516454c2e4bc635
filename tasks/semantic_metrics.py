"""How semantic segmentation is judged: mean intersection over union of the classes of pixels."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taskodec.contracts import Evaluator, Record
from taskodec.errors import ImageError, UsageError
from taskodec.pixels.pillow import Opened, decode_file

__all__ = ["IGNORED", "SATISFIED", "VOC_IN_COCO", "SemanticEvaluator", "classes_from_coco", "voc_names"]

IGNORED = 255
"""The class of pixels that are not judged."""

SATISFIED = 0.95
"""From this share of pixels with the class that they have in the original on, the answer counts as the same."""

VOC_IN_COCO = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
"""COCO's category id of each of Pascal VOC's 21 classes; 0 stands for the background."""


def classes_from_coco(in_coco: Sequence[int] = VOC_IN_COCO) -> list[int]:
    """The class of each COCO category, for label files with COCO's (panoptic) category ids.

    `in_coco` has the category of each class, by default of Pascal VOC's. Pixels without a category (0) are not judged;
    categories that no class is are background.
    """
    table = [IGNORED] + [0] * 255
    for index, category in enumerate(in_coco[1:], 1):
        table[category] = index
    return table


class SemanticEvaluator(Evaluator):
    """Mean intersection over union of the classes of pixels, from 0 to 1.

    `predict` gives the class of each pixel of a picture (1, 3, H, W) in [0, 1], as (H, W) integers below `IGNORED`.
    With `labels`, a folder with a PNG of one channel for each image, of its name and size, comes `miou`; `table` is
    the class of each value in these files (`IGNORED` for pixels not to be judged), by default the value itself.
    `self_miou` takes the prediction on the original for the truth. Pixels are counted over all images, and the mean
    is over the classes that occur in what is taken for the truth.

    A record has, under `labels` and `self`, three numbers of pixels by class: right, true, and predicted.
    """

    def __init__(
        self, predict: Callable[[Tensor], Tensor], labels: Path | None = None, *, table: Sequence[int] | None = None
    ) -> None:
        if labels is not None and not labels.is_dir():
            raise UsageError(f"cannot read the labels {labels}: it is no folder; valid: one with a PNG for each image")
        self.predict, self.labels = predict, labels
        self.table = torch.tensor(list(range(256)) if table is None else table)
        self.metrics: Mapping[str, bool] = {"self_miou": True} if labels is None else {"miou": True, "self_miou": True}

    @torch.no_grad()
    def observe(self, name: str, x_hat: Tensor, x: Tensor) -> Record:
        truth = None if self.labels is None else self._truth(self.labels / f"{Path(name).stem}.png", x.shape[-2:])
        found = self.predict(x_hat).cpu()
        record = {"self": _count(found, self.predict(x).cpu())}
        return record if truth is None else {"labels": _count(found, truth), **record}

    def summarise(self, records: Sequence[Record]) -> dict[str, float]:
        truths = {"miou": "labels", "self_miou": "self"}
        return {metric: _miou([record[truths[metric]] for record in records]) for metric in self.metrics}

    def satisfied(self, record: Record) -> bool:
        """Whether nearly all pixels keep the class that they have in the original."""
        counts = record["self"].values()
        return bool(sum(right for right, _, _ in counts) >= SATISFIED * sum(true for _, true, _ in counts))

    def _truth(self, file: Path, size: Sequence[int]) -> Tensor:
        """The classes of the pixels, (H, W)."""
        try:
            with file.open("rb") as stream:
                found, _ = decode_file(stream, str(file), sys.maxsize, partial(_stored, (size[1], size[0])))
        except (OSError, ImageError) as error:
            raise UsageError(f"cannot read the label {file}: {error}; valid: a PNG for each image") from error
        if found.form != "PNG":
            raise UsageError(f"cannot read the label {file}: it is {found.form}; valid: a PNG for each image")
        if found.mode not in {"L", "P"}:
            raise UsageError(f"{file} is a picture of mode {found.mode}; valid: one channel of 8 bits (L or P)")
        if found.values is None:
            own, wanted = (f"{width}x{height}" for width, height in (found.size, (size[1], size[0])))
            raise UsageError(f"{file} has {own} pixels, its image {wanted}: use the image that was labelled")
        return self.table[torch.from_numpy(found.values).long()]


class _Stored(NamedTuple):
    """A picture as in its file: Pillow's format and mode, width and height, and the values if it is to be read."""

    form: str | None
    mode: str
    size: tuple[int, int]
    values: NDArray[Any] | None


def _stored(wanted: tuple[int, int], opened: Opened) -> _Stored:
    """The picture; its values only if it has this width and height, for a file may claim any."""
    image = opened.image
    return _Stored(image.format, image.mode, image.size, np.array(image) if image.size == wanted else None)


def _count(found: Tensor, truth: Tensor) -> dict[str, list[int]]:
    judged = truth != IGNORED
    pairs = truth[judged].long() * IGNORED + found[judged].long()
    confusion = pairs.bincount(minlength=IGNORED**2).view(IGNORED, IGNORED)  # (true, predicted)
    counts = torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)], 1)  # (classes, 3)
    return {str(index): row for index, row in enumerate(counts.tolist()) if any(row)}


def _miou(images: Sequence[Mapping[str, Sequence[int]]]) -> float:
    """Not a number if no class occurs."""
    total: dict[str, list[int]] = {}
    for image in images:
        for index, counts in image.items():
            total[index] = [a + b for a, b in zip(total.get(index, (0, 0, 0)), counts, strict=True)]
    ratios = [right / (true + found - right) for right, true, found in total.values() if true]
    return fmean(ratios) if ratios else float("nan")


@cache
def voc_names() -> Sequence[str]:
    """What Pascal VOC's 21 classes are called, the background first."""
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    return tuple(str(name).strip("_") for name in FCN_ResNet50_Weights.DEFAULT.meta["categories"])
