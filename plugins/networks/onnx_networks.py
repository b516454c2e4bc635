"""Networks of any origin as ONNX files, with what cannot be read from the file as options.

`--set task.options.network=onnx:FILE --set task.options.onnx.features=[relu_3,relu_7]`, and so on for the fields of
`OnnxOptions`. Where a graph has a fixed size, `size` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_convert
from torchvision.transforms import Normalize

from taskodec.errors import UsageError
from taskodec.plugins.networks.boxes import letterbox, suppress
from taskodec.plugins.networks.onnx_modules import convert, input_name, output_name, read_graph
from taskodec.tasks.detection import Detector
from taskodec.tasks.detections import Detections
from taskodec.tasks.features import FeatureNetwork

__all__ = ["OnnxClassifier", "OnnxDetector", "OnnxOptions", "OnnxSemantic", "read_options"]

Triple = tuple[float, float, float]
Side = Annotated[int, Field(ge=1)]
FLOOR = 1e-12


class OnnxOptions(BaseModel):
    """What a graph expects and gives.

    A picture in [0, 1] becomes `(white * picture - mean) / std`, its channels in the order `channels`, its axes in the
    order `layout`, scaled to `size` (height, width); without it, it keeps its size, in multiples of `stride`.
    `features` are names of tensors (B, C, h, w), `output` that of the prediction; without it, the graph's first output.
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
    grey: float = 114.0
    """Objects: what the picture is continued with, in units of `white`."""


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

    def __init__(self, file: Path, options: OnnxOptions) -> None:
        super().__init__()
        graph = read_graph(file)
        entry = input_name(graph)
        self.options = options
        self.trunk = convert(graph, [entry], options.features, file) if options.features else None
        if self.trunk is None:
            self.no_features = (
                f"{file}: name the tensors to compare with task.options.onnx.features=[…], or compare what the network "
                "says, with task.options.loss=outputs"
            )
        self.whole = convert(graph, [entry], [options.output or output_name(graph)], file)
        self.normalise = Normalize(options.mean, options.std)

    def features(self, x: Tensor) -> list[Tensor]:
        if self.trunk is None:
            raise UsageError(self.no_features)
        levels = [_listed(self.trunk(one)) for one in self._inputs(x)]
        return [torch.cat(level) for level in zip(*levels, strict=True)]

    def _raw(self, x: Tensor) -> Tensor:
        return torch.cat([_listed(self.whole(one))[0] for one in self._inputs(x)])

    def _inputs(self, x: Tensor) -> list[Tensor]:
        """What the graph takes, one by one: many graphs have a fixed batch of 1."""
        chosen = self.options
        if chosen.channels == "bgr":
            x = x.flip(1)
        x = self.normalise(self._fitted(chosen.white * x))
        if chosen.layout == "nhwc":
            x = x.permute(0, 2, 3, 1)
        return [one[None] for one in x]

    def _fitted(self, x: Tensor) -> Tensor:
        size, stride = self.options.size, self.options.stride
        if size is not None:
            return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
        height, width = x.shape[2:]
        return F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")


class OnnxClassifier(_OnnxNetwork):
    """Class scores, or with the option `probabilities` what a softmax made of them, of the shape (1, K)."""

    def outputs(self, x: Tensor) -> Tensor:
        return _scores(self._raw(x), self.options)


class OnnxSemantic(_OnnxNetwork):
    """Class scores, or probabilities, of cells (1, K, h, w) that cover the graph's input."""

    def outputs(self, x: Tensor) -> Tensor:
        scores = _scores(self._raw(x), self.options)
        height, width = x.shape[2:]
        covered = (height, width) if self.options.size else self._fitted(x).shape[2:]
        scaled = F.interpolate(scores, tuple(covered), mode="bilinear", align_corners=False)
        return scaled[..., :height, :width]


class OnnxDetector(_OnnxNetwork, Detector):
    """Anchors (1, A, 4 + K) with class probabilities, boxes before them."""

    def outputs(self, x: Tensor, proposals: Tensor | None = None) -> Tensor:
        chosen = self.options
        raw = self._raw(x)
        anchors = raw.transpose(1, 2) if chosen.anchors_last else raw
        first = 5 if chosen.objectness else 4
        scores = anchors[..., first:] * anchors[..., 4:5] if chosen.objectness else anchors[..., first:]
        boxes = box_convert(anchors[..., :4], chosen.boxes, "xyxy") / self._factor(x)
        return torch.cat([boxes, scores], -1)

    @torch.no_grad()
    def detect(self, x: Tensor) -> Detections:
        return suppress(self.outputs(x)[0], (x.shape[2], x.shape[3]))

    def _factor(self, x: Tensor) -> float:
        size = self.options.size
        return min(size[0] / x.shape[2], size[1] / x.shape[3]) if size else 1.0

    def _fitted(self, x: Tensor) -> Tensor:
        """Scaled by one factor, and continued in grey."""
        if self.options.size is None:
            return letterbox(x, 1.0, self.options.grey, self.options.stride)
        scaled = letterbox(x, self._factor(x), self.options.grey, 1)
        height, width = self.options.size
        return F.pad(scaled, (0, width - scaled.shape[3], 0, height - scaled.shape[2]), value=self.options.grey)


def _scores(raw: Tensor, options: OnnxOptions) -> Tensor:
    return raw.clamp(min=FLOOR).log() if options.probabilities else raw


def _listed(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)
