"""Random numbers of a call's own, so that calls in several threads get what they would get one after the other.

PyTorch's own generator is one for the whole process. Tuning draws from a `Noise`; what must draw from PyTorch's, such
as somebody's loss or the first weights of a network, does so alone, and leaves it as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from threading import RLock
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["Noise", "drawn_alone", "numbers_kept", "replayed", "reproducible", "seeded", "uniform_like"]

T = TypeVar("T")


Drawn = Callable[[], bool]

APART = 0x9E3779B1
"""How far the seeds of a pass are from those of the next seed's pass: odd, and near 2^32 over the golden ratio."""

OTHER = 0x7F4A7C15
"""Makes of a seed one that nobody else takes: or code that seeds for itself would seem to draw nothing."""

_alone = RLock()


class Noise:
    """The random numbers of one tuning pass.

    `draws` remembers by name whether code that was run in `reproducible` draws from PyTorch's generator; passes with
    the same code share it.
    """

    def __init__(self, seed: int, draws: dict[str, bool] | None = None) -> None:
        self.draws = {} if draws is None else draws
        self.seed = self._first = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def at_step(self, step: int) -> None:
        """Begin anew: the noise of a step is the same, whoever else is tuned and whatever was drawn before."""
        folded = self._first ^ self._first >> 32
        self.seed = (folded * APART + step) % 2**32  # all that the CPU's generator takes of a seed
        self._generators.clear()

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator of a device."""
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within, and in this thread or task alone, noise comes from here."""
        token = _NOISE.set(self)
        try:
            yield
        finally:
            _NOISE.reset(token)


_NOISE: ContextVar[Noise | None] = ContextVar("noise", default=None)


def uniform_like(v: Tensor) -> Tensor:
    """Uniform numbers from 0 to 1, of the shape, the type and the layout of v."""
    noise = _NOISE.get()
    return torch.empty_like(v).uniform_(generator=None if noise is None else noise.generator(v.device))


def replayed(function: Callable[[], T], device: torch.device) -> Callable[[], T]:
    """The function, whose second and later calls draw the numbers that its first one drew, and use up none.

    For what is computed again in the backward pass, in whatever thread that is.
    """
    noise = _NOISE.get()
    if noise is None:
        return function
    generator = noise.generator(device)
    first, calls = generator.get_state(), count()

    def call() -> T:
        if not next(calls):
            return function()
        kept = generator.get_state()
        generator.set_state(first)
        try:
            return function()
        finally:
            generator.set_state(kept)

    return call


@contextmanager
def reproducible(name: str, device: torch.device) -> Iterator[None]:
    """Within, code of somebody's may draw from PyTorch's generator: where a `Noise` is used, always the same numbers.

    The first time it runs alone, and from then on only if it has drawn then.
    """
    noise = _NOISE.get()
    if noise is None or not noise.draws.get(name, True):
        yield
        return
    with seeded(noise.seed ^ OTHER, device) as drawn:
        yield
        noise.draws[name] = drawn() or noise.draws.get(name, False)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[Drawn]:
    """Within, PyTorch's generator begins at this seed and nobody else in here draws; it is left as it was.

    What is given says whether something has been drawn.
    """
    with _alone:
        before = _states(device)
        torch.default_generator.manual_seed(seed)
        if device is not None and device.type == "cuda":
            torch.cuda.default_generators[_index(device)].manual_seed(seed)
        begun = _states(device)
        try:
            yield lambda: any(not torch.equal(a, b) for a, b in zip(begun, _states(device), strict=True))
        finally:
            torch.set_rng_state(before[0])
            for state in before[1:]:
                torch.cuda.set_rng_state(state, device or "cuda")


@contextmanager
def drawn_alone() -> Iterator[None]:
    """Within, what is made draws from PyTorch's generator of the CPU as it is, alone, and leaves it as it was."""
    with _alone, torch.random.fork_rng([]):
        yield


@contextmanager
def numbers_kept(device: torch.device) -> Iterator[None]:
    """Within, PyTorch's generators may be seeded anew; afterwards those of the CPU and the device go on as before."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _states(device: torch.device | None) -> list[Tensor]:
    """Where the generators of the CPU and, if that is one, of the GPU are."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device is not None and device.type == "cuda" else states


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


if hasattr(os, "register_at_fork"):  # a process that was forked has no thread that would release it
    os.register_at_fork(before=_alone.acquire, after_in_parent=_alone.release, after_in_child=_alone.release)
