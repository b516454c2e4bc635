"""The built-in tasks that need no network, offered through the same hook as everybody's."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.hookspecs import TaskSpec, hookimpl

__all__ = ["register_tasks"]


@hookimpl
def register_tasks() -> Sequence[TaskSpec]:
    """`human`."""
    return [TaskSpec("human", "taskodec.tasks.human:Human", "fidelity for the eye (options: metric=mse|ms-ssim)")]
