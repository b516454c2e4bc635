"""To other processes: what is made anew there from what it was made of here. Light to import."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from taskodec.errors import UsageError
from taskodec.hooks.specs import hookimpl

if TYPE_CHECKING:
    from taskodec.hooks.registry import Registry

__all__ = ["Call", "Given", "as_sent", "registry_of", "sent"]

Given = tuple[str, Any]
"""What a registry was given: the method that took it, and its arguments."""


class Call:
    """A plugin with one hook, which gives one spec: what is registered by a call."""

    def __init__(self, hook: str, spec: Any) -> None:
        self.hook, self.spec = hook, spec
        setattr(self, hook, hookimpl(lambda: [spec]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Call, (self.hook, self.spec)


def sent(kind: type, made_of: Sequence[Any]) -> tuple[Any, ...]:
    """What `__reduce__` returns for an object that `kind(*made_of)` made. UsageError for what cannot be sent."""
    for value in made_of:
        if not hasattr(value, "parameters"):  # networks can be, and are large
            _check(f"{kind.__name__} cannot go to another process, since {value!r}", value)
    return kind, tuple(made_of)


def as_sent(given: Sequence[Given]) -> tuple[Given, ...]:
    """The same for another process, where modules are imported by their names. UsageError for what cannot be sent."""
    found: list[Given] = []
    for method, arguments in given:
        if method == "register" and isinstance(plugin := arguments[0], ModuleType):
            found.append(("register_module", (plugin.__name__, arguments[1])))
        else:
            _check(f"the plugins registered here cannot go to another process, since {arguments[-1]!r}", arguments)
            found.append((method, arguments))
    return tuple(found)


def registry_of(default: bool, given: Sequence[Given]) -> Registry:
    """A registry that was given this; or the one of this process with what of it is missing."""
    from taskodec.hooks.registry import Registry, default_registry

    registry = default_registry() if default else Registry()
    for method, arguments in given:
        first = arguments[0]
        if method == "register_module":
            registry.register(importlib.import_module(first), arguments[1])
        elif isinstance(first, Call):
            if not registry.has(first.hook, first.spec.name):  # else the script has registered it here as well
                registry.register(first, f"{arguments[1]}, sent")  # calls are counted in each process
        elif (method, arguments) not in registry.given:
            getattr(registry, method)(*arguments)
    return registry


def _check(what: str, value: object) -> None:
    """UsageError that begins with `what` if the value cannot be pickled."""
    try:
        pickle.dumps(value)
    except UsageError:
        raise
    except Exception as error:  # pickle has no error of its own for most of what it cannot do
        raise UsageError(
            f"{what} cannot be pickled ({error}); give what can be found by its name there, such as a function of a "
            "module, or FILE.py:OBJ"
        ) from error
