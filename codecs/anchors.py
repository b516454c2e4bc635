"""Classical codecs to compare with: JPEG, WebP, AVIF and JPEG 2000, as Pillow writes them.

They are measured by real files: `len(anchor.encode(image, quality))` is every byte of one. Their levels span
about 0.1 to 2 bits per pixel on photographs.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import PIL
from PIL import Image, features

from taskodec.errors import ImageError, UsageError
from taskodec.pixels.pillow import encode_picture, open_picture, reading

__all__ = ["PillowAnchor", "avif", "jpeg", "jpeg2000", "webp"]

FEATURES = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What Pillow calls its ability to write a format."""


@dataclass(frozen=True)
class PillowAnchor:
    """One format of Pillow with its settings.

    Args:
        name: for messages.
        format: Pillow's name of the format.
        qualities: levels that span the useful rates, from small files to large ones.
        options: what Pillow is told beside the quality.
    """

    name: str
    format: str
    qualities: tuple[float, ...]
    options: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The version of Pillow, and the options."""
        return ", ".join([f"Pillow {PIL.__version__}", *(f"{key}={value}" for key, value in self.options.items())])

    def encode(self, image: Image.Image, quality: float) -> bytes:
        """The image as a file of this format.

        `quality` is the format's own scale, 0 (1 for JPEG) to 100; for JPEG 2000 it is the compression ratio
        against 24 bits per pixel, so there a high value is a small file.
        """
        self._check()
        if self.format == "JPEG2000":
            level: dict[str, Any] = {"quality_layers": [self._within(quality, 1, 10_000)]}
        else:
            level = {"quality": int(self._within(quality, 1 if self.format == "JPEG" else 0, 100))}
        return encode_picture(image.convert("RGB"), self.format, **level, **self.options)

    def decode(self, data: bytes) -> Image.Image:
        """The RGB image in a file of this format, of any size. Raises ImageError if it is none."""
        self._check()
        name = f"these {len(data)} bytes"
        try:
            with reading(name, sys.maxsize), open_picture(io.BytesIO(data), name, [self.format]) as image:
                return image.convert("RGB")
        except ImageError as error:
            raise ImageError(f"{name} are no readable {self.name} file: {error}") from error

    def _check(self) -> None:
        if not features.check(FEATURES[self.format]):
            raise UsageError(
                f"this Pillow cannot write {self.name}; install one that can, such as the wheel of Pillow 11.3 or later"
            )

    def _within(self, quality: float, low: float, high: float) -> float:
        if not low <= quality <= high:
            raise UsageError(f"quality {quality:g} is not valid for {self.name}; valid: {low:g} to {high:g}")
        return quality


def jpeg() -> PillowAnchor:
    """JPEG with colours at half the resolution and optimised Huffman tables."""
    levels = (3, 7, 12, 18, 28, 40, 55, 72, 86, 94)
    return PillowAnchor("jpeg", "JPEG", levels, {"optimize": True, "subsampling": "4:2:0"})


def webp() -> PillowAnchor:
    """WebP with the slowest, best search."""
    return PillowAnchor("webp", "WEBP", (0, 5, 12, 24, 40, 58, 75, 85, 91, 96), {"method": 6})


def avif() -> PillowAnchor:
    """AVIF with colours at half the resolution."""
    levels = (5, 15, 25, 35, 45, 55, 65, 75, 85, 92)
    return PillowAnchor("avif", "AVIF", levels, {"speed": 4, "subsampling": "4:2:0"})


def jpeg2000() -> PillowAnchor:
    """JPEG 2000 with the irreversible wavelet and colour transform, at given compression ratios."""
    levels = (240, 160, 120, 80, 60, 40, 30, 20, 15, 12)
    return PillowAnchor("jpeg2000", "JPEG2000", levels, {"quality_mode": "rates", "irreversible": True, "mct": 1})
