"""What a shell offers for a value at the Tab key: names that are registered, and presets. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from taskodec.console.terminal import escaped

__all__ = ["adapters", "codecs", "presets", "tasks", "weights"]

Offers = list[tuple[str, str]]
"""Values with what they are."""


def codecs(incomplete: str) -> Offers:
    """Codecs that can be used here."""
    return _registered("codecs", incomplete)


def adapters(incomplete: str) -> Offers:
    """Adapters likewise."""
    return _registered("adapters", incomplete)


def tasks(incomplete: str) -> Offers:
    """Tasks likewise; files with tasks are left to the shell."""
    return _registered("tasks", incomplete)


def weights(incomplete: str) -> Offers:
    """Published weights."""
    return _registered("weights", incomplete)


def presets(incomplete: str) -> Offers:
    """Presets of tuning."""
    from taskodec.settings.layers import preset_names

    return [(name, "") for name in preset_names("ttft") if name.startswith(incomplete)]


def _registered(kind: str, incomplete: str) -> Offers:
    return [(name, about) for name, about in _listed(kind) if name.startswith(incomplete)]


def _listed(kind: str) -> Iterator[tuple[str, str]]:
    from taskodec.hooks.registry import default_registry

    for name, spec in getattr(default_registry(), kind).items():
        if not getattr(spec, "unavailable", ""):
            yield name, escaped(spec.description)
