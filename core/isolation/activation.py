"""What adds to the outputs of layers in one pass, and in no other: adapters that change nothing of the codec.

A layer that had a branch once keeps a hook, which looks up whether the thread or task that calls it has a branch for it
now. So any number of threads can go through one codec, each with its own adapter, its own singular values, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from taskodec.errors import UsageError

__all__ = ["Branch", "active", "inactive", "without_hooks"]

Branch = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Tensor], Tensor]
"""A layer, what it was called with by position and by name, and its output, to the output that is used."""

_NONE: Mapping[nn.Module, Sequence[Branch]] = MappingProxyType({})

_BRANCHES: ContextVar[Mapping[nn.Module, Sequence[Branch]]] = ContextVar("branches", default=_NONE)

_hooking = Lock()


@contextmanager
def active(branches: Iterable[tuple[nn.Module, Branch]]) -> Iterator[None]:
    """Within, and in this thread or task alone, these layers' outputs go through their branches, one after the other.

    UsageError for a layer that has one already.
    """
    now, added = _BRANCHES.get(), dict[nn.Module, list[Branch]]()
    for layer, branch in branches:
        if layer in now:
            raise UsageError("an adapter is in use for these layers already; leave its `applied` block first")
        _hook(layer)
        added.setdefault(layer, []).append(branch)
    token = _BRANCHES.set({**now, **added})
    try:
        yield
    finally:
        _BRANCHES.reset(token)


@contextmanager
def inactive() -> Iterator[None]:
    """Within, no layer has a branch, whatever is going on around it."""
    token = _BRANCHES.set(_NONE)
    try:
        yield
    finally:
        _BRANCHES.reset(token)


def without_hooks(network: nn.Module) -> None:
    """Take the hooks off a network that nobody else uses."""
    for layer in network.modules():
        for number in [number for number, hook in layer._forward_hooks.items() if hook is _through]:
            del layer._forward_hooks[number]
            layer._forward_hooks_with_kwargs.pop(number, None)


def _hook(layer: nn.Module) -> None:
    if _through not in layer._forward_hooks.values():
        with _hooking:
            if _through not in layer._forward_hooks.values():
                layer.register_forward_hook(_through, with_kwargs=True)


def _through(layer: nn.Module, args: tuple[Any, ...], *rest: Any) -> Any:
    """The hook. While it is being registered by another thread it may be called without the arguments by name."""
    branches = _BRANCHES.get()
    if not branches or layer not in branches:
        return None
    kwargs, output = rest
    for branch in branches[layer]:
        output = branch(layer, args, kwargs, output)
    return output
