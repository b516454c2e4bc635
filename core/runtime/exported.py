"""The folder that `taskodec export` writes: ONNX graphs, tables and a manifest. numpy only, no torch.

`docs/export.md` describes it. Files are checked against the manifest when they are read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from taskodec.errors import WeightsError
from taskodec.files.atomic import write_atomic
from taskodec.stream.exact import between
from taskodec.stream.tables import IntArray, Tables

__all__ = ["DECODER", "ENCODER", "FORMAT", "MANIFEST", "Exported", "Manifest", "read_exported", "write_exported"]

FORMAT = "taskodec-export-1"
MANIFEST = "manifest.json"
TABLES = "tables.npz"
DECODER = ("hyper", "context", "synthesis")
ENCODER = ("hyper", "context", "analysis", "hyper_analysis")
"""The graphs of either; each is a file with the suffix .onnx, and not every codec has all."""

FILES = frozenset({TABLES, *(f"{name}.onnx" for name in (*DECODER, *ENCODER))})

MAX_BYTES = 2**31
"""No file is larger: ONNX itself allows no more in one."""


@dataclass(frozen=True)
class Manifest:
    """What an exported decoder is, for programs and people.

    `adapter_fingerprint` is None, and `groups` is empty, for a decoder of untuned streams only. `groups` are the
    numbers of singular values of each adapted layer that streams may change. `tiling` has `align` and `margin` of the
    synthesis (see `taskodec.stream.grids`), None for codecs that are never tiled. `encoder`, None for decoders alone, has the
    `margin` of the analysis, and of the streams whether they name the adapter (`adapter`), and their `metadata`.
    `precision` is that of the synthesis' weights in their file. `files` has the size and SHA-256 of all.
    """

    codec: str
    codec_fingerprint: str
    recipe: str
    stride: int
    qualities: Sequence[float]
    continuous: bool
    licence: str
    tiling: Mapping[str, int] | None = None
    adapter: str | None = None
    adapter_fingerprint: str | None = None
    groups: Sequence[int] = ()
    encode_with: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] | None = None
    precision: str = "float32"
    opset: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def has_quality(self, quality: float) -> bool:
        """Whether the codec codes at it."""
        return quality in self.qualities or (self.continuous and self.qualities[0] <= quality <= self.qualities[-1])

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the picture that is coded."""
        return -(-height // self.stride) * self.stride, -(-width // self.stride) * self.stride


@dataclass(frozen=True)
class Exported:
    """A manifest, ONNX models by the names in `DECODER` and `ENCODER`, tables and arrays by names of the recipe."""

    manifest: Manifest
    graphs: Mapping[str, bytes]
    tables: Mapping[str, Tables]
    arrays: Mapping[str, IntArray]

    def at_level(self, name: str, quality: float) -> IntArray | None:
        """The row of the array (levels, C) of this name at any quality, in float64; None if there is no such array."""
        return between(self.arrays[name].astype(np.float64), quality) if name in self.arrays else None


def write_exported(folder: Path, exported: Exported) -> Manifest:
    """Write every file, the manifest last; returns it with `files` filled in."""
    content = {f"{name}.onnx": graph for name, graph in exported.graphs.items()}
    content[TABLES] = _pack(exported.tables, exported.arrays)
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
        raise WeightsError(f"the manifest names {wrong[0]!r}, which is no file of an exported codec: export it again")
    wanted = {TABLES, *(f"{name}.onnx" for name in names)}
    content = {name: _read(folder, name, about) for name, about in manifest.files.items() if name in wanted}
    graphs = {name: content[f"{name}.onnx"] for name in names if f"{name}.onnx" in content}
    if TABLES not in content:
        raise WeightsError(f"{folder / MANIFEST} names no {TABLES}: export the codec again")
    try:
        tables, arrays = _unpack(content[TABLES])
    except Exception as error:  # numpy's reader raises nearly anything
        raise WeightsError(f"{folder / TABLES} cannot be read: {error}; export the codec again") from error
    return Exported(manifest, graphs, tables, arrays)


def _read_manifest(path: Path) -> Manifest:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}): give a folder that `taskodec export` wrote"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON ({error}): export the codec again") from error
    found = values.pop("format", None) if isinstance(values, dict) else None
    if found != FORMAT:
        raise WeightsError(f"{path} has format {found!r}, this version of taskodec reads {FORMAT!r}: export again")
    try:
        return Manifest(**values)
    except TypeError as error:
        raise WeightsError(f"{path} is not complete ({error}): export the codec again") from error


def _read(folder: Path, name: str, about: Mapping[str, Any]) -> bytes:
    path = folder / name
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == about["bytes"] <= MAX_BYTES else b""
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): export the codec again") from error
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise WeightsError(f"{path} is not the file that its manifest describes: export the codec again")
    return data


def _pack(tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]) -> bytes:
    """One npz file: arrays as they are, tables as lengths, counts and offsets."""
    flat: dict[str, Any] = dict(arrays)  # as a keyword, an array might be meant for an option
    for name, value in tables.items():
        flat[f"tables/{name}/lengths"] = np.array([len(row) for row in value.rows], dtype=np.int32)
        flat[f"tables/{name}/counts"] = np.concatenate(value.rows).astype(np.uint16)
        flat[f"tables/{name}/offsets"] = value.offsets.astype(np.int32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **flat)
    return buffer.getvalue()


def _unpack(data: bytes) -> tuple[dict[str, Tables], dict[str, IntArray]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    names = {name.split("/")[1] for name in arrays if name.startswith("tables/")}
    tables = {}
    for name in names:
        lengths, counts, offsets = (arrays.pop(f"tables/{name}/{part}") for part in ("lengths", "counts", "offsets"))
        rows = np.split(counts.astype(np.int64), np.cumsum(lengths)[:-1])
        tables[name] = Tables(tuple(rows), offsets.astype(np.int64))
    return tables, arrays
