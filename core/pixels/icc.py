"""ICC profiles for colours that a file describes by numbers: primaries, white and transfer curve. No torch."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BT709", "gray_profile", "matrix_profile"]

BT709 = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""White, red, green and blue of sRGB, x and y of each."""

D50 = np.array([0.9642, 1.0, 0.8249])
"""The white of the space that profiles connect through (ICC.1:2001-04, annex A)."""

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""Cone responses, in which whites are adapted (ICC.1:2001-04, annex E)."""

Floats = NDArray[np.float64]


def matrix_profile(chromaticities: Sequence[float], gamma: float | None, name: str = "") -> bytes:
    """The profile of an RGB space; ValueError for primaries that span none.

    `chromaticities` are x and y of white, red, green and blue, `gamma` the exponent that makes values linear, None for
    the curve of sRGB. `name` is what the profile says it is.
    """
    columns = _adapted(np.asarray(chromaticities, dtype=np.float64))
    if not np.isfinite(columns).all() or np.abs(columns).max() > 4:
        raise ValueError(f"these are no primaries: {chromaticities}")
    tags = {tag: _xyz(columns[:, i]) for i, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)), name)


def gray_profile(gamma: float | None, name: str = "") -> bytes:
    """The profile of a grey scale, with the curve of `matrix_profile`."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)}, name)


def _adapted(chromaticities: Floats) -> Floats:
    """XYZ of red, green and blue as columns, scaled to their white and that adapted to D50."""
    x, y = chromaticities.reshape(4, 2).T  # (white, red, green, blue) of x and y
    if (y <= 0).any():
        raise ValueError(f"these are no primaries: {chromaticities.tolist()}")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])  # (3, 4), Y = 1
    white, primaries = xyz[:, 0], xyz[:, 1:]
    try:
        scaled = primaries * np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError as error:
        raise ValueError(f"these are no primaries: {chromaticities.tolist()}") from error
    cones = (BRADFORD @ D50) / (BRADFORD @ white)
    adapted: Floats = np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ scaled
    return adapted


def _curve(gamma: float | None) -> bytes:
    """A `curv` tag: one exponent, or sRGB's curve (IEC 61966-2-1) at 4096 places."""
    if gamma is not None:
        return struct.pack(">4sIIH", b"curv", 0, 1, round(min(max(gamma, 0.1), 255) * 256))
    v = np.linspace(0, 1, 4096)
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return struct.pack(">4sII", b"curv", 0, len(v)) + (linear * 65535).round().astype(">u2").tobytes()


def _xyz(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + (values * 65536).round().astype(">i4").tobytes()


def _named(name: str) -> bytes:
    """A `desc` tag (ICC.1:2001-04, section 6.5.17)."""
    text = name.encode("ascii", "replace") + b"\0"
    return struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)


def _profile(space: bytes, tags: dict[bytes, bytes], name: str) -> bytes:
    """A display profile of version 2.4 (ICC.1:2001-04, section 6)."""
    tags = {b"desc": _named(name), b"wtpt": _xyz(D50), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    for kind, tag in tags.items():
        table += struct.pack(">4sII", kind, 128 + 4 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + _xyz(D50)[8:] + bytes(48) + table + body
