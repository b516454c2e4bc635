"""Training pictures, on this machine or at URLs: which there are, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, TypeAlias

from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.files.atomic import IMAGE_SUFFIXES
from taskodec.files.inputs import NamedBytes, most_bytes
from taskodec.images.sets import list_images
from taskodec.pixels.pillow import opened_size, picture_size
from taskodec.sources.archives import is_archive
from taskodec.sources.remote import is_url, open_url, read_url
from taskodec.sources.walking import Inputs

__all__ = ["Picture", "list_pictures", "opened", "size_of"]

Picture: TypeAlias = Path | str
"""A file, or the URL of an object."""


def list_pictures(names: Iterable[Picture], only: Path | None = None) -> list[Picture]:
    """The pictures of files, folders at any depth, COCO's JSON, and URLs of objects and folders, in order.

    `only` is as for `list_images`, and for what is on this machine. UsageError for what is not there.
    """
    given = [str(name) for name in names]
    if not any(map(is_url, given)):
        return list(list_images(map(Path, given), only))
    if only is not None:
        raise UsageError("--only chooses among pictures on this machine: leave it out with URLs, or give their folder")
    found: list[Picture] = []
    for remote, group in groupby(given, is_url):
        same = list(group)
        found += [one for url in same for one in _at(url)] if remote else list_images(map(Path, same))
    return found


def _at(url: str) -> list[Picture]:
    if is_archive(url):
        raise UsageError(f"{url} is an archive, which is read from its start; training draws pictures: unpack it")
    inputs = Inputs([url], IMAGE_SUFFIXES, recursive=True)
    found: list[Picture] = []
    for element in inputs.elements():
        if (error := getattr(element, "error", None)) is not None:
            raise error
        found.append(element.name)  # type: ignore[union-attr]
    return found


@contextmanager
def opened(picture: Picture, max_pixels: int) -> Iterator[Path | IO[bytes]]:
    """What is read of a picture; ImageError if it cannot be had."""
    if isinstance(picture, Path):
        yield picture
        return
    try:
        data = NamedBytes(read_url(picture, most_bytes(max_pixels)), picture)
    except TaskodecError as error:
        raise ImageError(str(error)) from error
    yield data


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height from the header; ImageError if it cannot be read."""
    if isinstance(picture, Path):
        return picture_size(picture)
    try:
        with open_url(picture) as file:
            return opened_size(file, picture)
    except ImageError:
        raise
    except (TaskodecError, OSError) as error:
        raise ImageError(f"cannot open {picture}: {error}") from error
