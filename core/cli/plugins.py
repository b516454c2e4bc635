"""`taskodec plugins` and `taskodec config`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskodec.cli import common
from taskodec.console.layout import say
from taskodec.console.terminal import escaped
from taskodec.hooks.listing import listing

__all__ = ["config", "plugins"]


def plugins(plugin: common.PluginFiles = None, as_json: common.JsonFlag = False) -> None:
    """List codecs, adapters, tasks and anchors, who provides them, and what is unavailable or failed to load."""
    registry = common.load_registry(plugin)
    found = listing(registry)
    if as_json:
        common.print_json({**found, "failures": registry.failures})
        return
    width = max((len(entry["name"]) for entries in found.values() for entry in entries), default=0)
    for title, entries in found.items():
        print(f"{title}:")
        for entry in entries:
            limits = "" if entry.get("fidelity", True) else " (for timing only)"
            limits += " (unavailable)" if entry["unavailable"] else ""
            say(escaped(f"  {entry['name']:<{width}}  {entry['description']}{limits} [{entry['owner']}]"), 6)
    _print_unavailable(found)
    if registry.failures:
        print("failed to load:")
        for name, reason in registry.failures.items():
            say(escaped(f"  {name}: {reason}"))


def _print_unavailable(listing: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """What cannot be used here, each reason once."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for title, entries in listing.items():
        for entry in entries:
            if entry["unavailable"]:
                by_reason.setdefault(entry["unavailable"], {}).setdefault(title, []).append(entry["name"])
    if by_reason:
        print("unavailable:")
        for reason, names in by_reason.items():
            say(escaped(f"  {reason}"))
            for title, found in names.items():
                say(f"    {title}: {', '.join(found)}", 6)


def config(
    *,
    codec: common.CodecChoice = None,
    quality: common.QualityChoice = None,
    task: common.TaskChoice = None,
    steps: common.StepsChoice = None,
    preset: common.PresetChoice = None,
    seed: common.SeedChoice = None,
    time_budget: common.TimeBudget = None,
    adapter: common.AdapterChoice = None,
    files: common.ConfigFiles = None,
    overrides: common.Overrides = None,
    as_json: common.JsonFlag = False,
) -> None:
    """Print the configuration that these options resolve to."""
    flags = common.tuning_flags(
        codec=codec,
        quality=quality,
        task=task,
        steps=steps,
        preset=preset,
        seed=seed,
        time_budget=time_budget,
        adapter=adapter,
    )
    settings = common.resolve_settings(files, overrides, flags)
    if as_json:
        common.print_json(settings.model_dump(mode="json"))
    else:
        print(settings.to_yaml(), end="")
