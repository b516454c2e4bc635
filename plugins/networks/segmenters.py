"""Networks for the task `semseg`, by name.

| network | weights | licence |
|---|---|---|
| `espnetv2` (default) | its repository's file, downloaded on first use | MIT |
| `bodypix`, person or not | its ONNX file, downloaded on first use | Apache-2.0 |
| names in `torchvision_semantic.SEMANTIC` | torchvision's, downloaded on first use | BSD-3-Clause |
| `onnx:FILE` | in the file | its own |

All others but files of one's own are trained on Pascal VOC's 20 classes and background.
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
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.semantic import Semantic

__all__ = ["load_semantic", "load_semseg"]

ESPNETV2_LMBDAS = {
    0.0009: 0.238,
    0.0018: 0.326,
    0.0035: 0.56,
    0.0067: 1.04,
    0.013: 1.99,
    0.025: 3.73,
    0.0483: 6.65,
}
"""Weights of ESPNetV2's outputs, by the codec's trade-off for mean square error.

A tenth of the smoothed slopes of `lite`'s mean rate-loss curve at its qualities, on 64 crops of 256 x 256 from COCO
photographs reduced by 0.7, at scale 0.75. Why a tenth: see `taskodec.plugins.networks.imagenet`.
"""


@takes_networks("semseg")
def load_semseg(
    network: str = "espnetv2",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    onnx: Mapping[str, Any] | None = None,
    label_ids: str = "coco",
    input: str | Mapping[str, Any] | None = None,
) -> Semantic:
    """The task `semseg` with a network by name; options as for `det`, and `label_ids` as of `Semantic`."""
    lmbdas = ESPNETV2_LMBDAS if network == "espnetv2" and loss == "outputs" else None
    found = load_semantic(network, weights, offline, onnx)
    put_input(found, network, input, loss)
    if found.view.crop is not None:
        raise UsageError(
            f"task 'semseg' judges every pixel, and task.options.input.crop = {found.view.crop} leaves some out; scale "
            "pictures with short or size alone"
        )
    return Semantic(found, "semseg", loss=loss, layers=layers, lmbdas=lmbdas, label_ids=label_ids)


def load_semantic(
    name: str,
    weights: str | Path | None = None,
    offline: bool = False,
    onnx: Mapping[str, Any] | None = None,
) -> FeatureNetwork:
    """A network with its weights. UsageError for an unknown name or unfit options, WeightsError without weights."""
    file = onnx_file(name, weights, onnx)
    if file is not None:
        from taskodec.plugins.networks.onnx_networks import OnnxSemantic, read_options

        return OnnxSemantic(file, read_options(onnx))
    if name == "espnetv2":
        from taskodec.plugins.networks.espnet import espnet

        return espnet(weights, offline)
    if name == "bodypix":
        from taskodec.plugins.networks.bodypix import bodypix

        return bodypix(weights, offline)
    from taskodec.plugins.networks.torchvision_semantic import SEMANTIC, torchvision_semantic

    if name in SEMANTIC:
        return torchvision_semantic(name, weights, offline)
    valid = ("espnetv2", "bodypix", *SEMANTIC)
    raise UsageError(
        f"task 'semseg' has no network {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}, onnx:FILE"
    )
