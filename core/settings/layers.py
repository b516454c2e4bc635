"""Layers of configuration: YAML files, presets and overrides become one dictionary that knows where each value is from.

Dictionaries are merged key by key, everything else is replaced. A layer that names another codec, adapter or
task replaces that section as a whole, so that nothing meant for one reaches another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from taskodec.console.terminal import shown
from taskodec.errors import SettingsError
from taskodec.files.atomic import read_limited
from taskodec.hooks.names import nearest
from taskodec.settings.tasks import task_layer
from taskodec.settings.yaml_text import MAX_BYTES, MAX_DEPTH, parse_yaml

__all__ = ["Layers", "defaults", "nest", "parse_override", "parse_yaml", "preset", "preset_names", "read_yaml"]

NAMED_SECTIONS = ("codec", "adapter", "task")
"""Sections that may be written as a plain name: `codec: tic` is `codec: {name: tic}`."""


class Layers:
    """Values merged so far (`values`), each with the place it came from (`origin`)."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._origins: dict[tuple[str, ...], str] = {}

    def add(self, layer: Mapping[str, Any], origin: str) -> None:
        """Put a layer over what is there; later layers win."""
        for section, value in layer.items():
            full = {"name": value} if section in NAMED_SECTIONS and isinstance(value, str) else value
            if section == "task":
                try:
                    full = task_layer(value)
                except ValueError as error:
                    raise SettingsError(f"task = {shown(value)} (from {origin}): {error}") from error
            self._forget_other(section, full)
            self._merge(self.values, (str(section),), full, origin)

    def add_layers(self, other: Layers) -> None:
        """Put everything of `other` on top, with its origins."""
        for section, value in other.values.items():
            self._forget_other(section, value)
            self._merge(self.values, (section,), value, "")
        self._origins.update(other._origins)

    def origin(self, path: tuple[str | int, ...]) -> str:
        """Where the value at this path, or the section around it, came from."""
        for end in range(len(path), 0, -1):
            key = tuple(map(str, path[:end]))
            if key in self._origins:
                return self._origins[key]
        return "the call"

    def name(self, section: str, default: str = "") -> str:
        """The name that a section gives, or `default`."""
        value = self.values.get(section)
        return str(value.get("name", default)) if isinstance(value, dict) else default

    def _forget_other(self, section: str, value: Any) -> None:
        """Drop a section that is about something of another name than `value`."""
        current = self.values.get(section)
        if section in NAMED_SECTIONS and isinstance(value, Mapping) and isinstance(current, dict):
            name = value.get("name")
            if name is not None and current.get("name", name) != name:
                del self.values[section]

    def _merge(self, into: dict[str, Any], path: tuple[str, ...], value: Any, origin: str) -> None:
        key = path[-1]
        if isinstance(value, Mapping):
            inner = into[key] = dict(into[key]) if isinstance(into.get(key), dict) else {}
            for name, item in value.items():
                self._merge(inner, (*path, str(name)), item, origin)
        else:
            into[key] = value
        self._origins[path] = origin


def read_yaml(path: Path) -> dict[str, Any]:
    """A configuration file; SettingsError when it cannot be read or is not a mapping.

    `taskodec:KIND/NAME` is a packaged preset, such as `taskodec:paper/det-closed`.
    """
    start, colon, preset_path = str(path).partition(":")
    if colon and start == "taskodec":
        kind, _, name = preset_path.removesuffix(".yaml").partition("/")
        return preset(kind, name, needed=True)
    try:
        text = read_limited(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8 text"
        raise SettingsError(f"cannot read configuration {path}: {reason}") from error
    return _as_mapping(parse_yaml(text, str(path)), str(path))


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=value` to nested dictionaries; the value is read as YAML: 3, 1e-4, [1, 2], null, text."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise SettingsError(f"--set {shown(text)} is not of the form key=value, such as ttft.steps=80")
    if len(parts) > MAX_DEPTH:
        raise SettingsError(f"--set {shown(text)} has a key of {len(parts)} parts; valid: at most {MAX_DEPTH}")
    nested: Any = parse_yaml(value, f"--set {shown(text)}")
    for part in reversed(parts):
        nested = {part: nested}
    layer: dict[str, Any] = nested
    return layer


def preset_names(kind: str) -> list[str]:
    """The packaged presets of one kind: `bench`, `codec`, `pretrain`, `task`, `train` or `ttft`."""
    folder = resources.files("taskodec.configs").joinpath(kind)
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def preset(kind: str, name: str, *, needed: bool = False) -> dict[str, Any]:
    """A packaged preset, `configs/<kind>/<name>.yaml`; empty when there is none, unless it is `needed`."""
    valid = preset_names(kind)
    if name in valid:
        file = resources.files("taskodec.configs").joinpath(kind, f"{name}.yaml")
        return _as_mapping(parse_yaml(file.read_text(encoding="utf-8"), file.name), file.name)
    if needed:
        raise SettingsError(f"unknown {kind} preset {shown(name)}{nearest(name, valid)}; valid: {', '.join(valid)}")
    return {}


def defaults() -> dict[str, Any]:
    """The packaged `configs/default.yaml`."""
    text = resources.files("taskodec.configs").joinpath("default.yaml").read_text(encoding="utf-8")
    return _as_mapping(parse_yaml(text, "default.yaml"), "default.yaml")


def nest(flat: Mapping[str, Any]) -> Iterable[tuple[dict[str, Any], str]]:
    """Dotted keys as one small layer each, with the key."""
    for key, value in flat.items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        yield nested, key


def _as_mapping(value: Any, origin: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{origin} holds a {type(value).__name__}, expected keys and values such as `codec: lite`")
    return value
