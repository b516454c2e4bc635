"""Activations that are computed twice and not kept, in one thread, whoever else goes through the same network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from taskodec.isolation.randomness import replayed

__all__ = ["checkpointed", "computed_twice"]

T = TypeVar("T")

_SPARED: ContextVar[frozenset[nn.Module]] = ContextVar("spared", default=frozenset())
"""The blocks whose activations this thread or task does not keep."""

_swapping = Lock()


@contextmanager
def checkpointed(network: nn.Module) -> Iterator[None]:
    """Within, blocks of a network keep their inputs only; what is inside is computed again in the backward pass."""
    with _swapping:
        sparing = [found for found in map(_put, _blocks(network)) if isinstance(found, _Sparing)]
        for one in sparing:
            one.users += 1
    token = _SPARED.set(_SPARED.get().union(one.block for one in sparing))
    try:
        yield
    finally:
        _SPARED.reset(token)
        with _swapping:
            for one in sparing:
                one.users -= 1
                if not one.users:
                    del vars(one.block)["forward"]


def computed_twice(function: Callable[[], T], device: torch.device) -> T:
    """What the function gives, of which nothing is kept for the gradient; the second time it draws the same noise."""
    again = partial(copy_context().run, replayed(function, device))
    found: T = checkpoint(again, use_reentrant=False, preserve_rng_state=False)
    return found


class _Sparing:
    """Stands in the place of a block's `forward` while it has `users`."""

    def __init__(self, block: nn.Module) -> None:
        self.block, self.forward, self.users = block, block.forward, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.block not in _SPARED.get():
            return self.forward(*args, **kwargs)
        again: Callable[..., Any] = self.forward
        if not torch.compiler.is_compiling():
            again = partial(
                copy_context().run, again
            )  # the backward pass may be in another thread, without the adapter
        return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _put(block: nn.Module) -> object:
    """What is in the place of the block's `forward`, now at the latest."""
    return vars(block).setdefault("forward", _Sparing(block))


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The outermost modules in sequences that are made of several others and are no sequences of sequences."""
    found: list[nn.Module] = []
    for module in network.children():
        inside = list(module.children())
        plain = isinstance(network, nn.Sequential) and len(inside) > 1 and not isinstance(module, nn.Sequential)
        found += [module] if plain else _blocks(module)
    return found
