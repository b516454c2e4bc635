"""The adapter for several tasks in one file. What the tasks are is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.adapters.shipped import shipped_adapter
from taskodec.hooks.specs import AdapterSpec, hookimpl

__all__ = ["register_adapters"]

TASKS = {
    "cls": {"loss": "outputs"},
    "det": {"loss": "outputs"},
    "semseg": {"loss": "outputs"},
    "human": {"metric": "ms-ssim"},
    "seg": {"loss": "outputs"},
}
"""What it is for, and the options without which it does not suit; of these it was not trained for `seg`."""


@hookimpl
def register_adapters() -> Sequence[AdapterSpec]:
    """`lite-machine`, for any of its tasks together."""
    build = shipped_adapter("taskodec.plugins", "weights/lite-machine.safetensors")
    about = "for cls, det, semseg, human and seg in one file; it modulates latents"
    return [AdapterSpec("lite-machine", build, about, codec="lite", task=",".join(TASKS), task_options=TASKS)]
