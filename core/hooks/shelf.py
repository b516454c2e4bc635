"""Specs of one kind by name, each with its owner: what can be used here, and what it gives when called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from taskodec.console.terminal import shown
from taskodec.errors import PluginError, TaskodecError, UsageError
from taskodec.hooks.handover import build
from taskodec.hooks.names import check_name, nearest
from taskodec.hooks.spec_checks import check_fields
from taskodec.hooks.specs import AdapterSpec, AnchorSpec, CodecSpec, TaskSpec, WeightsFile
from taskodec.isolation.faults import described

__all__ = ["BUILTINS", "Shelf", "SpecT"]

BUILTINS = (
    "taskodec.codecs.plugin",
    "taskodec.adapters.plugin",
    "taskodec.plugins.perception",
    "taskodec.plugins.classification",
    "taskodec.plugins.detection",
    "taskodec.plugins.segmentation",
    "taskodec.plugins.machine",
)
"""Modules with the hooks of what ships with taskodec; all are light to import."""

SpecT = TypeVar("SpecT", CodecSpec, AdapterSpec, TaskSpec, AnchorSpec, WeightsFile)


class Shelf(Mapping[str, SpecT], Generic[SpecT]):
    """Specs of one kind by name. Looking up a name that is not there is a UsageError with near matches."""

    def __init__(self, kind: str, spec_type: type[SpecT]) -> None:
        self.kind = kind
        self.spec_type: type[SpecT] = spec_type
        self._entries: dict[str, tuple[SpecT, str]] = {}

    def __getitem__(self, name: str) -> SpecT:
        return self._find(name)[0]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def usable(self, name: str) -> SpecT:
        """The spec, to be used: a UsageError if that is not possible here."""
        spec = self[name]
        if problem := getattr(spec, "unavailable", ""):
            raise UsageError(f"{self.kind} {name!r} cannot be used here: {problem}")
        return spec

    def owner(self, name: str) -> str:
        """Who registered this name."""
        return self._find(name)[1]

    def check(self, spec: object, owner: str) -> None:
        """A PluginError unless `spec` is of this shelf's type and its name is valid and free."""
        if not isinstance(spec, self.spec_type):
            found, expected = type(spec).__name__, self.spec_type.__name__
            raise PluginError(f"{owner}: the hook for {self.kind}s returned a {found}, expected {expected}")
        check_name(self.kind, spec.name, owner)
        check_fields(spec, self.kind, owner)
        if isinstance(spec, CodecSpec) and spec.stream_id and owner not in BUILTINS:
            raise PluginError(f"{owner}: codec {spec.name!r} sets stream_id, which only built-in codecs may have")
        if spec.name in self._entries:
            raise PluginError(
                f"{self.kind} {spec.name!r} is registered by {self.owner(spec.name)} and again by {owner}: rename one"
            )

    def make(self, name: str, options: Mapping[str, Any], *positional: Any, part: str = "load") -> Any:
        """What a function of a spec gives, called now with the user's options.

        UsageError for options that it does not take; PluginError, with the owner, for whatever else goes wrong in it.
        """
        spec, owner = self.usable(name), self.owner(name)
        what = f"{self.kind} {name!r}"
        try:
            return build(what, getattr(spec, part), options, *positional)
        except PluginError as error:  # what would have ended the program, or cannot be imported
            raise error if str(error).startswith(owner) else PluginError(f"{owner}: {error}") from error
        except (TaskodecError, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit among them
            given = "".join(f", {key}={shown(value)}" for key, value in options.items())
            made = f" with {given[2:]}" if given else ""
            raise PluginError(f"{owner}: {what} cannot be loaded{made}: {described(error)}") from error

    def add(self, spec: SpecT, owner: str) -> None:
        """Put a checked spec on the shelf."""
        self._entries[spec.name] = (spec, owner)

    def _find(self, name: str) -> tuple[SpecT, str]:
        if name not in self._entries:
            meant = nearest(name, self)
            raise UsageError(f"unknown {self.kind} {shown(name)}{meant}; valid: {', '.join(self) or 'none'}")
        return self._entries[name]
