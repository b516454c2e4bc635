"""The `cls` plugin: image classification as an ImageNet network sees it. Light; the network loads on first use."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import AdapterSpec, TaskSpec, hookimpl
from taskodec.plugins.networks.zoo import CLASSIFICATION

__all__ = ["register_adapters", "register_tasks", "register_weights"]


NAMES = ("lite-cls", "lite-cls-2")
"""The adapters that come with it, in the order of their making."""


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`cls`."""
    options = "network, networks, weights, loss=features|outputs, layers, offline, input, onnx"
    load = "taskodec.plugins.networks.imagenet:load_cls"
    return [TaskSpec("cls", load, f"image classification (options: {options})")]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-cls-2`, and for streams that need it `lite-cls`, the first one, which `auto` takes for no task."""
    files = {name: shipped_adapter("taskodec.plugins", f"weights/{name}.safetensors") for name in NAMES}
    first, second = NAMES
    about = "for what classifiers see, with views; it modulates latents"
    return [
        AdapterSpec(second, files[second], about, codec="lite", task="cls", task_options={"loss": "outputs"}),
        AdapterSpec(first, files[first], "for EfficientNet-Lite0's predictions, the first one", codec="lite"),
    ]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What the networks are published with."""
    return CLASSIFICATION
