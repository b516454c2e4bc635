"""Seconds that an image may take, spent on work whose time is known from the last one of its kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Budget"]


class Budget:
    """So many seconds from now on for each of `images` in one pass; None for no end. `clock` gives seconds.

    Streams are written for one image after the other, all else is done for all at once.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic, *, images: int = 1) -> None:
        self.seconds, self.clock, self.images = None if seconds is None else seconds * images, clock, images
        self.started = clock()
        self._lasted: dict[str, float] = {}

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Time work of this kind. What is planned for is the mean of the last one and of the plan before."""
        start = self.clock()
        yield
        lasted = self.clock() - start
        self._lasted[kind] = (lasted + self._lasted.get(kind, lasted)) / 2

    def allows(self, **work: float) -> bool:
        """Whether there is time for so much work of each kind; kinds never timed before are taken to need none."""
        return self.spent + self.needed(**work) <= self.end()

    def end(self, part: float = 1.0, **reserved: float) -> float:
        """When this part of the time is over, in seconds from the start, with some work still to be done then."""
        return float("inf") if self.seconds is None else part * self.seconds - self.needed(**reserved)

    def needed(self, **work: float) -> float:
        """Seconds that so much work of each kind is expected to take."""
        each = {"stream": self.images}
        return sum(count * each.get(kind, 1) * self._lasted.get(kind, 0.0) for kind, count in work.items())
