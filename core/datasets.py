"""Training pictures: finding them, and random crops out of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from taskodec.errors import UsageError
from taskodec.files import IMAGE_SUFFIXES
from taskodec.images import load_image

__all__ = ["CropDataset", "list_images"]


def list_images(paths: Iterable[Path]) -> list[Path]:
    """The image files named, and those directly in the folders named, in order."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist; give image files or folders of images")
    if not found:
        raise UsageError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {', '.join(map(str, paths))}")
    return found


class CropDataset:
    """Random crops with a random flip; pictures are decoded once and kept in memory as bytes, (3, H, W) each.

    Pictures with a side below `least` pixels are left out, which a warning says; a UsageError when none is left.
    An ImageError names a file that cannot be read.
    """

    def __init__(self, paths: Sequence[Path], least: int) -> None:
        self.pictures: list[Tensor] = []
        for path in paths:
            x = load_image(path).x[0]
            if min(x.shape[1:]) >= least:
                self.pictures.append((x * 255).round().byte())
        if not self.pictures:
            raise UsageError(f"none of {len(paths)} images has both sides of {least} pixels or more")
        if small := len(paths) - len(self.pictures):
            warnings.warn(
                f"{small} of {len(paths)} training images are left out: they have a side of less than {least} pixels, "
                "the largest crop",
                stacklevel=2,
            )

    def crop(self, size: int, generator: torch.Generator) -> Tensor:
        """One crop (3, size, size) in [0, 1]."""
        index, top, left, flip = torch.rand(4, generator=generator).tolist()
        picture = self.pictures[int(index * len(self.pictures))]
        y = int(top * (picture.shape[1] - size + 1))
        x = int(left * (picture.shape[2] - size + 1))
        patch = picture[:, y : y + size, x : x + size]
        return (patch.flip(2) if flip < 0.5 else patch).float() / 255
