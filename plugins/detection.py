"""The `det` plugin: object detection as a detector sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl

__all__ = ["register_tasks"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`det`."""
    description = "object detection (options: network, weights, loss=features|outputs, layers, offline, scale)"
    return [TaskSpec("det", "taskodec.plugins.detectors:load_det", description)]
