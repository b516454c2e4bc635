"""Pictures in a page: as data, within a number of bytes, and drawn as large as a page needs them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

__all__ = ["LARGEST", "Embedded", "embedded", "one_embedded", "shape_of"]

LARGEST = 1_600_000
"""Pixels of a picture in a page, at most; larger ones are reduced."""

QUALITIES = (None, 95, 88, 78, 65)
"""Of WebP, tried one after the other until pictures fit; None is lossless."""

SIDE = 16383
"""Pixels a side that WebP takes."""

FLAT = 6.0
"""Sides more unlike than this are drawn as if they were just so unlike: a line of pixels could not be seen."""


@dataclass(frozen=True)
class Embedded:
    """Pictures by key as data URIs, all of one size, and how exact they are."""

    data: Mapping[str, str]
    width: int
    height: int
    quality: int | None
    reduced: bool

    @property
    def about(self) -> str:
        """What to know of them, before anything is concluded from looking at them."""
        size = f"reduced to {self.width}×{self.height}" if self.reduced else "at full size"
        return f"{size}, {'every pixel as it is' if self.quality is None else f'WebP at quality {self.quality}'}"


def embedded(pictures: Mapping[str, Image.Image], budget: int) -> Embedded:
    """All of these, which are of one size, in at most about `budget` bytes of data URIs together.

    Losslessly if that fits, else as WebP of ever lower quality, then in ever smaller sizes; the same for all of them.
    """
    first = next(iter(pictures.values()))
    scale = min(1.0, (LARGEST / (first.width * first.height)) ** 0.5, SIDE / max(first.size))
    while True:
        size = (max(1, round(first.width * scale)), max(1, round(first.height * scale)))
        small = {
            key: picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)
            for key, picture in pictures.items()
        }
        for quality in QUALITIES:
            data = {key: one_embedded(picture, quality) for key, picture in small.items()}
            if sum(map(len, data.values())) <= budget or (quality == QUALITIES[-1] and max(size) <= 64):
                return Embedded(data, *size, quality, reduced=size != first.size)
            if quality is None and sum(map(len, data.values())) > 12 * budget:
                break  # far too large: no quality would do
        scale *= 0.7


def one_embedded(picture: Image.Image, quality: int | None = None) -> str:
    """One picture as a data URI."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True, "method": 3} if quality is None else {"quality": quality, "method": 4}
    picture.save(buffer, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def shape_of(width: int, height: int) -> tuple[float, float]:
    """Width and height that a picture is drawn with, in its own pixels; stretched if it is a mere line."""
    return max(width, height / FLAT), max(height, width / FLAT)
