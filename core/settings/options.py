"""Options by the names that they have on the command line and in requests, and the settings they stand for. Light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["argument_of", "by_key"]

KEYS = {
    "codec": "codec.name",
    "task": "task.name",
    "adapter": "adapter.name",
    "quality": "quality",
    "steps": "ttft.steps",
    "preset": "ttft.preset",
    "seed": "ttft.seed",
    "time_budget": "ttft.time_budget",
    "target_bytes": "target.bytes",
    "target_bpp": "target.bpp",
    "target_loss": "target.loss",
    "target": "target.metric",
}
"""The settings that options of these names stand for."""


def by_key(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by name, such as `steps`, as settings by dotted key."""
    return {KEYS[name]: value for name, value in given.items()}


def argument_of(key: str) -> str:
    """The name of the argument that stands for a dotted key: `steps` for `ttft.steps`, `target_bytes`."""
    section, _, name = key.removesuffix(".name").rpartition(".")
    return f"target_{name}" if section == "target" else name
