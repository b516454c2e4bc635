"""The plugin `semseg`: the class of every pixel as a network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl

__all__ = ["register_tasks"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`semseg`."""
    options = "network, weights, loss=features|outputs, layers, offline, onnx, label_ids, scale"
    return [
        TaskSpec("semseg", "taskodec.plugins.segmenters:load_semseg", f"semantic segmentation (options: {options})")
    ]
