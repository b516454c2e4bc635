"""The plugin `semseg`: the class of every pixel as a network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import TaskSpec, hookimpl
from taskodec.plugins.networks.zoo import SEMANTIC

__all__ = ["register_tasks", "register_weights"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`semseg`."""
    options = "network, networks, weights, loss=features|outputs, layers, offline, input, onnx, label_ids"
    return [
        TaskSpec(
            "semseg", "taskodec.plugins.networks.segmenters:load_semseg", f"semantic segmentation (options: {options})"
        )
    ]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What the networks are published with."""
    return SEMANTIC
