"""Class labels of images: a text file that lists them, or a folder for each class.

Read are taskodec's TSV and the forms in which ImageNet's validation labels go round: `NAME INDEX` with spaces, WordNet
ids in place of the index, and Kaggle's `LOC_val_solution.csv`. Not among them is the development kit's
`ILSVRC2012_validation_ground_truth.txt`, whose numbers are in an order of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from taskodec.errors import UsageError
from taskodec.files.atomic import read_limited
from taskodec.hooks.names import nearest
from taskodec.images.sets import list_images

__all__ = ["ClassLabels", "imagenet_names"]

MAX_DIGITS = 9
"""Of a class index; Python refuses to read numbers of thousands of digits."""

FORM = "valid: file name, class index from 0 or WordNet id, with tabs between them; or a folder with one for each class"

MAX_BYTES = 2**30

KAGGLE_HEAD = "ImageId,PredictionString"
WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class ClassLabels:
    """The class of each image of a file or folder of labels, by the image's file name."""

    path: Path
    classes: Mapping[str, int]
    lines: Mapping[str, int]
    """Where in the file each name stands, from 1; empty for folders."""

    @classmethod
    def read(cls, path: Path) -> ClassLabels:
        """The rows of a text file, or the folders of a folder; UsageError names what is none."""
        return cls._of_folder(path) if path.is_dir() else cls._of_file(path)

    @classmethod
    def _of_file(cls, path: Path) -> ClassLabels:
        try:
            rows = read_limited(path, MAX_BYTES).decode("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the labels {path}: {error}; {FORM}") from error
        classes: dict[str, int] = {}
        lines: dict[str, int] = {}
        for line, row in enumerate(rows, 1):
            if not row.strip() or row == KAGGLE_HEAD:
                continue
            name, index = _label(row, f"{path}, line {line}")
            if name in classes:
                raise UsageError(f"{path}, line {line}: {name!r} is in line {lines[name]} already; remove one")
            classes[name], lines[name] = index, line
        if not classes:
            raise UsageError(f"{path} holds no labels; {FORM}")
        return cls(path, classes, lines)

    @classmethod
    def _of_folder(cls, path: Path) -> ClassLabels:
        """Images in one folder for each class: ImageNet's index of a WordNet id, else the folder's place by name."""
        try:
            folders = sorted(folder.name for folder in path.iterdir() if folder.is_dir() and folder.name[0] != ".")
        except OSError as error:
            raise UsageError(f"cannot read the labels {path}: {error.strerror or error}; {FORM}") from error
        if not folders:
            raise UsageError(f"{path} has no folder for each class, such as n01440764/ of ImageNet; {FORM}")
        known = _imagenet() if all(map(WNID.fullmatch, folders)) else {}
        index = known if known.keys() >= set(folders) else {name: i for i, name in enumerate(folders)}
        images = list_images([path / name for name in folders])
        classes: dict[str, int] = {}
        for image in images:
            own = index[image.relative_to(path).parts[0]]
            if classes.setdefault(image.name, own) != own:
                raise UsageError(
                    f"{path} has images {image.name!r} of two classes, and labels go by file name: give each its own"
                )
        return cls(path, classes, {})

    @property
    def version(self) -> str | None:
        """16 hex digits that stand for the labels of folders, without the pictures in them; None for a file."""
        if self.lines:
            return None
        return hashlib.sha256(json.dumps(sorted(self.classes.items())).encode()).hexdigest()[:16]

    def of(self, name: str) -> int:
        """The class of this image; UsageError if the file has none for it."""
        if name not in self.classes and (stem := name.rpartition(".")[0]) in self.classes:
            return self.classes[stem]  # Kaggle's names have no suffix
        if name not in self.classes:
            hint = nearest(name, self.classes).rstrip("?")
            raise UsageError(
                f"{self.path} has no label for the image {name!r}{hint}: add a row, or leave the image out"
            )
        return self.classes[name]

    def check_classes(self, count: int) -> None:
        """UsageError for a class that a network of `count` classes does not know."""
        for name, index in self.classes.items():
            if index >= count:
                raise UsageError(
                    f"{self.path}{self._line(name)}: the network has no class {index}; valid: 0 to {count - 1}"
                )

    def _line(self, name: str) -> str:
        return f", line {self.lines[name]}" if name in self.lines else f", {name}"


def _label(row: str, place: str) -> tuple[str, int]:
    name, *rest = row.split("\t") if "\t" in row else _without_tabs(row)
    index = rest[0] if rest else ""
    if name and len(rest) <= 2 and WNID.fullmatch(index) and index in _imagenet():
        return name, _imagenet()[index]
    if not name or len(rest) > 2 or not (index.isascii() and index.isdecimal() and len(index) <= MAX_DIGITS):
        raise UsageError(f"{place}: {row[:80]!r} is no label; {FORM}")
    return name, int(index)


def _without_tabs(row: str) -> list[str]:
    """`NAME INDEX`, or Kaggle's `NAME,WNID x1 y1 x2 y2 …`, of which boxes do not matter."""
    name, comma, boxes = row.partition(",")
    return [name, boxes.split()[0]] if comma and boxes.split() else row.rsplit(maxsplit=1)


@cache
def _imagenet() -> Mapping[str, int]:
    """The place of each WordNet id among ImageNet's thousand."""
    from timm.data.imagenet_info import ImageNetInfo

    known: Any = ImageNetInfo("imagenet-1k")
    return {wnid: index for index, wnid in enumerate(known.label_names())}


@cache
def imagenet_names() -> Sequence[str]:
    """What ImageNet's thousand classes are called, the first of WordNet's words for each."""
    from timm.data.imagenet_info import ImageNetInfo

    known: Any = ImageNetInfo("imagenet-1k")
    return tuple(str(known.index_to_description(index)).partition(",")[0] for index in range(known.num_classes()))
