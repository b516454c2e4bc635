"""The same codec's untuned file that is closest in size to another file: what the bytes would buy without tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taskodec.coding.streams import StreamWriter
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Codec, Task
from taskodec.images.tensors import pad_to
from taskodec.isolation.activation import inactive
from taskodec.isolation.sharing import shared
from taskodec.settings.ttft import TTFTSettings
from taskodec.tuning.budget import Budget
from taskodec.tuning.candidates import Candidate, Candidates
from taskodec.tuning.subject import Subject
from taskodec.tuning.task_calls import prepared

__all__ = ["Plain", "bounded", "closest", "plain_near"]

FINEST = 16
"""Parts of a quality that streams can name."""


@dataclass(frozen=True)
class Plain:
    """A file without adapter and tuning, and its quality.

    `bounded` is "smallest" or "largest" where the wanted size lies beyond what the codec can do, "only" where it has
    one quality, and empty otherwise.
    """

    quality: float
    candidate: Candidate
    bounded: str = ""


@torch.no_grad()
def plain_near(
    codec: Codec, task: Task, x: Tensor, lmbda: float, wanted: int, tile: int | None = None, reference: Any = None
) -> Plain:
    """The codec's own file of x (1, 3, H, W) whose size is closest to `wanted` bytes, at any quality that it has.

    `reference` is what the task's loss needs of x; without it, as the task alone prepares it.
    """
    padded, size = pad_to(x, codec.stride), (x.shape[2], x.shape[3])
    tiles = Tiles(tile)
    with inactive(), shared(codec):
        sizes: dict[float, int] = {}

        def bytes_at(quality: float) -> int:
            writer = StreamWriter(codec, None, quality, size)
            return len(writer.write(tiles.analysis(codec, padded, quality), None).stream)

        quality = closest(_levels(codec), wanted, bytes_at, sizes)
        reference = prepared(task, x) if reference is None else reference
        subject = Subject(codec, None, task, quality, size, reference, lmbda)
        candidates = Candidates(subject, switches=TTFTSettings(), budget=Budget(None), tiles=tiles)
        candidate = candidates.one("plain", tiles.analysis(codec, padded, quality))
    return Plain(quality, candidate, bounded(sizes, quality, wanted))


def closest(
    levels: list[float], wanted: int, bytes_at: Callable[[float], int], sizes: dict[float, int] | None = None
) -> float:
    """The level whose size is closest, found by halving, for sizes that grow with the levels.

    Where they do not, it is the closest of those that were tried. `sizes` is filled with these.
    """
    tried: dict[float, int] = {} if sizes is None else sizes

    def at(index: int) -> int:
        level = levels[index]
        if level not in tried:
            tried[level] = bytes_at(level)
        return tried[level]

    low, high = 0, len(levels) - 1
    at(low), at(high)
    while high - low > 1:
        middle = (low + high) // 2
        if at(middle) <= wanted:
            low = middle
        else:
            high = middle
    return min(tried, key=lambda level: (abs(tried[level] - wanted), level))


def _levels(codec: Codec) -> list[float]:
    first, last = codec.qualities[0], codec.qualities[-1]
    if not codec.continuous:
        return [float(quality) for quality in codec.qualities]
    steps = int((last - first) * FINEST)
    return [first + step / FINEST for step in range(steps + 1)]


def bounded(sizes: dict[float, int], quality: float, wanted: int) -> str:
    """Whether a size is one that cannot be passed, of those that were tried: as in `Plain`."""
    found = sizes[quality]
    if len(sizes) == 1:
        return "only"
    if found > wanted and found == min(sizes.values()):
        return "smallest"
    return "largest" if found < wanted and found == max(sizes.values()) else ""
