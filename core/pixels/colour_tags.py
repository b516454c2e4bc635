"""What files say of their colours where Pillow does not hand it on: as an ICC profile, and how fine they are. No torch.

That is the profile in JPEG 2000 and BMP, the code points of AVIF and PNG (`nclx`, `cICP`: ITU-T H.273), and PNG's
`gAMA` and `cHRM`. Nothing here raises: what cannot be made sense of is said in a note.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from taskodec.pixels.icc import BT709, gray_profile, matrix_profile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["bits_a_channel", "declared_profile"]

Info = Mapping[str | tuple[int, int], Any]
"""What Pillow keeps beside a picture."""

D65 = BT709[:2]

PRIMARIES = {
    1: ("BT.709", BT709),
    5: ("BT.601 of 625 lines", (*D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06)),
    6: ("BT.601 of 525 lines", (*D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07)),
    9: ("BT.2020", (*D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046)),
    11: ("DCI-P3", (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
    12: ("Display P3", (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)),
}
"""Names, and white, red, green and blue, by the code points of H.273, table 2."""

GAMMAS = {1: None, 4: 2.2, 5: 2.8, 6: None, 8: 1.0, 13: None, 14: None, 15: None}
"""Curves by those of table 3, None for sRGB's; with that, pictures in those of video are shown too."""

UNSPECIFIED = 2

SRGB_GAMMA = 0.45455
"""What PNG's `gAMA` holds for sRGB, which is not quite an exponent."""


def declared_profile(info: Info, form: str | None, file: IO[bytes] | None, *, gray: bool) -> tuple[object, str]:
    """The ICC profile of a picture, None without one, and a note on what cannot be used.

    `info` and `form` are Pillow's, and the picture is loaded; what only the file has is left out without it. A profile
    that is there and cannot be read is empty. `gray` makes a profile of numbers one for grey values.
    """
    code = _code_points(form, file) if file is not None else None
    if form == "PNG" and code is not None:  # goes before iCCP (PNG, third edition, section 4.3)
        profile, note = _of_code(code, gray)
        if profile is not None or "icc_profile" not in info:
            return profile, note
    if "icc_profile" in info:
        return info["icc_profile"] or b"", ""
    if file is not None and form in ("JPEG2000", "BMP"):
        return (_of_jpeg2000(file) if form == "JPEG2000" else _of_bmp(file)), ""
    if code is not None:
        return _of_code(code, gray)
    return (None, "") if "srgb" in info else _of_numbers(info, gray)


def bits_a_channel(image: Image.Image, file: IO[bytes] | None) -> int:
    """How many bits a channel has in the file, of which Pillow keeps eight; 8 also where it is not known.

    `image` is not yet loaded.
    """
    tiles = getattr(image, "tile", None) or []
    codec, _, _, arguments = tuple(tiles[0]) if tiles else ("", None, 0, None)
    if ";16" in str(arguments):
        return 16
    if codec in ("ppm", "ppm_plain") and isinstance(arguments, tuple):
        return max(8, int(arguments[1]).bit_length())
    if file is None:
        return 8
    if image.format == "JPEG2000":
        raw = _at(file, 0, 4) == b"\xff\x4f\xff\x51"
        size = _at(file, 42, 1) if raw else next(_boxes(file, b"jp2h", b"ihdr"), b"")[10:11]  # 255 where they differ
        return max(8, (size[0] & 0x7F) + 1) if size and size != b"\xff" else 8
    if image.format == "AVIF":  # AV1 in ISOBMFF, section 2.3.3: high_bitdepth and twelve_bit
        flags = next(_boxes(file, b"meta", b"iprp", b"ipco", b"av1C"), bytes(3))[2:3]
        return {0x40: 10, 0x60: 12}.get(flags[0] & 0x60, 8) if flags else 8
    return 8


def _of_code(code: tuple[int, int], gray: bool) -> tuple[bytes | None, str]:
    """The profile of primaries and transfer curve by code points."""
    primaries, transfer = (1 if part == UNSPECIFIED else part for part in code)
    if primaries not in PRIMARIES or transfer not in GAMMAS:
        named = {16: ", which is HDR (PQ)", 18: ", which is HDR (HLG)"}.get(transfer, "")
        return None, f"colours read as sRGB: no profile is known for primaries {code[0]} and transfer {code[1]}{named}"
    gamma, (name, places) = GAMMAS[transfer], PRIMARIES[primaries]
    name += "" if gamma is None else f", gamma {gamma:g}"
    return gray_profile(gamma, name) if gray else matrix_profile(places, gamma, name), ""


def _of_numbers(info: Info, gray: bool) -> tuple[bytes | None, str]:
    """The profile of `gAMA` and `cHRM`; None for sRGB's gamma without primaries."""
    stored, places = float(info.get("gamma") or SRGB_GAMMA), info.get("chromaticity")
    gamma = None if abs(stored - SRGB_GAMMA) < 0.005 else 1 / stored
    if gamma is None and (gray or places is None):
        return None, ""
    name = "gAMA and cHRM of PNG" if places else f"gAMA of PNG, {stored:g}"
    try:
        return gray_profile(gamma, name) if gray else matrix_profile(places or BT709, gamma, name), ""
    except ValueError as error:
        return None, f"colours read as sRGB: {error}"


def _code_points(form: str | None, file: IO[bytes]) -> tuple[int, int] | None:
    """Primaries and transfer of `cICP` or `nclx`, None if there are none."""
    if form == "PNG":
        body = _png_chunk(file, b"cICP")
        return (body[0], body[1]) if len(body) == 4 else None
    if form != "AVIF":
        return None
    bodies = _boxes(file, b"meta", b"iprp", b"ipco", b"colr")
    return next((_pair(body) for body in bodies if body[:4] == b"nclx" and len(body) >= 8), None)


def _of_jpeg2000(file: IO[bytes]) -> bytes | None:
    """The profile of JP2's colour specification (ISO/IEC 15444-1, annex I.5.3.3)."""
    bodies = _boxes(file, b"jp2h", b"colr")
    return next((body[3:] for body in bodies if body[:1] in (b"\2", b"\3")), None)


def _of_bmp(file: IO[bytes]) -> bytes | None:
    """The profile in a BMP with a header of version 5."""
    head = _at(file, 0, 14 + 124)
    if len(head) < 14 + 124 or struct.unpack_from("<I", head, 14) != (124,) or head[70:74] != b"DEBM":
        return None
    offset, size = struct.unpack_from("<II", head, 14 + 112)
    return _at(file, 14 + offset, size)


def _boxes(file: IO[bytes], *path: bytes) -> Iterator[bytes]:
    """The bodies of the boxes at a path (ISO/IEC 14496-12, section 4.2)."""
    file.seek(0)
    data = file.read()
    return _find(data, 0, len(data), path)


def _find(data: bytes, start: int, end: int, path: tuple[bytes, ...]) -> Iterator[bytes]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,), head = struct.unpack_from(">Q", data, start + 8), 16
        stop = end if size == 0 else start + size
        if not start + head <= stop <= end:
            return
        if kind == path[0]:
            inside = start + head + (4 if kind == b"meta" else 0)  # which has a version and flags
            if len(path) == 1:
                yield data[inside:stop]
            else:
                yield from _find(data, inside, stop, path[1:])
        start = stop


def _png_chunk(file: IO[bytes], wanted: bytes) -> bytes:
    """The body of a chunk before the pixels, empty if there is none."""
    at = 8
    while len(head := _at(file, at, 8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        if kind == wanted:
            return _at(file, at + 8, size)
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + size
    return b""


def _pair(body: bytes) -> tuple[int, int]:
    primaries, transfer = struct.unpack_from(">HH", body, 4)
    return primaries, transfer


def _at(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
