"""The folder that `taskodec export` writes: ONNX graphs, tables and a manifest. numpy only, no torch.

`docs/export.md` describes it. Files are checked against the manifest when they are read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taskodec.console.terminal import shown
from taskodec.errors import WeightsError
from taskodec.files.atomic import pointer_to, read_limited, write_atomic
from taskodec.files.json_text import parse_json
from taskodec.runtime.arrays import pack_arrays, unpack_arrays
from taskodec.runtime.manifest import Manifest, parse_manifest
from taskodec.stream.exact import between, knots_of
from taskodec.stream.tables import IntArray, Tables

__all__ = ["DECODER", "ENCODER", "FORMAT", "MANIFEST", "Exported", "Manifest", "read_exported", "write_exported"]

FORMAT = "taskodec-export-1"
MANIFEST = "manifest.json"
TABLES = "tables.npz"
DECODER = ("hyper", "context", "synthesis")
ENCODER = ("hyper", "context", "analysis", "hyper_analysis")
"""The graphs of either; each is a file with the suffix .onnx, and not every codec has all."""

FILES = frozenset({TABLES, *(f"{name}.onnx" for name in (*DECODER, *ENCODER))})

CLOSEST = 2.0**-10
"""The least distance of two levels' qualities, between which numbers stay finite."""

MAX_MANIFEST = 2**22
"""Bytes; most of a manifest are the groups."""


@dataclass(frozen=True)
class Exported:
    """A manifest, ONNX models by the names in `DECODER` and `ENCODER`, tables and arrays by names of the recipe."""

    manifest: Manifest
    graphs: Mapping[str, bytes]
    tables: Mapping[str, Tables]
    arrays: Mapping[str, IntArray]

    def at_level(self, name: str, quality: float) -> IntArray | None:
        """The row of the array (levels, C) of this name at any quality, in float64; None if there is no such array."""
        if name not in self.arrays:
            return None
        levels = self.arrays[name].astype(np.float64)
        return between(levels, quality, knots_of(self.arrays, len(levels)))


def write_exported(folder: Path, exported: Exported) -> Manifest:
    """Write every file, the manifest last; returns it with `files` filled in."""
    content = {f"{name}.onnx": graph for name, graph in exported.graphs.items()}
    content[TABLES] = pack_arrays(exported.tables, exported.arrays)
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in content.items()}
    manifest = Manifest(**{**vars(exported.manifest), "files": files})
    content[MANIFEST] = json.dumps({"format": FORMAT, **asdict(manifest)}, indent=2, ensure_ascii=False).encode()
    for name, data in content.items():
        write_atomic(folder / name, data)
    return manifest


def read_exported(folder: Path, names: Collection[str]) -> Exported:
    """Read these graphs of a folder, and its tables; WeightsError if one is missing, altered, or of another version."""
    manifest = _read_manifest(folder / MANIFEST)
    if wrong := [name for name in manifest.files if name not in FILES]:
        raise WeightsError(
            f"the manifest names {shown(wrong[0])}, which is no file of an exported codec: export it again"
        )
    wanted = {TABLES, *(f"{name}.onnx" for name in names)}
    content = {name: _read(folder, name, about) for name, about in manifest.files.items() if name in wanted}
    graphs = {name: content[f"{name}.onnx"] for name in names if f"{name}.onnx" in content}
    if TABLES not in content:
        raise WeightsError(f"{folder / MANIFEST} names no {TABLES}: export the codec again")
    try:
        tables, arrays = unpack_arrays(content[TABLES])
        _check_arrays(manifest, arrays)
    except Exception as error:  # zipfile and numpy raise nearly anything
        raise WeightsError(f"{folder / TABLES} cannot be read: {error}; export the codec again") from error
    return Exported(manifest, graphs, tables, arrays)


def _check_here(path: Path) -> None:
    if found := pointer_to("the exported codec", path):
        raise WeightsError(f"{path} is {found}")


def _check_arrays(manifest: Manifest, arrays: Mapping[str, IntArray]) -> None:
    """ValueError for arrays that do not go with the manifest."""
    own = arrays.get("singular_values")
    if manifest.adapter_fingerprint is not None and own is None:
        raise ValueError("it has no singular_values, which the adapter needs")
    if manifest.groups and own is not None and len(own) != sum(manifest.groups):
        raise ValueError(f"it has {len(own)} singular_values, the manifest {sum(manifest.groups)}")
    for name in ("y_stride", "z_stride"):
        if name in arrays and manifest.stride % int(arrays[name]):
            raise ValueError(f"{name} is {int(arrays[name])}, the stride {manifest.stride} is no multiple of it")
    _check_levels(manifest.qualities, arrays)


def _check_levels(qualities: Sequence[float], arrays: Mapping[str, IntArray]) -> None:
    """ValueError for knots that do not ascend, and for levels that are not one for each, or not for all qualities."""
    knots = arrays.get("knots")
    if knots is not None and (len(knots) < 2 or not (np.diff(knots.astype(np.float64)) >= CLOSEST).all()):
        raise ValueError(f"knots are {shown(knots.tolist())}, expected ascending qualities, two at least")
    for name, levels in arrays.items():
        if levels.ndim != 2:
            continue
        if knots is not None and len(levels) != len(knots):
            raise ValueError(f"{name} has {len(levels)} levels, and there are {len(knots)} knots")
        (low, high), own = (qualities[0], qualities[-1]), knots_of(arrays, len(levels))
        if len(own) < 2 or low < own[0] or high > own[-1]:
            found = f"{len(levels)} levels, of qualities from {own[0]:g} to {own[-1]:g}"
            raise ValueError(f"{name} has {found}, the manifest qualities from {low:g} to {high:g}")


def _read_manifest(path: Path) -> Manifest:
    _check_here(path)
    try:
        values = parse_json(read_limited(path, MAX_MANIFEST))
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}): give a folder that `taskodec export` wrote"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON of a manifest ({error}): export the codec again") from error
    found = values.pop("format", None) if isinstance(values, dict) else None
    if found != FORMAT:
        raise WeightsError(f"{path} has format {shown(found)}, this version of taskodec reads {FORMAT!r}: export again")
    try:
        return parse_manifest(values)
    except ValueError as error:
        raise WeightsError(f"{path} is no manifest of an exported codec ({error}): export it again") from error


def _read(folder: Path, name: str, about: Mapping[str, Any]) -> bytes:
    path = folder / name
    _check_here(path)
    try:
        data = read_limited(path, about["bytes"])
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): export the codec again") from error
    except ValueError:  # it is larger
        data = b""
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise WeightsError(f"{path} is not the file that its manifest describes: export the codec again")
    return data
