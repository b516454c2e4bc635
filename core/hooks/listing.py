"""What is registered, as plain data for those who list it. Light to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry, Shelf

__all__ = ["listing"]


def listing(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Codecs, adapters, tasks and anchors: name, owner, description, and why one is unavailable."""
    shelves: dict[str, Shelf[Any]] = {
        "codecs": registry.codecs,
        "adapters": registry.adapters,
        "tasks": registry.tasks,
        "anchors": registry.anchors,
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for title, shelf in shelves.items():
        found[title] = [
            {
                "name": name,
                "owner": shelf.owner(name),
                "description": spec.description,
                "unavailable": spec.unavailable or None,
            }
            for name, spec in shelf.items()
        ]
    for entry in found["adapters"]:
        spec = registry.adapters[entry["name"]]
        entry.update(codec=spec.codec, task=spec.task)
    for entry in found["anchors"]:
        entry["fidelity"] = registry.anchors[entry["name"]].fidelity
    return found
