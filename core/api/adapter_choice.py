"""Which of the adapters that were trained beforehand a codec and a task get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskodec.api.loading import AUTO_ADAPTER, DEFAULT_ADAPTER, is_trained, make_adapter
from taskodec.contracts import Codec
from taskodec.errors import PluginError, TaskodecError
from taskodec.hooks.names import members
from taskodec.hooks.registry import Registry
from taskodec.hooks.specs import AdapterSpec
from taskodec.isolation.faults import named
from taskodec.settings.model import AdapterSettings, Settings

__all__ = ["adapters_of_parts", "choose_adapter", "missing_adapter", "untrained"]


def choose_adapter(
    registry: Registry, chosen: AdapterSettings, codec: Codec, task: str, task_options: Mapping[str, Any] | None = None
) -> tuple[AdapterSettings, tuple[str, ...]]:
    """What `auto` stands for, and notes on adapters that were passed over; any other choice as it is.

    It is the registered adapter that was trained for this codec, with these weights, and this task with its options, or
    for fewest others besides; without one, or where the user sets options of the adapter, an untrained one. Of an
    adapter by name that was trained for the task with other options, a note says so.
    """
    lacking = _trained_for(registry, codec, task, task_options or {})
    if chosen.name != AUTO_ADAPTER:
        wanted = lacking.get(chosen.name)
        unfit = f"adapter {chosen.name!r} was trained for task {task!r} with {wanted}: set that too"
        return chosen, (unfit,) if wanted else ()
    notes = []
    for name in [] if chosen.options else [name for name, wanted in lacking.items() if not wanted]:
        try:
            with named("", PluginError, TaskodecError):  # code of any plugin
                make_adapter(registry, name, codec, {})
        except TaskodecError as error:
            notes.append(f"adapter {name!r}, trained for {task!r}, is left out: {error}")
        else:
            return AdapterSettings(name=name), ()
    return untrained(chosen), tuple(notes)


def _trained_for(registry: Registry, codec: Codec, task: str, options: Mapping[str, Any]) -> dict[str, str]:
    """The adapters that were trained for this codec and all of these tasks, those for fewest others first.

    Each with the options of the task that it was trained with, if these are others; else with an empty text.
    """
    wanted, found = members(task), {}
    for name, spec in sorted(registry.adapters.items(), key=lambda pair: len(members(pair[1].task or ""))):
        trained = members(spec.task or "")
        if spec.codec == codec.name and all(wanted.count(part) <= trained.count(part) for part in wanted):
            needed = _options(spec, task)
            texts = [f"task.options.{key}={value}" for key, value in needed.items()]
            found[name] = "" if _has(options, needed) else ", ".join(texts)
    return found


def _options(spec: AdapterSpec, task: str) -> Mapping[str, Any]:
    """Those that an adapter's tasks need, as they are set for `task`: of one of several, its own."""
    parts = members(task)
    if len(members(spec.task or "")) == 1:
        return spec.task_options
    found = {name: value for name, value in spec.task_options.items() if name in parts}
    return found.get(task, {}) if len(parts) == 1 else found


def _has(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether all the options that are wanted are given; those of several tasks are within each other."""
    for name, value in wanted.items():
        own = given.get(name)
        if own != value and not (isinstance(value, Mapping) and isinstance(own, Mapping) and _has(own, value)):
            return False
    return True


def adapters_of_parts(registry: Registry, codec: Codec, task: str) -> list[str]:
    """The adapters that were trained for this codec and one of several tasks."""
    parts = members(task)
    specs = registry.adapters.items() if len(parts) > 1 else []
    return [name for name, spec in specs if spec.codec == codec.name and spec.task in parts]


def untrained(chosen: AdapterSettings) -> AdapterSettings:
    """What pre-training starts from: as `choose_adapter`, but never trained beforehand."""
    return chosen.model_copy(update={"name": DEFAULT_ADAPTER}) if chosen.name == AUTO_ADAPTER else chosen


def missing_adapter(registry: Registry, settings: Settings, codec: Codec, task: str) -> str:
    """Why there is no adapter that was trained beforehand, and what to do; empty where there is one."""
    chosen, passed_over = choose_adapter(registry, settings.adapter, codec, task, settings.task.options)
    if is_trained(registry, chosen.name):
        return ""
    lacking = _trained_for(registry, codec, task, settings.task.options).items()
    notes = "".join(
        f"; {note}" for note in (*passed_over, *(f"{name!r} is for {what}" for name, what in lacking if what))
    )
    return (
        f"there is no adapter that was trained for codec {codec.name!r} and task {task!r}{notes}; train one with "
        "`taskodec pretrain`, or give it with --adapter"
    )
