"""Training pictures: finding them, and random crops out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from taskodec.errors import ImageError, UsageError

__all__ = ["SUFFIXES", "CropDataset", "list_images"]

SUFFIXES = frozenset({".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def list_images(paths: Iterable[Path]) -> list[Path]:
    """The image files named, and those directly in the folders named, in order."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        elif path.is_file():
            found.append(path)
        else:
            raise UsageError(f"{path} does not exist; give image files or folders of images")
    if not found:
        raise UsageError(f"no images ({', '.join(sorted(SUFFIXES))}) in {', '.join(map(str, paths))}")
    return found


class CropDataset:
    """Random crops with a random flip; pictures are decoded once and kept in memory as bytes."""

    def __init__(self, paths: Sequence[Path], least: int) -> None:
        self.pictures: list[npt.NDArray[np.uint8]] = []
        for path in paths:
            try:
                with Image.open(path) as picture:
                    array = np.asarray(picture.convert("RGB"))
            except OSError as error:
                raise ImageError(f"{path}: cannot be read as an image ({error}); remove it from the data") from error
            if min(array.shape[:2]) >= least:
                self.pictures.append(array)
        if not self.pictures:
            raise UsageError(f"none of {len(paths)} images has both sides of {least} pixels or more")

    def crop(self, size: int, generator: torch.Generator) -> Tensor:
        """One crop (3, size, size) in [0, 1]."""
        index, top, left, flip = torch.rand(4, generator=generator).tolist()
        picture = self.pictures[int(index * len(self.pictures))]
        y = int(top * (picture.shape[0] - size + 1))
        x = int(left * (picture.shape[1] - size + 1))
        patch = torch.from_numpy(picture[y : y + size, x : x + size].copy()).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        return (patch.flip(2) if flip < 0.5 else patch).float() / 255
