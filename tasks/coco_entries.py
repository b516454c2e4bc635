"""The entries of COCO's JSON, checked: images, categories, and the box of an annotation.

All raise ValueError with what was found. Whole numbers may be written as floats (`480.0`), as some tools do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from taskodec.console.terminal import shown
from taskodec.tasks.coco_masks import ROUNDING

__all__ = ["Id", "Picture", "entries", "read_categories", "read_id", "read_object", "read_pictures"]

MAX_SIDE, MAX_PIXELS = 2**17, 2**28
MAX_CATEGORY = 2**31 - 1
MAX_AREA = 1e10
"""Objects of a larger area are none of "all sizes" to COCO's evaluation, and would be passed over."""

Id = int | str


@dataclass(frozen=True)
class Picture:
    """An image of the file."""

    id: Id
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def entries(content: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects in the list of this name."""
    if not isinstance(content, dict):
        raise ValueError(f"found {shown(content)}, expected an object with `images` and `annotations`")
    if name not in content:
        raise ValueError(f"it has no {name!r}")
    found = content[name]
    if not isinstance(found, list):
        raise ValueError(f"{name} is {shown(found)}, expected a list")
    for place, one in enumerate(found):
        if not isinstance(one, dict):
            raise ValueError(f"{name}[{place}] is {shown(one)}, expected an object")
    return found


def read_pictures(content: Any) -> dict[str, Picture]:
    """The images by their file names, without folders; neither names nor ids may come twice."""
    found: dict[str, Picture] = {}
    ids: set[Id] = set()
    for place, one in enumerate(entries(content, "images")):
        what = f"images[{place}]"
        name = one.get("file_name")
        if not isinstance(name, str) or not PurePosixPath(name).name:
            raise ValueError(f"{what} has the file_name {shown(name)}, expected a name")
        name = PurePosixPath(name).name
        picture = Picture(
            read_id(one, "id", what), *(_whole(one, side, what, 1, MAX_SIDE) for side in ("height", "width"))
        )
        if picture.height * picture.width > MAX_PIXELS:
            raise ValueError(f"{what} has {picture.width}x{picture.height} pixels, more than the limit of {MAX_PIXELS}")
        if name in found or picture.id in ids:
            twice = f"file_name {name!r}" if name in found else f"id {picture.id!r}"
            raise ValueError(f"{what}: {twice} comes twice (folders do not count); give each image its own")
        found[name] = picture
        ids.add(picture.id)
    return found


def read_categories(content: Mapping[str, Any]) -> Collection[int] | None:
    """The ids of categories; None if the file does not list any."""
    if content.get("categories") is None:
        return None
    ids = [
        _whole(one, "id", f"categories[{place}]", 0, MAX_CATEGORY)
        for place, one in enumerate(entries(content, "categories"))
    ]
    found = set(ids)
    if len(found) < len(ids):
        raise ValueError(f"categories: id {Counter(ids).most_common(1)[0][0]} comes twice; give each its own")
    return found


def read_id(one: Mapping[str, Any], key: str, what: str) -> Id:
    """An identity: a whole number or text."""
    found = _needed(one, key, what)
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise ValueError(f"{what} has the {key} {shown(found)}, expected a whole number or text")
    return found


def read_object(
    one: Mapping[str, Any], what: str, picture: Picture, categories: Collection[int] | None
) -> tuple[dict[str, Any], bool]:
    """Category, crowd, box and area of an annotation; and whether the box was cut off at the picture's edge."""
    category = _whole(one, "category_id", what, 0, MAX_CATEGORY)
    if categories is not None and category not in categories:
        raise ValueError(f"{what} has the category_id {category}, which is none of `categories`")
    crowd = one.get("iscrowd", 0)
    if not isinstance(crowd, int | float) or crowd not in (0, 1):
        raise ValueError(f"{what} has the iscrowd {shown(crowd)}, expected 0 or 1")
    box, cut = _box(_needed(one, "bbox", what), what, picture)
    area = one.get("area", box[2] * box[3])
    if not _is_number(area) or not 0 <= area <= MAX_AREA:
        raise ValueError(f"{what} has the area {shown(area)}, expected a number from 0 to {MAX_AREA:g}")
    return {"category_id": category, "iscrowd": int(crowd), "bbox": box, "area": float(area)}, cut


def _box(found: Any, what: str, picture: Picture) -> tuple[list[float], bool]:
    """x, y, width and height of the part of a box inside the picture, and whether there was more of it."""
    if not isinstance(found, list) or len(found) != 4 or not all(map(_is_number, found)):
        raise ValueError(f"{what} has the bbox {shown(found)}, which is not four numbers x, y, width, height")
    x, y, width, height = map(float, found)
    if width < 0 or height < 0:
        raise ValueError(f"{what} has the bbox {shown(found)}: width and height must be at least 0")
    if min(x, y) >= -ROUNDING and x + width <= picture.width + ROUNDING and y + height <= picture.height + ROUNDING:
        return [x, y, width, height], False
    left, right = (min(max(side, 0.0), float(picture.width)) for side in (x, x + width))
    top, bottom = (min(max(side, 0.0), float(picture.height)) for side in (y, y + height))
    return [left, top, right - left, bottom - top], True


def _whole(one: Mapping[str, Any], key: str, what: str, low: int, high: int) -> int:
    found = _needed(one, key, what)
    if not _is_number(found) or found != int(found) or not low <= found <= high:
        raise ValueError(f"{what} has the {key} {shown(found)}, expected a whole number from {low} to {high}")
    return int(found)


def _needed(one: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in one:
        raise ValueError(f"{what} has no {key!r}")
    return one[key]


def _is_number(value: Any) -> bool:
    """A finite one; whole numbers too large for a float are none that anything here could be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 2**63 and math.isfinite(value)
