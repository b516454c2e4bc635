"""The judges beside the task that files are made for: what they need of originals, and what rows keep of their view."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from taskodec.contracts import TASK_LOSS, Evaluator, JointTask, Task
from taskodec.errors import TaskError, TaskodecError, UsageError
from taskodec.evaluation.matrix import Judged, own_judges
from taskodec.evaluation.versions import digest_of, task_version
from taskodec.hooks.registry import Registry
from taskodec.isolation.faults import named
from taskodec.settings.model import TaskSettings
from taskodec.tuning.checks import checked_loss
from taskodec.tuning.task_calls import evaluator_of, judge_of, prepared

__all__ = ["Judge", "Panel", "eyes"]


@dataclass(frozen=True)
class Judge:
    """A task that judges, under a name, with labels of its own or without."""

    name: str
    task: TaskSettings
    labels: Path | None = None


class Panel:
    """The judges with their networks; UsageError for one that has nothing to compare methods by."""

    def __init__(self, judges: Sequence[Judge], registry: Registry, load: Callable[[TaskSettings], Task]) -> None:
        self.judges, self.registry = tuple(judges), registry
        self.tasks: dict[str, Task] = {}
        self.evaluators: dict[str, Evaluator] = {}
        for judge in judges:
            with self._blamed(judge.name):
                self.tasks[judge.name] = judge_of(load(judge.task))
                found = self.evaluators[judge.name] = evaluator_of(self.tasks[judge.name], judge.labels)
            if not found.metrics:
                raise UsageError(
                    f"judge {judge.name!r}: the evaluator of task {judge.task.name!r} has no figure to compare methods "
                    "by; choose another task, or give its evaluator metrics"
                )

    def versions(self) -> dict[str, Any]:
        """What rows depend on, by judge."""
        return {
            judge.name: {
                "task": task_version(judge.task, self.registry),
                "labels": self.evaluators[judge.name].labels_version or digest_of(judge.labels),
            }
            for judge in self.judges
        }

    @torch.no_grad()
    def references(self, x: Tensor) -> dict[str, Any]:
        """What the judges' losses need to know of an original (1, 3, H, W)."""
        return {name: prepared(task, x) for name, task in self.tasks.items()}

    @torch.no_grad()
    def views(self, name: str, x_hat: Tensor, x: Tensor, references: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a row keeps of every judge's view of a decoded picture; None without judges."""
        found = {}
        for judge, task in self.tasks.items():
            with self._blamed(judge):
                loss = float(checked_loss(task, x_hat, references[judge]))
                found[judge] = {TASK_LOSS: loss, "record": dict(self.evaluators[judge].observe(name, x_hat, x))}
        return json.loads(json.dumps(found)) if found else None

    def judged(self, task: Task, evaluator: Evaluator, sent_for: Mapping[str, Task]) -> list[Judged]:
        """All who judge, the task itself or its parts first; `sent_for` has by method the task of its files.

        A file was made for a judge whose network, or loss, is among those it was made for.
        """
        known = {method: eyes(own) for method, own in sent_for.items()}

        def made_for(judge: Task) -> frozenset[str]:
            return frozenset(method for method, own in known.items() if own & eyes(judge))

        parts = task.parts if isinstance(task, JointTask) else ()
        own = {task.name: made_for(task), **{part.label: made_for(part.task) for part in parts}}
        others = [
            Judged(judge.name, self.evaluators[judge.name], made_for(self.tasks[judge.name]), judge=judge.name)
            for judge in self.judges
        ]
        return [*own_judges(task.name, evaluator, own), *others]

    def _blamed(self, name: str) -> Any:
        return named(f"judge {name!r} raised", TaskError, TaskodecError)


def eyes(task: Task) -> frozenset[str]:
    """Who looks: for every network of a task a digest of its weights, for a loss without one where it is written."""
    if isinstance(task, JointTask):
        return frozenset().union(*(eyes(part.task) for part in task.parts))
    networks = [value for value in vars(task).values() if isinstance(value, nn.Module)]
    if networks:
        return frozenset(_digest(network) for network in networks)
    function = getattr(task, "function", type(task))
    plain = {name: value for name, value in vars(task).items() if isinstance(value, str | int | float | None)}
    return frozenset([f"{function.__module__}.{function.__qualname__} {sorted(plain.items(), key=str)}"])


@torch.no_grad()
def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}\0{tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
