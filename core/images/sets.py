"""Which pictures a data set is: files, folders at any depth, COCO's JSON, and of these only the ones in a list.

Light to import. `docs/data.md` has the layouts that data sets come in.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from taskodec.errors import UsageError
from taskodec.files.atomic import IMAGE_SUFFIXES, read_limited
from taskodec.files.json_text import parse_json
from taskodec.hooks.names import nearest

__all__ = ["list_images"]

MAX_BYTES = 2**31

LIST = "give a text file with a file name in each line"
LAYOUT = "COCO has annotations/instances_val2017.json beside val2017/000000000139.jpg"


def list_images(paths: Iterable[Path], only: Path | None = None) -> list[Path]:
    """The image files named, those anywhere below the folders named, and those that a COCO file lists, in order.

    Hidden ones are left out. With `only`, a text file of names or a COCO file, those that it names, in its order.
    UsageError for what is not there.
    """
    found: list[Path] = []
    paths = list(paths)
    for path in paths:
        if path.is_dir():
            found += sorted(_below(path))
        elif path.suffix.lower() == ".json":
            found += _of_coco(path)
        elif path.is_file():
            found.append(path)
        else:
            why = "is no regular file" if path.exists() else "does not exist"
            raise UsageError(f"{path} {why}; give image files, folders of images, or COCO's JSON")
    if not found:
        raise UsageError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {', '.join(map(str, paths))}")
    return found if only is None else _chosen(found, only)


def _below(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = (Path(place, name) for name in files if not name.startswith("."))
        found += [path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES]
    return found


def _coco_names(path: Path) -> list[str]:
    """The file names of a COCO file's images."""
    try:
        content = parse_json(read_limited(path, MAX_BYTES), depth=None)
        names = [image["file_name"] for image in content["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not COCO's JSON, with `images` that have a `file_name`: {error!r}") from error
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path} names no images, expected `images` with a `file_name` each")
    return names


def _of_coco(path: Path) -> list[Path]:
    """The images that a COCO file lists, from where they lie relative to it."""
    names = _coco_names(path)
    above = path.absolute().parent
    split = path.stem.rpartition("_")[2]  # of instances_val2017
    places = [above, above / "images", above / split, above.parent / split, above.parent / "images" / split]
    folder = next((place for place in places if (place / names[0]).is_file()), None)
    if folder is None:
        tried = ", ".join(str(place) for place in places)
        raise UsageError(f"the images of {path} are not there: no {names[0]} in {tried}; {LAYOUT}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UsageError(f"{len(missing)} of {len(names)} images of {path} are not in {folder}, such as {missing[0]}")
    return [folder / name for name in names]


def _chosen(images: Sequence[Path], only: Path) -> list[Path]:
    """Those images whose file names, with or without suffix and folders, a list has."""
    wanted = _coco_names(only) if only.suffix.lower() == ".json" else _lines(only)
    known: dict[str, Path] = {image.stem: image for image in images} | {image.name: image for image in images}
    names = [PurePosixPath(name.strip()).name for name in wanted]
    missing = [name for name in names if name not in known]
    if missing:
        hint = nearest(missing[0], list(known)[:1000]).rstrip("?")
        raise UsageError(
            f"{len(missing)} of the {len(names)} images in {only} are not among the {len(images)} given, such as "
            f"{missing[0]!r}{hint}"
        )
    return list(dict.fromkeys(known[name] for name in names))


def _lines(file: Path) -> list[str]:
    try:
        rows = [row for row in read_limited(file, MAX_BYTES).decode("utf-8-sig").splitlines() if row.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the list {file}: {error}; {LIST}") from error
    if not rows:
        raise UsageError(f"{file} names no images; {LIST}")
    return rows
