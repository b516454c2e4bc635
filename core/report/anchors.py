"""The file of another format whose size is closest to a given one: what the bytes would buy there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from taskodec.errors import PluginError, TaskodecError, UsageError
from taskodec.hooks.specs import Anchor
from taskodec.isolation.faults import named
from taskodec.report.plain import bounded, closest

__all__ = ["AnchorFile", "anchor_near"]


@dataclass(frozen=True)
class AnchorFile:
    """A file, its level on the scale of its format, and its picture; `bounded` as in `taskodec.report.plain.Plain`."""

    quality: float
    data: bytes = field(repr=False)
    image: Image.Image
    bounded: str = ""


def anchor_near(anchor: Anchor, name: str, picture: Image.Image, wanted: int) -> AnchorFile:
    """The anchor's file of this RGB picture whose size is closest to `wanted` bytes, at a whole number of its scale.

    Its `qualities` say between which, but levels below are tried as long as files are too large and it has them.
    """
    with named(f"anchor {name!r} raised", PluginError, TaskodecError):
        files: dict[float, bytes] = {}

        def bytes_at(level: float) -> int:
            if level not in files:
                files[level] = anchor.encode(picture, level)
            return len(files[level])

        levels = _levels(anchor)
        if bytes_at(levels[0]) > bytes_at(levels[-1]):  # a scale of ratios, on which high is small
            levels.reverse()
        sizes: dict[float, int] = {}
        level = closest(levels, wanted, bytes_at, sizes)
        while level == min(files) and bytes_at(level) > wanted and _has(bytes_at, level - 1):
            level -= 1
            sizes[level] = bytes_at(level)
        level = min(sizes, key=lambda one: (abs(sizes[one] - wanted), one))
        return AnchorFile(level, files[level], anchor.decode(files[level]), bounded(sizes, level, wanted))


def _levels(anchor: Anchor) -> list[float]:
    """Whole numbers within the scale; the levels themselves of one that is finer than that."""
    low, high = min(anchor.qualities), max(anchor.qualities)
    whole = [float(level) for level in range(-int(-low // 1), int(high // 1) + 1)]
    return whole if len(whole) >= len(anchor.qualities) else sorted(anchor.qualities)


def _has(bytes_at: Callable[[float], int], level: float) -> bool:
    """Whether the scale goes on as far as this."""
    if level < 0:
        return False
    try:
        bytes_at(level)
    except UsageError:
        return False
    return True
