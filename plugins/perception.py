"""The `human` plugin: pictures for the eye. It needs no network; light to import."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.hooks.specs import AdapterSpec, TaskSpec, hookimpl

__all__ = ["register_adapters", "register_tasks"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`human`."""
    return [TaskSpec("human", "taskodec.tasks.human:Human", "fidelity for the eye (options: metric=mse|ms-ssim)")]


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-human`, for MS-SSIM only: for mean square error the codec itself is trained already."""
    build = shipped_adapter("taskodec.plugins", "weights/lite-human.safetensors")
    options = {"metric": "ms-ssim"}
    return [AdapterSpec("lite-human", build, "for MS-SSIM", codec="lite", task="human", task_options=options)]
