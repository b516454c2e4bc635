"""From what a caller hands over as the task, one or several, to settings and to what the registry takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskodec.contracts import JointTask, Task
from taskodec.errors import UsageError
from taskodec.hooks.names import members
from taskodec.settings.model import Settings, TaskSettings, preset_options

__all__ = ["is_named", "settings_for", "task_layer_of"]


def is_named(task: Any) -> bool:
    """Whether it is a task, or several, by name alone."""
    if isinstance(task, Mapping | list | tuple):
        return bool(task) and all(isinstance(name, str) for name in task)
    return isinstance(task, str)


def task_layer_of(task: Any) -> Any:
    """What settings say of a task that is given by name: the name, or a list with shares."""
    if isinstance(task, Mapping):
        return [{"name": name, "share": share} for name, share in task.items()]
    return list(task) if isinstance(task, list | tuple) else task


def settings_for(settings: Settings, task: Any) -> tuple[Settings, Any]:
    """Settings whose task section is about the task that was given, and what `Registry.task_from` takes of it.

    None is the task of the settings. A function has no options, those of the settings belong to some name; of several
    tasks each has those that the settings have for it, or its usual ones. UsageError for a list without a task.
    """
    if task is None:
        return settings, settings.task.spec
    if isinstance(task, str) and len(members(task)) > 1:
        task = settings.task.spec if task == settings.task.name else members(task)
    if isinstance(task, list | tuple | Mapping):
        return _several(settings, task)
    if isinstance(task, JointTask) or (isinstance(task, str | Task) and len(settings.task.members) == 1):
        return settings, task
    options = _options(settings.task, task) if isinstance(task, str) else {}
    return _with(settings, getattr(task, "name", settings.task.name), options, {}), task


def _several(settings: Settings, task: Any) -> tuple[Settings, Any]:
    specs = list(task)
    if not specs:
        raise UsageError("the list of tasks is empty: give one at least")
    given = dict(task) if isinstance(task, Mapping) else {spec: _share(settings.task, spec) for spec in specs}
    if len(given) < len(specs):
        raise UsageError("a task is there twice: give each once, in a dictionary its share says how much it counts")
    names = [
        spec if isinstance(spec, str) else getattr(spec, "name", getattr(spec, "__name__", "loss")) for spec in specs
    ]
    options = {spec: own for spec in specs if isinstance(spec, str) and (own := _options(settings.task, spec))}
    if len(specs) == 1:
        return _with(settings, names[0], options.get(specs[0], {}), {}), specs[0]
    shares = {name: given[spec] for name, spec in zip(names, specs, strict=True)}
    return _with(settings, ",".join(names), options, shares), given


def _with(settings: Settings, name: str, options: Mapping[str, Any], shares: Mapping[str, float]) -> Settings:
    changed = {"name": name, "options": dict(options), "shares": dict(shares)}
    return settings.model_copy(update={"task": settings.task.model_copy(update=changed)})


def _options(chosen: TaskSettings, name: str) -> dict[str, Any]:
    """What the settings have for this task, or its usual options."""
    if chosen.name == name:
        return chosen.options
    own: dict[str, Any] | None = chosen.options.get(name) if len(chosen.members) > 1 else None
    return preset_options(name) if own is None else own


def _share(chosen: TaskSettings, spec: Any) -> float:
    return chosen.shares.get(spec, 1.0) if isinstance(spec, str) else 1.0
