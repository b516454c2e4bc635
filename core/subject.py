"""One image that is tuned, and all that what its file costs depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskodec.contracts import Adapter, Codec, Task

__all__ = ["Subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """An image of `size` (height, width) for a codec at a quality and a task.

    `adapter`, if there is one, is attached to the codec while a cost is computed; `reference` is what the task keeps of
    the original, and `lmbda` the weight of its loss against bits per pixel.
    """

    codec: Codec
    adapter: Adapter | None
    task: Task
    quality: float
    size: tuple[int, int]
    reference: Any
    lmbda: float

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]
