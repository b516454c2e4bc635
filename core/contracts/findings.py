"""What a task finds in a picture, in a form that people can be shown: labels, boxes, outlines, masks, classes, maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Findings", "Found"]


@dataclass(frozen=True)
class Found:
    """One thing that is found: what it is called, how sure the task is (0 to 1), and, if it has a place, where.

    A place is a `box`, x1, y1, x2, y2 in the picture's pixels, or an `outline`, corners (x, y) of a polygon; `mask`
    (H, W) of booleans says which pixels belong to it. Without any of them it is of the picture as a whole.
    """

    label: str
    score: float | None = None
    box: Sequence[float] | None = None
    outline: Sequence[Sequence[float]] | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class Findings:
    """All that a task finds in one picture; whatever does not apply is left out.

    Args:
        found: things, the surest first.
        classes: a class for every pixel, (h, w) of integers from 0 on, in any size.
        names: what the classes are called, by number.
        heat: a number for every place, (h, w) from 0 to 1, in any size: how likely an edge is there, or text.
        heat_name: what the numbers of `heat` are.
    """

    found: Sequence[Found] = ()
    classes: Tensor | None = None
    names: Sequence[str] = ()
    heat: Tensor | None = None
    heat_name: str = ""
