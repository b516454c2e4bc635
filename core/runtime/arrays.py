"""Tables and arrays of an exported codec: one npz file, of which only what recipes know is read. numpy only, no torch.

A file of a few kilobytes can stand for gigabytes, and the head of an array can say anything, so sizes, types and ranges
are looked at before a value is.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib import format as npy

from taskodec.stream.tables import IntArray, Tables

__all__ = ["TABLE_NAMES", "pack_arrays", "unpack_arrays"]

MAX_ARRAY = 2**26
"""Bytes of an array, which is more than any network's biases and levels need."""

TABLE_NAMES = ("y", "z")

FINITE = float(np.finfo(np.float32).max)
LOGARITHM = 100.0
"""Of a gain, of either sign: e^100 times is no gain of any codec."""


@dataclass(frozen=True)
class _Form:
    """How many sides an array has, of what kind of numbers it is, and from where to where they go."""

    sides: int
    kinds: str
    low: float
    high: float


_STRIDE = _Form(0, "iu", 1, 1024)
_REAL = _Form(1, "f", -FINITE, FINITE)
_POSITIVE = _Form(1, "f", float(np.finfo(np.float32).tiny), FINITE)
_SIZE = _Form(1, "f", 0, FINITE)
_KNOTS = _Form(1, "f", 0, 256)
_EXPONENTS = _Form(1, "i", -1000, 1000)
_LEVELS = _Form(2, "f", -FINITE, FINITE)
_LOGARITHMS = _Form(2, "f", -LOGARITHM, LOGARITHM)

_ARRAYS: Mapping[str, _Form] = {
    "medians": _REAL,
    "singular_values": _REAL,
    "scale_tolerance": _SIZE,
    "y_stride": _STRIDE,
    "z_stride": _STRIDE,
    "y_exponents": _EXPONENTS,
    "bias_real": _REAL,
    "bias_unit": _POSITIVE,
    "bias_shift": _EXPONENTS,
    "bias_room": _SIZE,
    "knots": _KNOTS,
    "embedding": _LEVELS,
    "hyper_embedding": _LEVELS,
    "log_gain": _LOGARITHMS,
    "log_synthesis_gain": _LOGARITHMS,
    "log_analysis_gain": _LOGARITHMS,
}

_PARTS: Mapping[str, _Form] = {
    "lengths": _Form(1, "iu", 2, 2**16),
    "counts": _Form(1, "iu", 1, 2**16),
    "offsets": _Form(1, "iu", -(2**30), 2**30),
}


def pack_arrays(tables: Mapping[str, Tables], arrays: Mapping[str, IntArray]) -> bytes:
    """One npz file: arrays as they are, tables as lengths, counts and offsets."""
    flat: dict[str, Any] = dict(arrays)  # as a keyword, an array might be meant for an option
    for name, value in tables.items():
        flat[f"tables/{name}/lengths"] = np.array([len(row) for row in value.rows], dtype=np.int32)
        flat[f"tables/{name}/counts"] = np.concatenate(value.rows).astype(np.uint16)
        flat[f"tables/{name}/offsets"] = value.offsets.astype(np.int32)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **flat)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> tuple[dict[str, Tables], dict[str, IntArray]]:
    """What `pack_arrays` took; arrays of other names are not looked at.

    ValueError for those that cannot be what they are called, or errors of nearly any kind for damaged files.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            raise ValueError("it holds arrays of one name")
        arrays = {
            name: _read(archive, members[f"{name}.npy"], form)
            for name, form in _ARRAYS.items()
            if f"{name}.npy" in members
        }
        tables = {
            table: _tables(
                *(_read(archive, members[f"tables/{table}/{part}.npy"], form) for part, form in _PARTS.items())
            )
            for table in TABLE_NAMES
            if f"tables/{table}/lengths.npy" in members
        }
    return tables, arrays


def _tables(lengths: IntArray, counts: IntArray, offsets: IntArray) -> Tables:
    if int(lengths.sum()) != len(counts):
        raise ValueError(f"its tables have {int(lengths.sum())} entries, found {len(counts)}")
    rows = np.split(counts.astype(np.int64), np.cumsum(lengths)[:-1])
    return Tables(tuple(rows), offsets.astype(np.int64))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, form: _Form) -> IntArray:
    """One array; ValueError if it is larger than it may be, or not of this form."""
    name = info.filename.removesuffix(".npy")
    if info.file_size > MAX_ARRAY:
        raise ValueError(f"{name} has {info.file_size} bytes, valid: up to {MAX_ARRAY}")
    content = io.BytesIO(archive.read(info))
    version = npy.read_magic(content)  # type: ignore[no-untyped-call]
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name} is of version {version} of numpy's format, valid: 1.0 and 2.0")
    head = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = head(content)  # type: ignore[no-untyped-call]
    if len(shape) != form.sides or dtype.kind not in form.kinds or dtype.itemsize > 8 or min(shape, default=1) < 1:
        kind = "real" if form.kinds == "f" else "whole"
        raise ValueError(f"{name} is {dtype} of shape {shape}, expected {kind} numbers with {form.sides} sides")
    values = content.read()
    if len(values) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {len(values)} bytes of numbers, which are not of shape {shape}")
    flat: IntArray = np.frombuffer(values, dtype).astype(dtype.newbyteorder("="))
    array: IntArray = flat.reshape(shape, order="F" if fortran else "C")  # (prod(shape),) -> shape
    low, high = np.float64(form.low), np.float64(form.high)  # which 16 bits may not hold
    if not ((array >= low) & (array <= high)).all():  # false for NaN too
        raise ValueError(f"{name} has values that are not from {form.low:g} to {form.high:g}")
    return array
