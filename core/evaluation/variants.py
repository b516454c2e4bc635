"""The rows of an ablation of tuning: named variants of the settings, read from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError, UsageError
from taskodec.hooks.names import nearest
from taskodec.settings.layers import preset, read_yaml

__all__ = ["Name", "Variant", "VariantModel", "Variants", "read_variants", "variants_from"]

SECTIONS = ("ttft", "adapter", "limits")
"""What a variant may set: how tuning is done. The costs of variants that code or judge otherwise do not compare."""

Name = Annotated[str, Field(pattern=r"^[^|\s]([^|\n]*[^|\s])?$")]
"""Stands in tables, Markdown's among them."""


class VariantModel(BaseModel):
    """What is read from a file of variants: without other keys, and fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Variant(VariantModel):
    """One row: what it is about, and settings by dotted key, on top of those of the earlier variant that `like` names.

    Once read, `set` has those of `like` too.
    """

    name: Name
    about: str = ""
    like: str | None = None
    set: dict[str, Any] = {}

    def overrides(self) -> list[str]:
        """The settings as texts for `--set`."""
        return [f"{key}={json.dumps(value)}" for key, value in self.set.items()]


class Variants(VariantModel):
    """The rows in their order; all are compared with the `baseline` and with `ours`, which are two of them."""

    baseline: str
    ours: str
    variants: Annotated[tuple[Variant, ...], Field(min_length=2)]

    def only(self, names: Sequence[str]) -> Variants:
        """Those of these names, in their own order; UsageError for an unknown name, or without one of the two."""
        valid = [variant.name for variant in self.variants]
        for name in names:
            if name not in valid:
                raise UsageError(f"--only: unknown variant {name!r}{nearest(name, valid)}; valid: {', '.join(valid)}")
        if missing := [name for name in (self.baseline, self.ours) if name not in names]:
            raise UsageError(f"--only: the others are compared with {' and '.join(missing)}; name it as well")
        return self.model_copy(update={"variants": tuple(v for v in self.variants if v.name in names)})


def read_variants(path: Path | None = None) -> Variants:
    """The variants of a file, of `configs/bench/ttft.yaml` without one; SettingsError says where it is wrong."""
    origin = "bench/ttft.yaml" if path is None else str(path)
    values = preset("bench", "ttft", needed=True) if path is None else read_yaml(path)
    return variants_from(values, origin)


def variants_from(values: Any, origin: str) -> Variants:
    """The variants of what a file holds; `origin` names it in a SettingsError."""
    try:
        read = Variants.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(detail, values, origin) for detail in error.errors())) from error
    return _resolved(read, origin)


def _resolved(read: Variants, origin: str) -> Variants:
    """With `like` put in; SettingsError for a name that is missing or there twice, and for settings out of bounds."""
    known: dict[str, Variant] = {}
    for variant in read.variants:
        what = f"{origin}, variant {variant.name!r}"
        if variant.name in known:
            raise SettingsError(f"{what} is there twice: give every variant a name of its own")
        for key in variant.set:
            if key.partition(".")[0] not in SECTIONS or key in SECTIONS:
                raise SettingsError(
                    f"{what} sets {key!r}; variants may set {', '.join(f'{name}.…' for name in SECTIONS)}: "
                    "all must code and judge the same for their costs to compare"
                )
        inherited = {} if variant.like is None else _named(variant.like, known, f"{what}: like").set
        known[variant.name] = variant.model_copy(update={"set": {**inherited, **variant.set}})
    for role in ("baseline", "ours"):
        _named(getattr(read, role), known, f"{origin}: {role}")
    if read.baseline == read.ours:
        raise SettingsError(f"{origin}: baseline and ours are both {read.ours!r}; name two variants")
    return read.model_copy(update={"variants": tuple(known.values())})


def _named(name: str, known: dict[str, Variant], what: str) -> Variant:
    if name not in known:
        raise SettingsError(
            f"{what} names {name!r}, which is no variant above{nearest(name, known)}; valid: {', '.join(known) or '-'}"
        )
    return known[name]


def _explain(detail: Any, values: Any, origin: str) -> str:
    """One validation error: where, what was found, what is valid."""
    place, found = list(detail["loc"]), detail["input"]
    where = ""
    if place[:1] == ["variants"] and len(place) > 1:
        given = values["variants"][place[1]]
        name = given.get("name") if isinstance(given, dict) else None
        where, place = f", variant {name!r}" if name else f", variant number {place[1] + 1}", place[2:]
    key = ".".join(map(str, place))
    valid = ", ".join((Variant if where else Variants).model_fields)
    if detail["type"] == "extra_forbidden":
        return f"{origin}{where}: unknown key {key!r}{nearest(key, valid.split(', '))}; valid: {valid}"
    if detail["type"] == "missing":
        return f"{origin}{where}: {key} is missing; valid keys: {valid}"
    if detail["type"] == "string_pattern_mismatch":
        return f"{origin}{where}: {key} = {shown(found)}: expected one line without | and without blanks at its ends"
    message = detail["msg"]
    return f"{origin}{where}: {key or 'it'} = {shown(found)}: {message[0].lower()}{message[1:]}"
