"""The `human` plugin: pictures for the eye. Light to import; what LPIPS and DISTS need is loaded when used."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import AdapterSpec, TaskSpec, hookimpl
from taskodec.images.perceptual_files import PERCEPTUAL

__all__ = ["register_adapters", "register_tasks", "register_weights"]

OPTIONS = "metric=mse|ms-ssim|lpips|dists, or shares of several"


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`human`."""
    return [TaskSpec("human", "taskodec.tasks.human:load_human", f"fidelity for the eye (options: {OPTIONS})")]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-human`, for MS-SSIM only: for mean square error the codec itself is trained already."""
    build = shipped_adapter("taskodec.plugins", "weights/lite-human.safetensors")
    options = {"metric": "ms-ssim"}
    return [AdapterSpec("lite-human", build, "for MS-SSIM", codec="lite", task="human", task_options=options)]


@hookimpl
def register_weights() -> Sequence[WeightsFile]:
    """Those of LPIPS and DISTS."""
    return PERCEPTUAL
