"""Ground truth of objects in COCO's JSON format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from taskodec.errors import UsageError
from taskodec.files.inputs import MOST_LABELS, read_text
from taskodec.hooks.names import nearest
from taskodec.tasks.coco_ap import Kind, silent

__all__ = ["CocoLabels"]

FORM = "valid: COCO's JSON with `images` (id, file_name, width, height) and `annotations` (image_id, category_id, bbox)"


class CocoLabels:
    """The objects in each image of a COCO file, by the image's file name (folders before it do not count).

    For `segm` each needs a `segmentation`: polygons, or RLE, compressed or not. UsageError if the file is no such one.
    """

    def __init__(self, path: Path, kind: Kind) -> None:
        self.path, self.kind = path, kind
        try:
            content = json.loads(read_text(path, most=MOST_LABELS))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"cannot read the labels {path}: {error}; {FORM}") from error
        try:
            self.images = {PurePosixPath(image["file_name"]).name: _image(image) for image in content["images"]}
            self.objects: dict[Any, list[Mapping[str, Any]]] = {id_: [] for id_, *_ in self.images.values()}
            sizes = {id_: size for id_, *size in self.images.values()}
            for one in content["annotations"]:
                if one["image_id"] in sizes:
                    self.objects[one["image_id"]].append(_object(one, kind, sizes[one["image_id"]]))
        except KeyError as error:
            raise UsageError(f"{path}: an entry has no {error}; {FORM}{_MASKS[kind]}") from error
        except (TypeError, ValueError, IndexError, OverflowError) as error:
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
        identity, *known = self.images[name]
        factor = max(size) / max(1, *known)
        if any(abs(side - factor * own) > 1 for side, own in zip(size, known, strict=True)):
            raise UsageError(
                f"{self.path} has {name!r} with {known[1]}x{known[0]} pixels, the image has {size[1]}x{size[0]}: "
                "use the image that was labelled, whole"
            )
        return self.objects[identity], known


_MASKS = {"bbox": "", "segm": ", and a `segmentation` in each annotation"}


def _image(image: Mapping[str, Any]) -> tuple[Any, int, int]:
    return image["id"], int(image["height"]), int(image["width"])


def _object(one: Mapping[str, Any], kind: Kind, size: Sequence[int]) -> Mapping[str, Any]:
    """An annotation with numbers for numbers, and its mask as compressed RLE if masks are compared."""
    box = [float(side) for side in one["bbox"]]
    if len(box) != 4:
        raise ValueError(f"bbox {one['bbox']} has not four numbers x, y, width, height")
    found: dict[str, Any] = {"category_id": int(one["category_id"]), "iscrowd": int(one.get("iscrowd", 0)), "bbox": box}
    if kind == "segm":
        found["segmentation"] = _rle(one["segmentation"], size)
    return {**found, "area": float(one.get("area", box[2] * box[3]))}


def _rle(segmentation: Any, size: Sequence[int]) -> Any:
    from pycocotools import mask
    from pycocotools.coco import COCO

    if isinstance(segmentation, dict) and list(segmentation["size"]) != list(size):
        raise ValueError(f"a mask has the size {segmentation['size']}, its image {list(size)}")
    with silent():
        data = COCO()
    data.imgs = {1: {"height": size[0], "width": size[1]}}
    try:
        code = data.annToRLE({"image_id": 1, "segmentation": segmentation})
        mask.area(code)  # raises if it is none
    except KeyError:
        raise
    except Exception as error:  # pycocotools raises bare ones
        raise ValueError(f"segmentation {str(segmentation)[:80]}: {error}") from error
    return code
