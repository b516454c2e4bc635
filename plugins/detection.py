"""The plugins `det` and `seg`: objects, and their outlines, as a detector sees them. Light; networks load when used."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import AdapterSpec, TaskSpec, hookimpl
from taskodec.plugins.networks.zoo import DETECTION

__all__ = ["register_adapters", "register_tasks", "register_weights"]

OPTIONS = "network, networks, weights, loss=features|outputs, beside, layers, offline, input, feature_scale"


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`det` and `seg`."""
    return [
        TaskSpec("det", "taskodec.plugins.networks.detectors:load_det", f"object detection (options: {OPTIONS}, onnx)"),
        TaskSpec("seg", "taskodec.plugins.networks.detectors:load_seg", f"instance segmentation (options: {OPTIONS})"),
    ]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-det`."""
    build = shipped_adapter("taskodec.plugins", "weights/lite-det.safetensors")
    about = "for what YOLOX-Nano sees; it modulates latents"
    return [AdapterSpec("lite-det", build, about, codec="lite", task="det", task_options={"loss": "outputs"})]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """What the networks are published with."""
    return DETECTION
