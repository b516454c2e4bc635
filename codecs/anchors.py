"""Classical codecs to compare with: JPEG, WebP, AVIF, JPEG XL and JPEG 2000, as Pillow writes them.

They are measured by real files: `len(anchor.encode(image, quality))` is every byte of one. Their levels span
about 0.1 to 2 bits per pixel on photographs.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import PIL
from PIL import Image, features

from taskodec.errors import ImageError, UsageError
from taskodec.extras import require
from taskodec.pixels.pillow import encode_picture, open_picture, reading

__all__ = [
    "AT_MOST",
    "PillowAnchor",
    "avif",
    "avif_420",
    "avif_444",
    "jpeg",
    "jpeg2000",
    "jpegxl",
    "level_within",
    "rgb_picture",
    "webp",
]

FEATURES = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What Pillow calls its ability to write a format."""

PLUGINS = {"JXL": ("pillow_jxl", "pillow-jxl-plugin")}
"""Modules that teach Pillow a format once they are imported, and the packages that bring them."""

AT_MOST: Mapping[str, Any] = {"speed": 2, "codec": "aom", "autotiling": False, "advanced": {"tune": "psnr"}}
"""AVIF at its best: a slow search, for PSNR, and no tiles, which cost bits.

libavif tunes for other measures unless it is told, which costs 3 to 11 % by PSNR on photographs.
"""


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
        """The version of Pillow, and of its plugin, and the options."""
        writers = [f"Pillow {PIL.__version__}"]
        if self.format in PLUGINS:
            package = PLUGINS[self.format][1]
            writers.append(f"{package} {version(package)}")
        return ", ".join([*writers, *(f"{key}={value}" for key, value in self.options.items())])

    def encode(self, image: Image.Image, quality: float) -> bytes:
        """The image as a file of this format.

        `quality` is the format's own scale, 0 (1 for JPEG) to 100; for JPEG 2000 it is the compression ratio
        against 24 bits per pixel, so there a high value is a small file.
        """
        self._check()
        if self.format == "JPEG2000":
            level: dict[str, Any] = {"quality_layers": [level_within(self.name, quality, 1, 10_000)]}
        else:
            level = {"quality": int(level_within(self.name, quality, 1 if self.format == "JPEG" else 0, 100))}
        return encode_picture(image.convert("RGB"), self.format, **level, **self.options)

    def decode(self, data: bytes) -> Image.Image:
        """The RGB image in a file of this format, of any size. Raises ImageError if it is none."""
        self._check()
        return rgb_picture(self.name, self.format, data)

    def _check(self) -> None:
        if self.format in PLUGINS:
            module = PLUGINS[self.format][0]
            require("anchors", f"anchor {self.name!r}", only=[module])
            importlib.import_module(module)
        elif not features.check(FEATURES[self.format]):
            raise UsageError(
                f"this Pillow cannot write {self.name}; install one that can, such as the wheel of Pillow 11.3 or later"
            )


def rgb_picture(name: str, form: str, data: bytes) -> Image.Image:
    """The RGB image in a file of one of Pillow's formats, of any size; ImageError, which says `name`, if it is none."""
    what = f"these {len(data)} bytes"
    try:
        with reading(what, sys.maxsize), open_picture(io.BytesIO(data), what, [form]) as image:
            return image.convert("RGB")
    except ImageError as error:
        raise ImageError(f"{what} are no readable {name} file: {error}") from error


def level_within(name: str, quality: float, low: float, high: float) -> float:
    """The quality, if an anchor has it; else UsageError."""
    if not low <= quality <= high:
        raise UsageError(f"quality {quality:g} is not valid for {name}; valid: {low:g} to {high:g}")
    return quality


def jpeg() -> PillowAnchor:
    """JPEG with colours at half the resolution and optimised Huffman tables."""
    levels = (3, 7, 12, 18, 28, 40, 55, 72, 86, 94)
    return PillowAnchor("jpeg", "JPEG", levels, {"optimize": True, "subsampling": "4:2:0"})


def webp() -> PillowAnchor:
    """WebP with the slowest, best search."""
    return PillowAnchor("webp", "WEBP", (0, 5, 12, 24, 40, 58, 75, 85, 91, 96), {"method": 6})


def avif() -> PillowAnchor:
    """AVIF as it is commonly written: colours at half the resolution, in little time, tuned as libavif does."""
    levels = (5, 15, 25, 35, 45, 55, 65, 75, 85, 92)
    return PillowAnchor("avif", "AVIF", levels, {"speed": 4, "subsampling": "4:2:0"})


def avif_420() -> PillowAnchor:
    """AVIF at its best by PSNR with colours at half the resolution."""
    levels = (5, 20, 38, 55, 69, 80, 90)
    return PillowAnchor("avif-420", "AVIF", levels, {**AT_MOST, "subsampling": "4:2:0"})


def avif_444() -> PillowAnchor:
    """AVIF at its best by PSNR with colours at full resolution."""
    levels = (5, 20, 38, 55, 69, 80, 88)
    return PillowAnchor("avif-444", "AVIF", levels, {**AT_MOST, "subsampling": "4:4:4"})


def jpegxl() -> PillowAnchor:
    """JPEG XL, lossy (VarDCT); its scale ends at the lowest quality that the package has."""
    return PillowAnchor("jpegxl", "JXL", (0, 8, 20, 40, 60, 78, 93), {"effort": 9, "lossless": False})


def jpeg2000() -> PillowAnchor:
    """JPEG 2000 with the irreversible wavelet and colour transform, at given compression ratios."""
    levels = (240, 160, 120, 80, 60, 40, 30, 20, 15, 12)
    return PillowAnchor("jpeg2000", "JPEG2000", levels, {"quality_mode": "rates", "irreversible": True, "mct": 1})
