"""Networks of the YOLO family with masks from ONNX files: a mask is a sum of prototypes (Bolya et al. 2019, YOLACT).

Boxes, scores, coefficients and prototypes are found in what the graph gives (`yolo_layout`); the options `output`,
`prototypes`, `anchors_last`, `objectness`, `boxes` and `relative` say it where that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from taskodec.errors import UsageError
from taskodec.plugins.networks.boxes import suppress_and_tell
from taskodec.plugins.networks.onnx_modules import read_graph
from taskodec.plugins.networks.onnx_networks import GREY, OnnxDetector, OnnxOptions
from taskodec.plugins.networks.yolo_layout import check_all_anchors, class_names, ends_of, published_size, read_layout
from taskodec.tasks.coco_ap import MAX_DETECTIONS
from taskodec.tasks.detection import Detector, MaskDetector
from taskodec.tasks.detections import Detections
from taskodec.tasks.views import View

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OnnxMaskDetector", "onnx_detector"]

SIDE = 640
"""What the family is trained and published at."""

PLACES = 200
"""How many anchors, those most like objects in the original, have their masks compared."""

MASK_SIDE = 28
"""Points a side at which masks are compared in a box, as many as Mask R-CNN has."""

AT_ONCE = 16
"""Masks that are enlarged together."""


class OnnxMaskDetector(OnnxDetector, MaskDetector):
    """Boxes, class probabilities and coefficients of anchors, and the prototypes of a picture.

    It is shown pictures as its owner does: fit into 640x640, or what the graph says, in the middle of grey. A proposal
    is a box in pixels of what it sees, and the number of the anchor that it comes from (A, 5).
    """

    def __init__(self, file: Path, options: OnnxOptions) -> None:
        super().__init__(file, options)
        if self.fixed is None:
            self.stride = options.stride
        graph = read_graph(file)
        self.names = class_names(graph)
        size = self.view.seen or (SIDE, SIDE)
        given = {key: getattr(options, key) for key in options.model_fields_set}
        with torch.no_grad():
            self.layout = read_layout(*self._ends(torch.full((1, 3, *size), GREY)), size, given, self.names, file)

    def ends(self, graph: ModelProto) -> Sequence[str]:
        check_all_anchors(graph, self.file)
        found = ends_of(graph, self.options.output, self.options.prototypes, self.file)
        if found is None:
            raise UsageError(
                f"{self.file} has the outputs {', '.join(end.name for end in graph.graph.output)}, and none that are "
                "masks for certain; name the prototypes (1, M, h, w) with task.options.onnx.prototypes, or take it for "
                "task 'det'"
            )
        return found

    def usual_size(self, graph: ModelProto) -> tuple[int, int] | None:
        return published_size(graph) or (SIDE, SIDE)

    def shown_whole(self) -> View:
        return replace(super().shown_whole(), centred=True, nearest=True)

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        return self._see(x)[0][..., : 4 + self.layout.classes]

    def proposals(self, x: Tensor) -> Tensor:
        rows = self._see(x)[0][0]
        certain = rows[:, 4 : 4 + self.layout.classes].amax(1)
        best = certain.topk(min(PLACES, len(certain))).indices
        return torch.cat([rows[best, :4], best[:, None].to(rows.dtype)], 1)

    def outputs_and_masks(self, x: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
        rows, maps = self._see(x)
        start = 4 + self.layout.classes
        coefficients = rows[0, proposals[:, 4].long(), start:]  # (P, M)
        ratio = rows.new_tensor([maps.shape[3] / x.shape[3], maps.shape[2] / x.shape[2]] * 2)
        seen = roi_align(maps, [proposals[:, :4] * ratio], MASK_SIDE, sampling_ratio=2, aligned=True)
        masks = torch.einsum("pm,pmhw->phw", coefficients, seen)
        return rows[..., :start], masks.sigmoid()

    def certainty(self, outputs: Tensor, proposals: Tensor) -> Tensor:
        return outputs[0, proposals[:, 4].long(), 4:].amax(-1)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        rows, maps = self._see(x)
        start = 4 + self.layout.classes
        size = (x.shape[2], x.shape[3])
        found, anchors = suppress_and_tell(rows[0, :, :start], size)
        boxes, scores, categories = (p[:MAX_DETECTIONS] for p in (found.boxes, found.scores, found.categories))
        coefficients = rows[0, anchors[:MAX_DETECTIONS], start:]  # (N, M)
        masks = [
            _inside(_enlarged(torch.einsum("nm,mhw->nhw", some, maps[0]), size), own)
            for some, own in zip(torch.split(coefficients, AT_ONCE), torch.split(boxes, AT_ONCE), strict=True)
        ]
        return Detections(boxes, scores, categories, torch.cat(masks), found.of_coco)

    def _see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, A, 4 + K + M) of `YoloLayout`, and prototypes (B, M, h, w)."""
        predictions, prototypes = self._ends(x)
        return self.layout.rows(predictions, x.shape[2:]), self.layout.maps(prototypes)

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the graph gives of a batch: predictions and prototypes."""
        predictions, prototypes = (torch.cat(ends) for ends in zip(*self.whole_of(x), strict=True))
        return predictions, prototypes


def onnx_detector(file: Path, options: OnnxOptions, *, masks: bool = False) -> Detector:
    """The detector in a file, with masks if it has some; UsageError where they are asked for and there are none."""
    if masks or options.prototypes or ends_of(read_graph(file), options.output, "", file) is not None:
        return OnnxMaskDetector(file, options)
    return OnnxDetector(file, options)


def _enlarged(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores of pixels (N, h, w) at another size, bilinear as the family's own, as masks (N, H, W)."""
    return F.interpolate(masks[:, None], size, mode="bilinear", align_corners=False)[:, 0] > 0


def _inside(masks: Tensor, boxes: Tensor) -> Tensor:
    """Masks (N, H, W) without what is outside of their boxes (N, 4)."""
    rows = torch.arange(masks.shape[1], device=masks.device)[None, :, None]
    columns = torch.arange(masks.shape[2], device=masks.device)[None, None, :]
    left, top, right, bottom = (side[:, None, None] for side in boxes.unbind(1))  # (N,) -> (N, 1, 1)
    return masks & (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
