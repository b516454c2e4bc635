"""Which of a codec's layers an adapter acts on."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from taskodec.contracts import Codec, Side
from taskodec.errors import UsageError

__all__ = ["select_layers"]


def select_layers(codec: Codec, side: Side, patterns: str | Sequence[str] | None) -> dict[str, nn.Module]:
    """Layers of one side in forward order, by names or glob patterns; None takes the codec's defaults.

    A `*` also crosses dots: `g_a*.qkv` finds every qkv below g_a. An empty list selects no layer. Raises
    UsageError for a pattern that matches nothing.
    """
    layers = codec.adapter_layers(side)
    if patterns is None:
        defaults = set(codec.adapter_defaults(side))
        return {name: layer for name, layer in layers.items() if name in defaults}
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in layers):
            valid = ", ".join(layers) or "none"
            raise UsageError(f"no {side} layer of codec {codec.name!r} matches {pattern!r}; valid: {valid}")
    return {name: layer for name, layer in layers.items() if any(fnmatchcase(name, p) for p in wanted)}
