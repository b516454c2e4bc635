"""The `cls` plugin: image classification as an ImageNet network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import AdapterSpec, TaskSpec, hookimpl
from taskodec.plugins.networks.zoo import CLASSIFICATION

__all__ = ["register_adapters", "register_tasks", "register_weights"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`cls`."""
    options = "network, networks, weights, loss=features|outputs, beside, layers, offline, input, onnx"
    load = "taskodec.plugins.networks.imagenet:load_cls"
    return [TaskSpec("cls", load, f"image classification (options: {options})")]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-cls`."""
    build = shipped_adapter("taskodec.plugins", "weights/lite-cls.safetensors")
    about = "for what classifiers see; it modulates latents"
    return [AdapterSpec("lite-cls", build, about, codec="lite", task="cls", task_options={"loss": "outputs"})]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What the networks are published with."""
    return CLASSIFICATION
