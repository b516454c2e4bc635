"""Where the patches of a picture lie that tuning sees one after the other: `ttft.patch`.

Unlike tiles, patches have no margins and do not overlap: what they give at their borders is a little other than what
the whole picture gives there. Gradients bear that; whatever is compared or sent is computed of the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from taskodec.contracts import Codec
from taskodec.errors import UsageError

__all__ = ["Area", "areas", "at_once", "check_side"]


@dataclass(frozen=True)
class Area:
    """A rectangle of a picture whose padded height and width are `full`, in its pixels."""

    top: int
    bottom: int
    left: int
    right: int
    full: tuple[int, int]

    def of(self, v: Tensor) -> Tensor:
        """What lies in it of the padded picture, or of its latents, (B, C, h, w)."""
        down, across = self.full[0] // v.shape[2], self.full[1] // v.shape[3]
        return v[:, :, self.top // down : self.bottom // down, self.left // across : self.right // across]

    def variable(self, v: Tensor) -> Tensor:
        """The same of a variable; its gradient is added to that of `v`, in a time that does not grow with `v`."""
        part = self.of(v.detach())
        if v.requires_grad:
            whole = v.grad = torch.zeros_like(v) if v.grad is None else v.grad

            def add(gradient: Tensor) -> None:
                self.of(whole).add_(gradient)

            part.requires_grad_().register_hook(add)  # type: ignore[no-untyped-call]
        return part


def areas(full: tuple[int, int], side: int, stride: int) -> list[Area]:
    """The patches of a picture of this padded size, row by row: squares of `side` pixels, smaller at the edges."""
    rows, columns = _cuts(full[0], side, stride), _cuts(full[1], side, stride)
    return [Area(top, bottom, left, right, full) for top, bottom in rows for left, right in columns]


def at_once(size: tuple[int, int], side: int | None) -> int:
    """How many pixels of a picture of this size a step sees at once, at most."""
    height, width = size
    return height * width if side is None else min(height, side) * min(width, side)


def check_side(side: int | None, codec: Codec) -> None:
    """UsageError for patches that the codec's latents cannot be cut into."""
    if side is not None and side % codec.stride:
        near = max(1, round(side / codec.stride)) * codec.stride
        raise UsageError(
            f"ttft.patch is {side}, codec {codec.name!r} needs multiples of its stride, {codec.stride}; "
            f"set ttft.patch={near}, or leave it out to tune whole pictures"
        )


def _cuts(length: int, side: int, stride: int) -> list[tuple[int, int]]:
    """From where to where patches reach; a last one of less than half a side shares with the one before it."""
    starts = list(range(0, length, side))
    if len(starts) > 1 and 2 * (length - starts[-1]) < side:
        shared = length - starts[-2]
        starts[-1] = starts[-2] + max(stride, shared // 2 // stride * stride)
    return list(zip(starts, [*starts[1:], length], strict=True))
