"""Compressing and decompressing, as work that any process can do: it is made anew where it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import torch

from taskodec.api.compressor import Compressor, Result
from taskodec.api.decompressor import Decompressor
from taskodec.console.progress import Progress
from taskodec.engines.steps import Outcome, Subject, Work, failure
from taskodec.files.inputs import STANDARD, NamedBytes, most_bytes
from taskodec.hooks.registry import Registry
from taskodec.images.tensors import encode_image
from taskodec.settings.model import Settings
from taskodec.sources.entries import Entry, read_entry
from taskodec.sources.remote import put_bytes

__all__ = ["Compressing", "Decompressing", "made", "picture_of"]


def made(kind: Callable[[Settings, Registry], Work], settings: Settings, registry: Registry) -> Work:
    """Work on a worker, with as many threads as it has processors."""
    torch.set_num_threads(max(1, int(settings.ray.cpus)))
    return kind(settings, registry)


class Compressing:
    """Makes streams of pictures; those of one size that come together are tuned together."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.compressor = Compressor(settings, registry)
        self.most = most_bytes(settings.limits.max_pixels)

    def __call__(self, subjects: Sequence[Subject], progress: Progress | None = None) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        pictures = {}
        for number, subject in enumerate(subjects):
            try:
                pictures[number] = picture_of(subject.entry, self.most)
            except BaseException as error:
                outcomes[number] = failure(error)
        try:
            results = self.compressor.compress_batch(list(pictures.values()), progress)
        except BaseException as error:
            outcomes |= dict.fromkeys(pictures, failure(error))
        else:
            for number, result in zip(pictures, results, strict=True):
                outcomes[number] = _outcome(subjects[number], result)
        return [outcomes[number] for number in range(len(subjects))]


class Decompressing:
    """Makes pictures of streams."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.decompressor = Decompressor(settings, registry)
        self.most = most_bytes(settings.limits.max_pixels)

    def __call__(self, subjects: Sequence[Subject], progress: Progress | None = None) -> list[Outcome]:
        return [self._one(subject, progress) for subject in subjects]

    def _one(self, subject: Subject, progress: Progress | None) -> Outcome:
        start = time.perf_counter()
        try:
            data = read_entry(subject.entry, self.most)
            image = self.decompressor.decompress(data, progress=progress)
            made = _delivered(subject, encode_image(image, Path(subject.target)))
            seconds = round(time.perf_counter() - start, 3)
            about = {"bytes": len(data), "width": image.width, "height": image.height, "seconds": seconds}
            return Outcome(about, made)
        except BaseException as error:
            return failure(error)


def _outcome(subject: Subject, result: Result | Exception) -> Outcome:
    if isinstance(result, Exception):
        return failure(result)
    if not subject.wanted:
        return Outcome()
    try:
        report = result.report()
        return Outcome(report, _delivered(subject, result.stream))
    except BaseException as error:
        return failure(error)


def _delivered(subject: Subject, data: bytes) -> bytes | None:
    """Write an object at a URL, from wherever it was made; other outputs are written by who asked for them."""
    if not subject.sent:
        return data
    put_bytes(subject.target, data)
    return None


def picture_of(entry: Entry, most: int) -> Path | BinaryIO:
    """What the API takes for an entry."""
    if entry.path is not None and entry.path != STANDARD and entry.data is None:
        return entry.path
    return NamedBytes(read_entry(entry, most), "standard input" if entry.path == STANDARD else entry.name)
