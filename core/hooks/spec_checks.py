"""What the fields of a plugin's specs must be. Light: no torch, and nothing of the plugin is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from taskodec.cli.terminal import shown
from taskodec.errors import PluginError
from taskodec.files.weights import WeightsFile
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec

__all__ = ["check_fields"]

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_HASH = re.compile(r"[0-9a-f]{0,64}")


@dataclass(frozen=True)
class _Field:
    """What a field must be, and how to say so."""

    holds: Callable[[Any], bool]
    words: str


def _is_target(value: Any) -> bool:
    return callable(value) or (isinstance(value, str) and _PATH.fullmatch(value) is not None)


def _is_whole(value: Any, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= high


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value not in (".", "..") and not set(value) & set("/\\\0")


_TARGET = _Field(_is_target, "a function or 'package.module:name'")
_OPTIONAL_TARGET = _Field(lambda value: value is None or _is_target(value), f"None, {_TARGET.words}")
_TEXT = _Field(lambda value: isinstance(value, str), "text")
_OPTIONAL_TEXT = _Field(lambda value: value is None or isinstance(value, str), "None or text")
_TRUTH = _Field(lambda value: isinstance(value, bool), "True or False")
_OPTIONS = _Field(
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value), "options by name"
)

_FIELDS: Mapping[type[Any], Mapping[str, _Field]] = {
    CodecSpec: {
        "load": _TARGET,
        "description": _TEXT,
        "stream_id": _Field(lambda value: _is_whole(value, 255), "a whole number from 0 to 255"),
        "create": _OPTIONAL_TARGET,
    },
    AdapterSpec: {
        "build": _TARGET,
        "description": _TEXT,
        "codec": _OPTIONAL_TEXT,
        "task": _OPTIONAL_TEXT,
        "task_options": _OPTIONS,
    },
    TaskSpec: {"load": _TARGET, "description": _TEXT},
    AnchorSpec: {"load": _TARGET, "description": _TEXT, "fidelity": _TRUTH},
    WeightsFile: {
        **dict.fromkeys(("url", "package", "member", "requirement", "description", "licence", "instead"), _TEXT),
        "sha256": _Field(
            lambda value: isinstance(value, str) and _HASH.fullmatch(value) is not None,
            "up to 64 hexadecimal digits, in lower case",
        ),
        "size": _Field(lambda value: _is_whole(value, 2**63), "a whole number of bytes"),
        "saved_as": _Field(_is_file_name, "the name of a file, without a folder"),
    },
}


def check_fields(spec: Any, kind: str, owner: str) -> None:
    """A PluginError that names owner, spec and field unless all are what the spec's class says."""
    for name, field in _FIELDS[next(known for known in _FIELDS if isinstance(spec, known))].items():
        value = getattr(spec, name)
        if not field.holds(value):
            raise PluginError(
                f"{owner}: {kind} {spec.name!r} has {name}={shown(value)}, expected {field.words}; see docs/plugins.md"
            )
