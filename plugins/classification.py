"""The `cls` plugin: image classification as an ImageNet network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl

__all__ = ["register_tasks"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`cls`."""
    description = "image classification (options: network, weights, loss=features|outputs, layers, offline, onnx)"
    return [TaskSpec("cls", "taskodec.plugins.imagenet:load_cls", description)]
