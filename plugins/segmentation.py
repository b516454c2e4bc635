"""The plugin `semseg`: the class of every pixel as a network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl
from taskodec.plugins.zoo import SEMANTIC
from taskodec.weight_files import WeightsFile

__all__ = ["register_tasks", "register_weights"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`semseg`."""
    options = "network, weights, loss=features|outputs, layers, offline, onnx, label_ids, scale"
    return [
        TaskSpec("semseg", "taskodec.plugins.segmenters:load_semseg", f"semantic segmentation (options: {options})")
    ]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What the networks are published with."""
    return SEMANTIC
