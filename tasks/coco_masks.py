"""Masks of objects in COCO's forms, checked: pycocotools computes with whatever numbers it is given, or crashes.

A mask is a list of polygons, `[x1, y1, x2, y2, …]` each, or run lengths of background and object in turn, down the
columns, as numbers or in COCO's letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taskodec.console.terminal import shown

__all__ = ["Mask", "Polygons", "Runs", "decode_runs", "read_mask"]

Points = npt.NDArray[np.float64]

FARTHEST = 2.0**31
"""No coordinate is farther from zero than this: what is would be no mask but a mistake."""

BOUNDARY = 2**21
"""Most pixels that the polygons of an object may go along, which is what drawing them costs."""

ROUNDING = 1.0
"""Pixels that tools are off by at a picture's edge, of which nothing is said."""


@dataclass(frozen=True)
class Polygons:
    """An object's polygons, (n, 2) points x, y each, in a picture of this height and width."""

    points: Sequence[Points]
    size: tuple[int, int]

    @property
    def beyond(self) -> bool:
        """Whether some lie outside the picture; the mask ends at its edge."""
        return any(bool(((p < -ROUNDING) | (p > _corner(self.size) + ROUNDING)).any()) for p in self.points)

    def rle(self) -> Any:
        """The mask as pycocotools' compressed run lengths."""
        from pycocotools import mask

        flat = [points.reshape(-1).tolist() for points in self.points]  # (n, 2) -> (2 n,)
        return mask.merge(mask.frPyObjects(flat, *self.size))


@dataclass(frozen=True)
class Runs:
    """Run lengths, background first, that fill a picture of this height and width."""

    counts: npt.NDArray[np.int64]
    size: tuple[int, int]
    beyond = False

    def rle(self) -> Any:
        """The mask as pycocotools' compressed run lengths."""
        from pycocotools import mask

        return mask.frPyObjects({"size": list(self.size), "counts": self.counts.tolist()}, *self.size)


Mask = Polygons | Runs


def read_mask(segmentation: Any, size: tuple[int, int]) -> Mask:
    """The mask of an annotation in a picture of this height and width; ValueError says what is wrong with it."""
    if isinstance(segmentation, list):
        if not segmentation:
            raise ValueError("segmentation has no polygon")
        polygons = [_polygon(one, size) for one in segmentation]
        length = sum(_length(points) for points in polygons)
        if length > BOUNDARY:
            raise ValueError(f"its polygons are {length:.0f} pixels long, more than {BOUNDARY} of one object")
        return Polygons([points for points in polygons if len(points) > 2] or [np.zeros((3, 2))], size)
    if isinstance(segmentation, Mapping):
        return Runs(_runs(segmentation, size), size)
    raise ValueError(f"segmentation {shown(segmentation)} is neither a list of polygons nor run lengths")


def _polygon(one: Any, size: tuple[int, int]) -> Points:
    """The points (n, 2); those far outside are cut off at a picture's side from its edge, which changes no mask."""
    if not isinstance(one, list) or len(one) < 6 or len(one) % 2 or not set(map(type, one)) <= {int, float}:
        raise ValueError(f"polygon {shown(one)} is not an even number of coordinates, of three points at least")
    try:
        points: Points = np.array(one, dtype=np.float64).reshape(-1, 2)  # (2 n,) -> (n, 2)
    except OverflowError:  # whole numbers may be larger than any float
        points = np.full((1, 2), np.inf)
    if not (np.abs(points) <= FARTHEST).all():  # false for NaN too
        raise ValueError(f"polygon {shown(one)} has coordinates that are not finite, or beyond any picture")
    corner = _corner(size)
    near = ((points >= -corner) & (points <= 2 * corner)).all()
    return points if near else _cut(points, -corner, 2 * corner)


def _cut(points: Points, low: Points, high: Points) -> Points:
    """The part of a polygon in a rectangle, (m, 2) and perhaps empty (Sutherland and Hodgman 1974)."""
    for axis, bound, sign in ((0, low[0], 1), (0, high[0], -1), (1, low[1], 1), (1, high[1], -1)):
        if not len(points):
            break
        following = np.roll(points, -1, axis=0)
        inside = sign * (points[:, axis] - bound) >= 0
        crosses = inside != np.roll(inside, -1)
        span = np.where(crosses, following[:, axis] - points[:, axis], 1.0)
        crossing = points + ((bound - points[:, axis]) / span)[:, None] * (following - points)
        crossing[:, axis] = bound
        both = np.stack([points, crossing], 1).reshape(-1, 2)  # (n, 2 of kinds, 2) -> (2 n, 2)
        points = both[np.stack([inside, crosses], 1).reshape(-1)]  # (n, 2) -> (2 n,)
    return points


def _length(points: Points) -> float:
    """Pixels along the boundary, as they are drawn: the longer of the two sides of every step."""
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()) if len(points) else 0.0


def _runs(segmentation: Mapping[str, Any], size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The counts, without runs of no length but the first; pycocotools stops early at some of them."""
    found, given = segmentation.get("size"), segmentation.get("counts")
    if found != list(size):
        raise ValueError(f"a mask has the size {shown(found)}, its image {list(size)}")
    if isinstance(given, str):
        counts = decode_runs(given)
    elif isinstance(given, list) and given and set(map(type, given)) == {int}:
        counts = _whole(given)
    else:
        raise ValueError(f"counts {shown(given)} are neither a list of whole numbers nor COCO's letters for them")
    if counts.min() < 0 or counts.max() > size[0] * size[1] or int(counts.sum()) != size[0] * size[1]:
        raise ValueError(f"counts {shown(given)} must be at least 0 and sum to {size[0]} * {size[1]} pixels")
    kept = counts > 0
    kept[0] = True
    if kept.all():
        return counts
    ends = np.cumsum(counts)[kept]
    colours = np.flatnonzero(kept) % 2  # of two runs of one colour, between which one was empty, the second is kept
    last = np.append(colours[1:] != colours[:-1], True)
    return np.diff(ends[last], prepend=0)


def _whole(given: Sequence[int]) -> npt.NDArray[np.int64]:
    try:
        return np.array(given, dtype=np.int64)
    except OverflowError:
        raise ValueError(f"counts {shown(given)} are beyond any picture") from None


def decode_runs(letters: str) -> npt.NDArray[np.int64]:
    """The counts that COCO's letters stand for; ValueError if they stand for none.

    Five bits a letter, the lowest first, 32 says that more follow, the highest of the last is the sign. From the fourth
    count on, they are differences to the last but one.
    """
    codes = np.frombuffer(letters.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError(f"counts {shown(letters)} are not in COCO's letters")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError(f"counts {shown(letters)} are beyond any picture")
    places = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    counts = np.add.reduceat((codes & 31) << places, starts)
    counts -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for parity in (1, 2):
        counts[parity::2] = np.cumsum(counts[parity::2])
    return counts


def _corner(size: tuple[int, int]) -> Points:
    """The picture's width and height, as a point."""
    return np.array([size[1], size[0]], dtype=np.float64)
