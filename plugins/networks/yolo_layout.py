"""How the graphs of the YOLO family with masks lay out what they find: read from what they give, where nobody says.

| export | predictions | a row has |
|---|---|---|
| YOLOv5, v7 | (1, 3 anchors a cell, 5 + K + M) | middle and size, objectness, K probabilities, M coefficients |
| YOLOv8, v9, 11 | (1, 4 + K + M, one a cell) | middle and size, K probabilities, M coefficients |

Beside them are M prototypes (1, M, h, w), or (1, h, w, M). Their order and names are anybody's.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.ops import box_convert

from taskodec.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["YoloLayout", "check_all_anchors", "class_names", "ends_of", "published_size", "read_layout"]

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""Of the levels of the head, of networks for 640 and for 1280 pixels."""
ANCHORS = 3
"""Boxes a cell of heads that have an objectness."""
CLASSES = 80
CHOICES = ("NonMaxSuppression", "TopK")
NAMED = "task.options.onnx"


@dataclass(frozen=True)
class YoloLayout:
    """Where things are in the predictions, and in which units."""

    anchors_last: bool
    objectness: bool
    boxes: str
    relative: bool
    classes: int
    coefficients: int
    prototypes_last: bool

    def rows(self, predictions: Tensor, size: Sequence[int]) -> Tensor:
        """Predictions as (B, A, 4 + K + M): corners in pixels of an input of `size` (H, W), scores, coefficients."""
        rows = predictions.transpose(1, 2) if self.anchors_last else predictions
        places = rows[..., :4]
        if self.relative:
            places = places * places.new_tensor([size[1], size[0]] * 2)
        start = 5 if self.objectness else 4
        scores, coefficients = torch.split(rows[..., start:], [self.classes, self.coefficients], -1)
        if self.objectness:
            scores = scores * rows[..., 4:5]
        return torch.cat([box_convert(places, self.boxes, "xyxy"), scores, coefficients], -1)

    def maps(self, prototypes: Tensor) -> Tensor:
        """Prototypes as (B, M, h, w)."""
        return prototypes.permute(0, 3, 1, 2) if self.prototypes_last else prototypes


def ends_of(graph: ModelProto, output: str, prototypes: str, file: Path) -> tuple[str, str] | None:
    """The names of predictions and prototypes, those that are given or the only ones of their ranks; None without.

    UsageError where one is named and the other cannot be told.
    """
    if output and output == prototypes:
        raise UsageError(f"{NAMED}.output and {NAMED}.prototypes are both {output!r}; name two tensors")
    ranks = {str(end.name): len(end.type.tensor_type.shape.dim) for end in graph.graph.output}
    found = []
    for given, rank in ((output, 3), (prototypes, 4)):
        of_rank = [name for name, own in ranks.items() if own == rank and name not in (output, prototypes)]
        found.append([given] if given else of_rank)
    if all(len(names) == 1 for names in found):
        return found[0][0], found[1][0]
    if not prototypes:
        return None
    raise UsageError(
        f"{file} has the outputs {', '.join(f'{name} of {rank} axes' for name, rank in ranks.items())}: name that of "
        f"the predictions, of 3 axes, with {NAMED}.output"
    )


def check_all_anchors(graph: ModelProto, file: Path) -> None:
    """UsageError for a graph that ends with a choice of objects, which has no slope for those that it leaves out."""
    kinds = {node.op_type for node in graph.graph.node}
    if chosen := [kind for kind in CHOICES if kind in kinds]:
        raise UsageError(
            f"{file} chooses objects itself ({chosen[0]}), and what it leaves out has no gradient: export the network "
            "without it (nms=False, end2end=False)"
        )


def class_names(graph: ModelProto) -> Sequence[str]:
    """What an exporter wrote of its classes into the graph, in their order; empty if it did not."""
    found = _written(graph, "names")
    if isinstance(found, Mapping):
        found = [found[key] for key in sorted(found)] if all(isinstance(key, int) for key in found) else ()
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def published_size(graph: ModelProto) -> tuple[int, int] | None:
    """Height and width that an exporter wrote into the graph as those to show pictures at; None if it did not."""
    found = _written(graph, "imgsz")
    if isinstance(found, int):
        found = [found, found]
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(isinstance(s, int) and s > 0 for s in found):
        return None
    return found[0], found[1]


def read_layout(
    predictions: Tensor,
    prototypes: Tensor,
    size: Sequence[int],
    given: Mapping[str, Any],
    names: Sequence[str],
    file: Path,
) -> YoloLayout:
    """The layout of what a graph gives of a picture of `size` (H, W), the options that are `given` before all else.

    UsageError where the two do not fit together, or not what is given.
    """
    if predictions.dim() != 3 or prototypes.dim() != 4:
        raise UsageError(
            f"{file} gives predictions {list(predictions.shape)} and prototypes {list(prototypes.shape)}, expected 3 "
            f"and 4 axes: name the right outputs with {NAMED}.output and {NAMED}.prototypes"
        )
    last = _maps_last(prototypes, size)
    coefficients = prototypes.shape[3 if last else 1]
    counts = [_cells(size, strides) for strides in STRIDES]
    anchors_last = given.get("anchors_last", _anchors_last(predictions, counts))
    rows = predictions.transpose(1, 2) if anchors_last else predictions
    numbers = rows.shape[2] - 4 - coefficients
    objectness = given.get("objectness", _objectness(numbers, rows.shape[1], counts, names))
    classes = numbers - objectness
    if classes < 1:
        raise UsageError(
            f"{file} gives {rows.shape[2]} numbers of an object, and {coefficients} prototypes: expected 4 of its box, "
            f"those of classes, and {coefficients} coefficients; name the right outputs with {NAMED}.output and "
            f"{NAMED}.prototypes, or say {NAMED}.anchors_last"
        )
    places = rows[0, :, :4]
    boxes = given.get("boxes", "xyxy" if bool((places[:, 2:] >= places[:, :2]).all()) else "cxcywh")
    relative = given.get("relative", float(places.max()) <= 2)
    return YoloLayout(anchors_last, bool(objectness), boxes, bool(relative), classes, coefficients, last)


def _maps_last(prototypes: Tensor, size: Sequence[int]) -> bool:
    """Whether channels are the last axis of prototypes: where only the axes before it have the picture's shape."""
    height, width = size
    first, second, third = prototypes.shape[1:]
    return height * third != width * second and height * second == width * first


def _anchors_last(predictions: Tensor, cells: Sequence[int]) -> bool:
    one, other = predictions.shape[1:]
    counts = [*cells, *(ANCHORS * count for count in cells)]
    if (one in counts) != (other in counts):
        return other in counts
    return other > one


def _objectness(numbers: int, anchors: int, cells: Sequence[int], names: Sequence[str]) -> bool:
    """Of `numbers` that are classes, and perhaps one before them, and so many anchors."""
    if names and numbers - len(names) in (0, 1):
        return numbers > len(names)
    if anchors in cells or anchors in [ANCHORS * count for count in cells]:
        return anchors not in cells
    return numbers == CLASSES + 1


def _cells(size: Sequence[int], strides: Sequence[int]) -> int:
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def _written(graph: ModelProto, key: str) -> Any:
    """A literal of Python among the graph's properties; None if there is none."""
    text = next((entry.value for entry in graph.metadata_props if entry.key == key), "")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
