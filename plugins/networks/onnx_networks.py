"""Networks of any origin as ONNX files, with what cannot be read from the file as options.

`--set task.options.network=onnx:FILE --set task.options.onnx.features=[relu_3,relu_7]`, and so on for the fields of
`OnnxOptions`. Where a graph has a fixed size, `size` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert

from taskodec.errors import UsageError
from taskodec.plugins.networks.boxes import suppress
from taskodec.plugins.networks.onnx_modules import (
    convert,
    follow_sizes,
    input_name,
    input_shape,
    output_name,
    read_graph,
)
from taskodec.tasks.detection import Detector
from taskodec.tasks.detections import Detections
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.views import AS_IS, Pixels, View

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["GREY", "OnnxClassifier", "OnnxDetector", "OnnxOptions", "OnnxSemantic", "listed", "read_options"]

Triple = tuple[float, float, float]
Side = Annotated[int, Field(ge=1)]
FLOOR = 1e-12
GREY = 114 / 255
"""What YOLO's owners continue pictures with."""
USUAL = 256 / 224


class OnnxOptions(BaseModel):
    """What a graph expects and gives.

    A picture in [0, 1] becomes `(white * picture - mean) / std`, its channels in the order `channels`, its axes in the
    order `layout`. `size` (height, width) is that of the graph's input, where the graph declares none: pictures are
    shown so, a classifier's the middle, a detector's whole in a letterbox, a segmenter's without their shape. Without a
    size they keep their own, in multiples of `stride`. `features` are names of tensors (B, C, h, w), `output` that of
    the prediction; without it, the graph's first output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: tuple[str, ...] = ()
    output: str = ""
    size: tuple[Side, Side] | None = None
    stride: Side = 32
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    white: Annotated[float, Field(gt=0)] = 1.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    probabilities: bool = False
    """Classes: whether the graph ends with a softmax."""
    boxes: Literal["xyxy", "cxcywh"] = "xyxy"
    """Objects: corners, or middle and size, in pixels of the graph's input."""
    objectness: bool = False
    """Objects: whether a fifth number, before those of the classes, multiplies them."""
    anchors_last: bool = False
    """Objects: (1, 4 + K, A) and not (1, A, 4 + K)."""
    relative: bool = False
    """Objects: whether boxes are in parts of the graph's input, and not in its pixels."""
    prototypes: str = ""
    """Objects with masks: the tensor that coefficients in the prediction are of; see `onnx_masks`."""
    grey: float | None = None
    """Objects: what the picture is continued with, in units of `white`; without it, 114 of 255."""


def read_options(options: Mapping[str, Any] | None) -> OnnxOptions:
    """Checked options; UsageError names the wrong one and says what is valid."""
    try:
        return OnnxOptions.model_validate(dict(options or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"task.options.onnx.{key} = {first['input']!r}: {first['msg']}; valid keys: "
            f"{', '.join(OnnxOptions.model_fields)}"
        ) from error


class _OnnxNetwork(FeatureNetwork):
    """What the networks of all tasks share."""

    min_side = 1
    pixels: Pixels

    def __init__(self, file: Path, options: OnnxOptions) -> None:
        super().__init__()
        graph = read_graph(file)
        entry = input_name(graph)
        self.options, self.file = options, file
        declared = input_shape(graph, nhwc=options.layout == "nhwc")
        if None not in (options.size, declared) and options.size != declared:
            raise UsageError(
                f"task.options.onnx.size = {list(options.size or ())}, but {file} declares {list(declared or ())}; "
                "leave it out"
            )
        self.fixed = declared
        self.stride = 1 if declared or options.size else options.stride
        size = declared or options.size or self.usual_size(graph)
        self.view = self.shown(size) if size else self.shown_whole()
        self.pixels = Pixels(options.mean, options.std, options.white, options.channels == "bgr")
        self.trunk = convert(graph, [entry], options.features, file) if options.features else None
        if self.trunk is None:
            self.no_features = (
                f"{file}: name the tensors to compare with task.options.onnx.features=[…], or compare what the network "
                "says, with task.options.loss=outputs"
            )
        self.whole = convert(graph, [entry], self.ends(graph), file)

    def ends(self, graph: ModelProto) -> Sequence[str]:
        """The tensors that are the prediction."""
        return [self.options.output or output_name(graph)]

    def usual_size(self, graph: ModelProto) -> tuple[int, int] | None:
        """What a graph of any size is shown pictures at; None for their own."""
        return None

    def shown(self, size: tuple[int, int]) -> View:
        """How pictures are shown to a graph of this size, where nobody says."""
        return View(size=size)

    def shown_whole(self) -> View:
        """How they are shown to a graph of any size."""
        return AS_IS

    def features(self, x: Tensor) -> list[Tensor]:
        if self.trunk is None:
            raise UsageError(self.no_features)
        levels = [listed(self.trunk(one)) for one in self._inputs(x)]
        return [torch.cat(level) for level in zip(*levels, strict=True)]

    @torch.no_grad()
    def free_features(self) -> bool:
        """Tried at about half of the graph's size: a level has to be half as large, too."""
        if self.trunk is None or self.fixed is None:
            return False
        stride, device = self.options.stride, next(chain(self.parameters(), self.buffers())).device
        half = [side // 2 // stride * stride or side + stride for side in self.fixed]
        try:
            (entry,) = self._inputs(torch.zeros(1, 3, *self.fixed, device=device))
            follow_sizes(self.trunk, entry)
            usual, other = (self.features(torch.zeros(1, 3, *size, device=device)) for size in (self.fixed, half))
        except (RuntimeError, NotImplementedError):
            return False
        for before, after in zip(usual, other, strict=True):
            wanted = [round(side * h / f) for side, h, f in zip(before.shape[2:], half, self.fixed, strict=True)]
            if list(after.shape[2:]) != wanted:
                return False
        self.stride = stride
        return True

    def whole_of(self, x: Tensor) -> list[list[Tensor]]:
        """What the graph gives of pictures (B, 3, H, W), for each of them; UsageError for a size it does not take."""
        if self.fixed is not None and tuple(x.shape[2:]) != self.fixed:
            height, width = self.fixed
            raise UsageError(
                f"{self.file} takes {height}x{width} pixels only, but for its features, and is shown "
                f"{x.shape[2]}x{x.shape[3]}; leave out task.options.input to have its predictions"
            )
        return [listed(self.whole(one)) for one in self._inputs(x)]

    def _raw(self, x: Tensor) -> Tensor:
        return torch.cat([ends[0] for ends in self.whole_of(x)])

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """What the graph takes, one by one: many graphs have a fixed batch of 1."""
        x = self.pixels(x)
        if self.options.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        return [one[None] for one in x]


class OnnxClassifier(_OnnxNetwork):
    """Class scores, or with the option `probabilities` what a softmax made of them, of the shape (1, K)."""

    def shown(self, size: tuple[int, int]) -> View:
        """As classifiers usually are: the shorter side is 256 for a network of 224, the middle of it is seen."""
        if size[0] != size[1]:
            return View(size=size)
        return View(short=round(size[0] * USUAL), crop=size)

    def outputs(self, x: Tensor) -> Tensor:
        return _scores(self._raw(x), self.options)


class OnnxSemantic(_OnnxNetwork):
    """Class scores, or probabilities, of cells (1, K, h, w) that cover the graph's input."""

    def outputs(self, x: Tensor) -> Tensor:
        scores = _scores(self._raw(x), self.options)
        return F.interpolate(scores, x.shape[2:], mode="bilinear", align_corners=False)


class OnnxDetector(_OnnxNetwork, Detector):
    """Anchors (1, A, 4 + K) with class probabilities, boxes before them."""

    def shown(self, size: tuple[int, int]) -> View:
        return replace(self.shown_whole(), letterbox=size)

    def shown_whole(self) -> View:
        given, white = self.options.grey, self.options.white
        return View(grey=GREY if given is None else given / white)

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        chosen = self.options
        raw = self._raw(x)
        anchors = raw.transpose(1, 2) if chosen.anchors_last else raw
        first = 5 if chosen.objectness else 4
        scores = anchors[..., first:] * anchors[..., 4:5] if chosen.objectness else anchors[..., first:]
        places = anchors[..., :4]
        if chosen.relative:
            places = places * places.new_tensor([x.shape[3], x.shape[2]] * 2)
        return torch.cat([box_convert(places, chosen.boxes, "xyxy"), scores], -1)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        return suppress(self.outputs(x)[0], (x.shape[2], x.shape[3]))


def _scores(raw: Tensor, options: OnnxOptions) -> Tensor:
    return raw.clamp(min=FLOOR).log() if options.probabilities else raw


def listed(found: Any) -> list[Tensor]:
    """What a converted graph gives, as a list also where it is one tensor."""
    return [found] if isinstance(found, Tensor) else list(found)
