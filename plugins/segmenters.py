"""Networks for the task `semseg`, by name.

| network | weights | licence |
|---|---|---|
| `lraspp_mobilenet_v3_large` (default), others of `torchvision_semantic.SEMANTIC` | torchvision's | BSD-3-Clause |
| `onnx:FILE` | in the file | its own |

torchvision's are trained on Pascal VOC's 20 classes and background, and downloaded on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from taskodec.errors import UsageError
from taskodec.names import nearest
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.semantic import Semantic

__all__ = ["load_semantic", "load_semseg"]


def load_semseg(
    network: str = "lraspp_mobilenet_v3_large",
    weights: str | Path | None = None,
    loss: str = "features",
    layers: Sequence[float] | None = None,
    offline: bool = False,
    onnx: Mapping[str, Any] | None = None,
) -> Semantic:
    """The task `semseg` with a network by name; options as for `det`."""
    return Semantic(load_semantic(network, weights, offline, onnx), "semseg", loss=loss, layers=layers)


def load_semantic(
    name: str, weights: str | Path | None = None, offline: bool = False, onnx: Mapping[str, Any] | None = None
) -> FeatureNetwork:
    """A network with its weights. UsageError for an unknown name, WeightsError if they cannot be had."""
    if name.startswith("onnx:"):
        from taskodec.plugins.onnx_networks import OnnxSemantic, read_options

        return OnnxSemantic(Path(name.removeprefix("onnx:")).expanduser(), read_options(onnx))
    from taskodec.plugins.torchvision_semantic import SEMANTIC, torchvision_semantic

    if name in SEMANTIC:
        return torchvision_semantic(name, weights, offline)
    raise UsageError(
        f"task 'semseg' has no network {name!r}{nearest(name, SEMANTIC)}; valid: {', '.join(SEMANTIC)}, onnx:FILE"
    )
