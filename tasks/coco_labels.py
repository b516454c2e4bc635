"""Ground truth of objects in COCO's JSON format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskodec.errors import UsageError
from taskodec.files.atomic import read_limited
from taskodec.files.json_text import parse_json
from taskodec.hooks.names import nearest
from taskodec.tasks.coco_ap import Kind
from taskodec.tasks.coco_entries import Id, Picture, entries, read_categories, read_id, read_object, read_pictures
from taskodec.tasks.coco_masks import Mask, read_mask

__all__ = ["CocoLabels"]

FORM = "valid: COCO's JSON with `images` (id, file_name, width, height) and `annotations` (image_id, category_id, bbox)"

MAX_BYTES = 2**31


@dataclass(frozen=True)
class _Object:
    """An annotation: its numbers, and its mask if masks are compared."""

    found: Mapping[str, Any]
    mask: Mask | None

    def annotation(self) -> Mapping[str, Any]:
        """In COCO's form, the mask as compressed run lengths."""
        return self.found if self.mask is None else {**self.found, "segmentation": self.mask.rle()}


class CocoLabels:
    """The objects in each image of a COCO file, by the image's file name (folders before it do not count).

    For `segm` each needs a `segmentation`: polygons, or RLE, compressed or not. Everything is checked when the file is
    read, before pycocotools sees any of it: UsageError for what cannot be. A warning says how many objects reach
    beyond their pictures, of which only what is inside counts, or are of images that the file does not list.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self.kind = path, kind
        try:
            content = parse_json(read_limited(path, MAX_BYTES), depth=None)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the labels {path}: {error}; {FORM}") from error
        try:
            self.images = read_pictures(content)
            self.objects = self._objects(content)
        except ValueError as error:
            raise UsageError(f"{path} is not COCO's JSON: {error}; {FORM}{_MASKS[kind]}") from error
        if not any(self.objects.values()):
            raise UsageError(f"{path} holds no objects; {FORM}")

    def of(self, name: str, size: Sequence[int]) -> tuple[Sequence[Mapping[str, Any]], Sequence[int]]:
        """The annotations of this image, and the height and width that they are for.

        `size` is the image's, which may have been scaled as a whole; UsageError if it cannot be the one in the file.
        """
        if name not in self.images:
            hint = nearest(name, self.images).rstrip("?")
            raise UsageError(f"{self.path} has no image {name!r}{hint}: add it, or leave the image out")
        picture = self.images[name]
        factor = max(size) / max(picture.size)
        if any(abs(side - factor * own) > 1 for side, own in zip(size, picture.size, strict=True)):
            raise UsageError(
                f"{self.path} has {name!r} with {picture.width}x{picture.height} pixels, the image has "
                f"{size[1]}x{size[0]}: use the image that was labelled, whole"
            )
        return [one.annotation() for one in self.objects[picture.id]], list(picture.size)

    def _objects(self, content: Mapping[str, Any]) -> dict[Id, list[_Object]]:
        """Those of each image; ValueError for what is wrong in one, a warning for what was left out."""
        pictures = {picture.id: picture for picture in self.images.values()}
        categories = read_categories(content)
        found: dict[Id, list[_Object]] = {id_: [] for id_ in pictures}
        ids: set[Id] = set()
        unlisted = cut = 0
        for place, one in enumerate(entries(content, "annotations")):
            what = f"annotations[{place}]"
            image = read_id(one, "image_id", what)
            if image not in pictures:
                unlisted += 1
                continue
            if "id" in one:
                before, identity = len(ids), read_id(one, "id", what)
                ids.add(identity)
                if len(ids) == before:
                    raise ValueError(f"{what}: id {identity!r} comes twice; give each annotation its own")
            numbers, beyond = read_object(one, what, pictures[image], categories)
            mask = self._mask(one, what, pictures[image])
            cut += beyond or (mask is not None and mask.beyond)
            found[image].append(_Object(numbers, mask))
        self._say(unlisted, "are of images that it does not list, and do not count")
        self._say(cut, "reach beyond their pictures; of these, what is inside counts")
        return found

    def _mask(self, one: Mapping[str, Any], what: str, picture: Picture) -> Mask | None:
        if self.kind == "bbox":
            return None
        if "segmentation" not in one:
            raise ValueError(f"{what} has no 'segmentation'")
        try:
            return read_mask(one["segmentation"], picture.size)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error

    def _say(self, count: int, what: str) -> None:
        if count:
            warnings.warn(f"{self.path}: {count} annotations {what}", stacklevel=5)


_MASKS = {"bbox": "", "segm": ", and a `segmentation` in each annotation"}
