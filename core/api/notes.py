"""What a user should know of how settings were taken, and of what decoding will need."""

from __future__ import annotations

from collections.abc import Sequence

from taskodec.api.loading import AUTO_ADAPTER, DEFAULT_ADAPTER, FILE_ADAPTER, unsent_options
from taskodec.contracts import Adapter, Codec, Task
from taskodec.settings.model import AdapterSettings, PhaseSettings, Settings

__all__ = ["facts_of", "notes_on_adapter", "notes_on_quality", "notes_on_tasks"]


def notes_on_quality(settings: Settings, quality: float) -> list[str]:
    """What a user should know of how the settings were taken."""
    if quality == settings.quality:
        return []
    return [f"quality {settings.quality:g} rounded to {quality:g}: streams hold multiples of 1/16"]


def notes_on_adapter(chosen: AdapterSettings) -> list[str]:
    """What decoding needs of a stream that was made with this adapter, and is in no stream."""
    if chosen.name == FILE_ADAPTER:
        return [f"decoding needs the adapter's file: --adapter {chosen.options.get('path', 'FILE')}"]
    if unsent := unsent_options(chosen):
        named = ", ".join(f"adapter.options.{name}" for name in unsent)
        return [f"streams do not carry {named}: decoding may need adapter.name and these set to the same"]
    return []


def notes_on_tasks(task: str, chosen: AdapterSettings, adapter: AdapterSettings, of_parts: Sequence[str]) -> list[str]:
    """What became of `auto` where the file is for several tasks, some of which have adapters of their own."""
    if chosen.name != AUTO_ADAPTER or adapter.name != DEFAULT_ADAPTER or not of_parts:
        return []
    named = " or ".join(of_parts)
    return [
        f"no adapter was trained for {task} together, an untrained one is taken; --adapter {named} begins with that of "
        f"a part, and `taskodec pretrain --task {task}` trains one"
    ]


def facts_of(
    codec: Codec, task: Task, settings: Settings, phases: Sequence[PhaseSettings], adapter: Adapter | None
) -> dict[str, str]:
    """What compresses, in a few words each."""
    return {
        "codec": codec.name,
        "quality": f"{settings.quality:g}",
        "task": task.name,
        "adapter": "none" if adapter is None else str(settings.adapter.options.get("path", settings.adapter.name)),
        "steps": str(sum(phase.steps for phase in phases)),
    }
