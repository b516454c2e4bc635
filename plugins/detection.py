"""The plugins `det` and `seg`: objects, and their outlines, as a detector sees them. Light; networks load when used."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl

__all__ = ["register_tasks"]

OPTIONS = "network, weights, loss=features|outputs, layers, offline, scale"


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`det` and `seg`."""
    return [
        TaskSpec("det", "taskodec.plugins.detectors:load_det", f"object detection (options: {OPTIONS}, onnx)"),
        TaskSpec("seg", "taskodec.plugins.detectors:load_seg", f"instance segmentation (options: {OPTIONS})"),
    ]
