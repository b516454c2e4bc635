"""What `taskodec eval` compares: ways to send a picture, as they are written on the command line.

`original`, `plain`, `pretrained[=TASK][@ADAPTER]`, `ttft[:PRESET][=TASK][@ADAPTER]`, or the name of an anchor; with
commas between.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from taskodec.api.loading import DEFAULT_ADAPTER
from taskodec.errors import UsageError
from taskodec.hooks.names import nearest
from taskodec.hooks.registry import Registry
from taskodec.settings.layers import preset_names
from taskodec.settings.model import AdapterSettings, Settings, load_settings

__all__ = ["ORIGINAL", "PLAIN", "Method", "method_settings", "parse_methods", "parse_qualities"]

Kind = Literal["original", "plain", "pretrained", "ttft", "anchor"]

ORIGINAL, PLAIN = "original", "plain"

SYNTAX = "original, plain, pretrained[=TASK][@ADAPTER], ttft[:PRESET][=TASK][@ADAPTER]"

Qualities = Mapping[str, Sequence[float]]
"""By method; under an empty name for all methods of the codec that are not named."""


@dataclass(frozen=True)
class Method:
    """One way to send a picture. `name` is how it was written; what was not named is empty.

    `task` is what files are made for, where that is not what is evaluated; several have a + between.
    """

    name: str
    kind: Kind
    preset: str = ""
    adapter: str = ""
    task: str = ""

    @property
    def learned(self) -> bool:
        """Whether it is a way to use the codec."""
        return self.kind in ("plain", "pretrained", "ttft")

    def overrides(self) -> list[str]:
        """What the name says, as texts for `--set`."""
        preset = [f"ttft.preset={json.dumps(self.preset)}"] if self.preset else []
        return preset + ([f"adapter.name={json.dumps(self.adapter)}"] if self.adapter else [])


def parse_methods(text: str, registry: Registry) -> list[Method]:
    """The methods in `plain,ttft:quick@FILE`; UsageError for one that does not exist, or is there twice."""
    names = [name.strip() for name in text.split(",")]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--methods names {', '.join(repeated)} twice: name every method once")
    return [_method(name, registry) for name in names]


def _method(name: str, registry: Registry) -> Method:
    base, at, adapter = name.partition("@")
    base, equals, task = base.partition("=")
    kind, colon, preset = base.partition(":")
    if (at and not adapter) or (colon and not preset) or (equals and not task):
        raise UsageError(f"method {name!r} ends too early; valid: {SYNTAX}")
    if kind in ("plain", "original", "pretrained", "ttft"):
        if preset and kind != "ttft":
            raise UsageError(f"method {name!r}: only ttft has presets; valid: {SYNTAX}")
        if task and kind not in ("ttft", "pretrained"):
            raise UsageError(f"method {name!r}: only ttft and pretrained are made for a task; valid: {SYNTAX}")
        if adapter and kind not in ("ttft", "pretrained"):
            raise UsageError(f"method {name!r}: only ttft and pretrained have adapters; valid: {SYNTAX}")
        if preset and preset not in (valid := preset_names("ttft")):
            raise UsageError(
                f"method {name!r}: unknown ttft preset {preset!r}{nearest(preset, valid)}; valid: {', '.join(valid)}"
            )
        return Method(name, kind, preset, adapter, task)  # type: ignore[arg-type]  # narrowed by the tuple above
    if name not in registry.anchors:
        valid = ["original", "plain", "pretrained", "ttft", *registry.anchors]
        raise UsageError(
            f"unknown method {name!r}{nearest(name, valid)}; valid: {SYNTAX}, and the anchors "
            f"{', '.join(registry.anchors)}"
        )
    return Method(name, "anchor")


def method_settings(method: Method, resolve: Callable[[Sequence[str]], Settings]) -> Settings:
    """The settings of a learned method; `resolve` takes further texts for `--set`.

    UsageError where the user's settings hide what the method's name says.
    """
    settings = resolve(method.overrides())
    if method.preset:
        wanted = load_settings(overrides=[f"ttft.preset={json.dumps(method.preset)}"]).ttft.phases
        if settings.ttft.phases != wanted:
            raise UsageError(
                f"method {method.name!r}: ttft.phases of the settings would take the place of the preset's; leave "
                "them out, or name plain ttft"
            )
    if method.kind == "ttft":
        return settings
    changes = {"ttft": settings.ttft.model_copy(update={"steps": 0})}
    if method.kind == "plain":
        return settings.model_copy(update={**changes, "adapter": AdapterSettings(name=DEFAULT_ADAPTER)})
    return settings.model_copy(update=changes)


def parse_qualities(texts: Sequence[str], methods: Sequence[Method]) -> Qualities:
    """Qualities out of `1,2,3` and `METHOD=1,2,3`, ascending, each once.

    UsageError for what is no number, a method that is not there, or a list given twice.
    """
    found: dict[str, list[float]] = {}
    names = {method.name for method in methods if method.kind != "original"}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        if name and name not in names:
            raise UsageError(f"--qualities {text}: no method {name!r} is measured; valid: {', '.join(sorted(names))}")
        if name in found:
            raise UsageError(f"--qualities {text}: there is another list for the same; give one")
        try:
            levels = {float(part) for part in numbers.split(",")}
        except ValueError:
            levels = {math.nan}
        if not all(map(math.isfinite, levels)):
            raise UsageError(
                f"--qualities {text}: expected numbers with commas between, such as 1,2.5,4 or plain=1,2,3"
            )
        found[name] = sorted(levels)
    return found
