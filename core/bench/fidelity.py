"""Measuring codecs on images: the bytes of real files, the fidelity of what they decode to, and seconds.

Every point goes into a file as soon as it is measured, so that a benchmark that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from taskodec.bench.coders import Entry
from taskodec.bench.rows import RowFile
from taskodec.console.progress import Progress
from taskodec.errors import TaskodecError, UsageError
from taskodec.images.metrics import Metric, ms_ssim_loss, psnr
from taskodec.images.tensors import MAX_PIXELS, load_image, to_pil
from taskodec.isolation.ambient import in_clean_state

__all__ = ["Point", "PointFile", "Source", "check_once", "run_bench", "sources"]

Key = tuple[str, str, str, str, float]
"""Of a point: digest, codec, version, device, quality."""

WARM_UP = 64
"""Side of the piece of an image that each coder codes once before it is timed."""


@dataclass(frozen=True)
class Source:
    """An image file, and the first 16 hex digits of its SHA-256."""

    path: Path
    digest: str


@dataclass(frozen=True)
class Point:
    """One image, coded and decoded by one codec at one quality.

    `bpp` is 8 * bytes / pixels of the whole file; `psnr` (dB), `ms_ssim` and `lpips` compare 8-bit pictures.
    """

    image: str
    digest: str
    codec: str
    anchor: bool
    version: str
    device: str
    quality: float
    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float
    lpips: float | None
    encode_seconds: float
    decode_seconds: float

    @property
    def key(self) -> Key:
        """What must be the same for a point to hold again."""
        return (self.digest, self.codec, self.version, self.device, self.quality)


class PointFile(RowFile[Point]):
    """The points of a benchmark, in the order they were measured."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Point, "point of a benchmark")


def sources(paths: Sequence[Path]) -> list[Source]:
    """The images to measure on; UsageError if two have one name, or one cannot be read."""
    names = [path.name for path in paths]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"several images are called {', '.join(repeated)}: tables name images, so rename all but one")
    if special := [str(path) for path in paths if path.exists() and not path.is_file()]:
        raise UsageError(
            f"{', '.join(special)}: no regular file; images are read several times, so write them to files"
        )
    try:
        return [Source(path, hashlib.sha256(path.read_bytes()).hexdigest()[:16]) for path in paths]
    except OSError as error:
        raise UsageError(f"cannot open {error.filename}: {error.strerror or error}") from error


def check_once(entries: Sequence[Entry]) -> None:
    """UsageError if two entries have one name."""
    names = [entry.name for entry in entries]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{', '.join(repeated)} would be measured twice: name every codec and anchor once")


@in_clean_state
def run_bench(
    images: Sequence[Source],
    entries: Sequence[Entry],
    file: PointFile,
    *,
    lpips: Metric | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> list[Point]:
    """All points of these images and entries; those that the file has already are taken from there.

    Each is in the file before the next begins. The first failure ends the benchmark: means over different
    images could not be compared.
    """
    check_once(entries)
    if senseless := [entry.name for entry in entries if not entry.fidelity]:
        raise UsageError(
            f"{', '.join(senseless)}: for timing only, its pictures and rates mean nothing; leave it out, or measure "
            "seconds with --speed"
        )
    points: list[Point] = []
    total = len(images) * sum(len(entry.qualities) for entry in entries)
    for entry in entries:
        for quality in entry.qualities:
            run = _Run(entry, quality, lpips, max_pixels)
            for source in images:
                point = file.find(run.key(source))
                if point is None or (lpips is not None and point.lpips is None):
                    point = run.measure(source)
                    file.add(point)
                points.append(replace(point, image=source.path.name))  # the file may know it by another name
                if progress is not None:
                    progress(len(points), total, {"bpp": point.bpp, "psnr": point.psnr})
    return points


class _Run:
    """One codec at one quality on image after image."""

    def __init__(self, entry: Entry, quality: float, lpips: Metric | None, max_pixels: int) -> None:
        self.entry, self.quality, self.lpips, self.max_pixels = entry, quality, lpips, max_pixels
        self.coder = entry.at(quality)
        self.warm = False

    def key(self, source: Source) -> Key:
        """The key that the point of this image has."""
        return (source.digest, self.entry.name, self.coder.version, self.coder.device, self.quality)

    def measure(self, source: Source) -> Point:
        """The point of one image; errors say what was measured."""
        try:
            picture = to_pil(load_image(source.path, max_pixels=self.max_pixels).x)  # every codec gets 8-bit RGB
            if not self.warm:
                self.coder.decode(self.coder.encode(picture.crop((0, 0, WARM_UP, WARM_UP))))
                self.warm = True
            return self._measure(source, picture)
        except TaskodecError as error:
            raise type(error)(f"{self.entry.name}, quality {self.quality:g}, {source.path}: {error}") from error

    @torch.no_grad()
    def _measure(self, source: Source, picture: Image.Image) -> Point:
        started = time.perf_counter()
        data = self.coder.encode(picture)
        encoded = time.perf_counter()
        decoded = self.coder.decode(data)
        finished = time.perf_counter()
        if decoded.size != picture.size:
            raise TaskodecError(f"decoded to {decoded.size} pixels, the image has {picture.size}")
        x, x_hat = (load_image(image, max_pixels=self.max_pixels).x for image in (picture, decoded))
        return Point(
            image=source.path.name,
            digest=source.digest,
            codec=self.entry.name,
            anchor=self.entry.anchor,
            version=self.coder.version,
            device=self.coder.device,
            quality=self.quality,
            width=picture.width,
            height=picture.height,
            bytes=len(data),
            bpp=8 * len(data) / (picture.width * picture.height),
            psnr=psnr(x_hat, x),
            ms_ssim=1 - float(ms_ssim_loss(x_hat, x)),
            lpips=None if self.lpips is None else self.lpips(x_hat, x),
            encode_seconds=encoded - started,
            decode_seconds=finished - encoded,
        )
