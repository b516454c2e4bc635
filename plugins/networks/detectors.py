"""Detectors for the tasks `det` and `seg`, by name.

| network | weights | licence |
|---|---|---|
| `yolox_nano` (default of `det`) | Megvii's ONNX file, downloaded on first use | Apache-2.0 |
| `fastestdet` | the authors' file, downloaded on first use | BSD-3-Clause |
| names in `torchvision_detectors.DETECTORS` | torchvision's `COCO_V1`, downloaded on first use | BSD-3-Clause |
| `maskrcnn_resnet50_fpn` (default of `seg`), `…_v2` | as above | BSD-3-Clause |
| `detectron2:CONFIG` | of detectron2's model zoo, downloaded on first use | CC BY-SA 3.0 |
| `onnx:FILE` | in the file | its own |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskodec.errors import UsageError
from taskodec.hooks.names import nearest
from taskodec.plugins.networks.inputs import put_input
from taskodec.plugins.networks.onnx_names import onnx_file
from taskodec.plugins.networks.several import takes_networks
from taskodec.tasks.detection import Detection, Detector, InstanceSegmentation, MaskDetector

__all__ = ["load_det", "load_detector", "load_seg"]

YOLOX_NANO_LMBDAS = {
    0.0009: 0.027,
    0.0018: 0.077,
    0.0035: 0.195,
    0.0067: 0.43,
    0.013: 0.865,
    0.025: 1.56,
    0.0483: 2.54,
}
"""Weights of YOLOX-Nano's outputs, by the codec's trade-off for mean square error.

A tenth of the smoothed slopes of `lite`'s mean rate-loss curve at its qualities, on 64 crops of 256 x 256 from COCO
photographs at scale 0.7. Why a tenth: see `taskodec.plugins.networks.imagenet`.
"""

LARGEST_SCALE = 4


@takes_networks("det")
def load_det(
    network: str = "yolox_nano",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    feature_scale: float | None = None,
    onnx: Mapping[str, Any] | None = None,
    input: str | Mapping[str, Any] | None = None,
    beside: float | None = None,
) -> Detection:
    """The task `det` with a detector by name.

    `weights` is a local file instead of the published one, `loss` is `features` or `outputs`, `layers` has a weight
    for each level of features, and `offline` never downloads. `input` says how the network is shown pictures, if not
    as its owner does; `feature_scale` is a factor for the loss on features alone. `onnx` has the options of an ONNX
    file, and `beside` is the share of features beside outputs, if not the usual one.
    """
    lmbdas = YOLOX_NANO_LMBDAS if network == "yolox_nano" and loss == "outputs" else None
    found = _shown(network, load_detector(network, weights, offline, onnx), input, feature_scale, loss)
    return Detection(found, "det", loss=loss, layers=layers, lmbdas=lmbdas, beside=beside)


@takes_networks("seg")
def load_seg(
    network: str = "maskrcnn_resnet50_fpn",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    feature_scale: float | None = None,
    onnx: Mapping[str, Any] | None = None,
    input: str | Mapping[str, Any] | None = None,
    beside: float | None = None,
) -> InstanceSegmentation:
    """The task `seg` with a network that gives masks; options as for `load_det`."""
    found = _shown(network, load_detector(network, weights, offline, onnx, masks=True), input, feature_scale, loss)
    if not isinstance(found, MaskDetector):
        raise UsageError(f"network {network!r} gives no masks, which task 'seg' is about; take it for task 'det'")
    return InstanceSegmentation(found, "seg", loss=loss, layers=layers, beside=beside)


def _shown(name: str, found: Any, given: Any, feature_scale: float | None, loss: str) -> Detector:
    """The detector, shown pictures as the options say; UsageError for one that cannot be."""
    put_input(found, name, given, loss)
    if feature_scale is not None:
        if not 0 < feature_scale <= LARGEST_SCALE:
            raise UsageError(
                f"task.options.feature_scale = {feature_scale!r}: expected a factor above 0 and at most {LARGEST_SCALE}"
            )
        if given is not None:
            raise UsageError(
                "task.options.feature_scale is for networks that are shown pictures as published; leave "
                "it out, or task.options.input"
            )
        if not hasattr(found, "feature_scale"):
            raise UsageError(f"network {name!r} has one scale for all; leave out task.options.feature_scale")
        found.feature_scale = feature_scale
    detector: Detector = found
    return detector


def load_detector(
    name: str,
    weights: str | Path | None = None,
    offline: bool = False,
    onnx: Mapping[str, Any] | None = None,
    *,
    masks: bool = False,
) -> Detector:
    """A detector with its weights, one with `masks` if an ONNX file may be either.

    UsageError for an unknown name, WeightsError if the weights cannot be had.
    """
    file = onnx_file(name, weights, onnx)
    if name == "yolox_nano":
        from taskodec.plugins.networks.yolox import yolox_nano

        return yolox_nano(weights, offline)
    if name == "fastestdet":
        from taskodec.plugins.networks.fastestdet import fastestdet

        return fastestdet(weights, offline)
    if file is not None:
        from taskodec.plugins.networks.onnx_masks import onnx_detector
        from taskodec.plugins.networks.onnx_networks import read_options

        return onnx_detector(file, read_options(onnx), masks=masks)
    if name.startswith("detectron2:"):
        from taskodec.plugins.networks.detectron2_networks import detectron2_detector

        return detectron2_detector(name.removeprefix("detectron2:"), weights, offline)
    from taskodec.plugins.networks.torchvision_detectors import DETECTORS, torchvision_detector

    if name in DETECTORS:
        return torchvision_detector(name, weights, offline)
    valid = ("yolox_nano", "fastestdet", *DETECTORS)
    raise UsageError(
        f"no detector {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}, detectron2:CONFIG, onnx:FILE"
    )
