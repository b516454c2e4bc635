"""Classical codecs to compare with: JPEG, WebP, AVIF and JPEG 2000, as Pillow writes them.

They are measured by real files: `len(anchor.encode(image, quality))` is every byte of one.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, UnidentifiedImageError, features

from taskodec.errors import ImageError, UsageError

__all__ = ["ANCHORS", "Anchor", "anchor"]

FEATURES = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What Pillow calls its ability to write a format."""


@dataclass(frozen=True)
class Anchor:
    """One format with its settings.

    Args:
        name: for tables and figures.
        format: Pillow's name of the format.
        qualities: levels that span the useful rates, from small files to large ones.
        options: what Pillow is told beside the quality.
    """

    name: str
    format: str
    qualities: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, image: Image.Image, quality: float) -> bytes:
        """The image as a file of this format.

        `quality` is the format's own scale, 0 (1 for JPEG) to 100; for JPEG 2000 it is the compression ratio
        against 24 bits per pixel, so there a high value is a small file.
        """
        self._check()
        if self.format == "JPEG2000":
            level: dict[str, Any] = {"quality_layers": [_within(self, quality, 1, 10_000)]}
        else:
            level = {"quality": int(_within(self, quality, 1 if self.format == "JPEG" else 0, 100))}
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, self.format, **level, **self.options)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        """The RGB image in a file of this format. Raises ImageError if it is none."""
        self._check()
        try:
            with Image.open(io.BytesIO(data), formats=[self.format]) as image:
                return image.convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise ImageError(f"these {len(data)} bytes are no readable {self.name} file: {error}") from error

    def _check(self) -> None:
        if not features.check(FEATURES[self.format]):
            raise UsageError(
                f"this Pillow cannot write {self.name}; install one that can, such as the wheel of Pillow 11.3 or later"
            )


ANCHORS: Mapping[str, Anchor] = {
    one.name: one
    for one in (
        Anchor("jpeg", "JPEG", (5, 10, 15, 20, 30, 40, 55, 70, 80, 90), {"optimize": True, "subsampling": "4:2:0"}),
        Anchor("webp", "WEBP", (1, 5, 10, 20, 30, 45, 60, 75, 85, 92), {"method": 6}),
        Anchor("avif", "AVIF", (5, 10, 20, 30, 40, 50, 60, 70, 80, 90), {"speed": 4, "subsampling": "4:2:0"}),
        Anchor(
            "jpeg2000",
            "JPEG2000",
            (240, 160, 120, 80, 60, 40, 30, 20, 15, 10),
            {"quality_mode": "rates", "irreversible": True},
        ),
    )
}
"""The anchors by name."""


def anchor(name: str) -> Anchor:
    """The anchor of this name; UsageError if there is none."""
    if name not in ANCHORS:
        raise UsageError(f"there is no anchor {name!r}; valid: {', '.join(ANCHORS)}")
    return ANCHORS[name]


def _within(one: Anchor, quality: float, low: float, high: float) -> float:
    if not low <= quality <= high:
        raise UsageError(f"quality {quality:g} is not valid for {one.name}; valid: {low:g} to {high:g}")
    return quality
