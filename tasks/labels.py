"""Class labels of images, as a text file lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskodec.errors import UsageError
from taskodec.names import nearest

__all__ = ["ClassLabels"]

MAX_DIGITS = 9
"""Of a class index; Python refuses to read numbers of thousands of digits."""

FORM = "valid: file name, class index from 0 and, if you like, a WordNet id, with tabs between them"


@dataclass(frozen=True)
class ClassLabels:
    """The class of each image of a file of labels, by the image's file name."""

    path: Path
    classes: Mapping[str, int]
    lines: Mapping[str, int]
    """Where in the file each name stands, from 1."""

    @classmethod
    def read(cls, path: Path) -> ClassLabels:
        """The rows of a TSV: file name, class index, optionally a WordNet id; no head. UsageError names a bad line."""
        try:
            rows = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the labels {path}: {error}; {FORM}") from error
        classes: dict[str, int] = {}
        lines: dict[str, int] = {}
        for line, row in enumerate(rows, 1):
            if not row.strip():
                continue
            name, index = _label(row, f"{path}, line {line}")
            if name in classes:
                raise UsageError(f"{path}, line {line}: {name!r} is in line {lines[name]} already; remove one")
            classes[name], lines[name] = index, line
        if not classes:
            raise UsageError(f"{path} holds no labels; {FORM}")
        return cls(path, classes, lines)

    def of(self, name: str) -> int:
        """The class of this image; UsageError if the file has none for it."""
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
                    f"{self.path}, line {self.lines[name]}: the network has no class {index}; valid: 0 to {count - 1}"
                )


def _label(row: str, place: str) -> tuple[str, int]:
    name, *rest = row.split("\t")
    index = rest[0] if rest else ""
    if not name or len(rest) > 2 or not (index.isascii() and index.isdecimal() and len(index) <= MAX_DIGITS):
        raise UsageError(f"{place}: {row[:80]!r} is no label; {FORM}")
    return name, int(index)
