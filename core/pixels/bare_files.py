"""Picture files without what is not needed to decode them, for where it keeps Pillow from doing so. No torch.

Texts, EXIF and the rest beside the pixels are read by Pillow when it opens a file, and a mistake there, or a text of
more than a megabyte, is an error for all of it. What says how the picture is to be shown is kept apart.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from taskodec.pixels.exif import ORIENTATION, read_directory

__all__ = ["without_metadata"]

Bare = tuple[bytes, dict[str, Any]]
"""The file, and what Pillow would have had in `info`."""

MAX_PROFILE = 2**24
"""Bytes of a colour profile that is unpacked."""

MAX_TEXT = 2**20
"""Bytes of a text of PNG that is looked into."""

PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
PNG_NUMBERS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
"""Chunks that are kept, and those that are kept if they are of their length."""

TIFF_PIXELS = frozenset(
    {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
    | {347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675}
)
"""Tags of TIFF that say how pixels are stored, and the one of the colour profile."""


AVIF_EXIF = re.compile(rb"(infe(?:\x02.{5}|\x03.{7})..)Exif", re.DOTALL)
"""An item of EXIF (ISO/IEC 14496-12, section 8.11.6)."""


def without_metadata(file: IO[bytes]) -> tuple[io.BytesIO, dict[str, Any]] | None:
    """A PNG, JPEG, TIFF or AVIF with its pixels alone, and what Pillow's `info` would have of the rest.

    None for other formats, and for files that are damaged where this matters.
    """
    file.seek(0)
    start = file.read(16)
    bare = next((bare for at, sign, bare in FORMS if start.startswith(sign, at)), None)
    if bare is None:
        return None
    try:
        small, info = bare(start + file.read())
    except (IndexError, ValueError, struct.error, zlib.error):
        return None
    return io.BytesIO(small), info


def _png(data: bytes) -> Bare:
    kept, info = [data[:8]], dict[str, Any]()
    for kind, body, whole in _chunks(data):
        if kind in PNG_PIXELS:
            kept.append(whole)
        elif PNG_NUMBERS.get(kind) == len(body):
            kept.append(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
        elif kind == b"iCCP":
            info["icc_profile"] = _profile_of_png(body)
        elif kind == b"eXIf":
            info["exif"] = body
        elif kind in (b"zTXt", b"iTXt"):
            info |= _text_of_png(kind, body)
    return b"".join(kept), info


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Kind, body and all bytes of each chunk of a PNG, as far as they are whole."""
    at = 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 8 + size > len(data) or not kind.isalpha():
            if kind in PNG_PIXELS:  # what is there of the pixels, for the decoder to judge
                yield kind, b"", data[at:]
            return
        yield kind, data[at + 8 : at + 8 + size], data[at : at + 12 + size]
        at += 12 + size


def _profile_of_png(body: bytes) -> bytes:
    """The profile in a chunk `iCCP`, empty if it is damaged or too large."""
    _, _, packed = body.partition(b"\0")
    return _unpacked(packed[1:], MAX_PROFILE)


def _text_of_png(kind: bytes, body: bytes) -> dict[str, Any]:
    """The texts that may hold an orientation: XMP, and EXIF as ImageMagick writes it."""
    name, _, rest = body.partition(b"\0")
    if kind == b"iTXt" and name == b"XML:com.adobe.xmp" and rest[:1] == b"\0":
        return {"xmp": rest[:MAX_TEXT]}
    if kind == b"zTXt" and name == b"Raw profile type exif":
        return {"Raw profile type exif": _unpacked(rest[1:], MAX_TEXT).decode("latin-1")}
    return {}


def _unpacked(packed: bytes, limit: int) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(packed, limit)
    except zlib.error:
        return b""
    return b"" if unpacking.unconsumed_tail else found


def _jpeg(data: bytes) -> Bare:
    kept, exif, profile, at = [data[:2]], b"", list[bytes](), 2
    while True:
        while data[at + 1] == 0xFF:  # filling
            at += 1
        marker, (size,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if data[at] != 0xFF or size < 2 or at + 2 + size > len(data):
            raise ValueError("no marker")
        if marker == 0xDA:  # start of scan
            break
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif += body[6:]
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
            profile.append(body[12:])
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE) or _says_how_colours_are_stored(marker, body):
            kept.append(data[at : at + 2 + size])
        at += 2 + size
    info: dict[str, Any] = {"exif": exif} if exif else {}
    if profile:
        info["icc_profile"] = _joined(profile)
    return b"".join([*kept, data[at:]]), info


def _says_how_colours_are_stored(marker: int, body: bytes) -> bool:
    """Whether a segment is JFIF's or Adobe's, and whole."""
    jfif, adobe = marker == 0xE0 and body.startswith(b"JFIF\0"), marker == 0xEE and body.startswith(b"Adobe")
    return (jfif and len(body) >= 14) or (adobe and len(body) >= 12)


def _joined(parts: list[bytes]) -> bytes:
    """A profile from its numbered parts, empty if one is missing (ICC.1:2001-04, annex B.4)."""
    parts = sorted(parts)
    whole = all(part[:2] == bytes((number, len(parts))) for number, part in enumerate(parts, 1))
    return b"".join(part[2:] for part in parts) if whole else b""


def _tiff(data: bytes) -> Bare:
    """The first directory with fewer entries, in its place; the rest of the file stays where it is."""
    directory = read_directory(data)
    if directory is None:
        raise ValueError("no directory")
    kept = [entry.raw for entry in directory.entries if entry.tag in TIFF_PIXELS]
    value = directory.integer(data, ORIENTATION)
    if value is not None and 1 <= value <= 8:
        form = "HHQHxxxxxx" if directory.big else "HHLHxx"
        kept.append(struct.pack(f"{directory.order}{form}", ORIENTATION, 3, 1, value))
    kept.sort(key=lambda raw: struct.unpack_from(f"{directory.order}H", raw))
    count, none = ("Q", bytes(8)) if directory.big else ("H", bytes(4))
    table = struct.pack(f"{directory.order}{count}", len(kept)) + b"".join(kept) + none
    if len(kept) > len(directory.entries) or directory.offset + len(table) > len(data):
        raise ValueError("no room")
    return data[: directory.offset] + table + data[directory.offset + len(table) :], {}


def _avif(data: bytes) -> Bare:
    """Without the name of the item EXIF, so that it is not found; a turn of the picture is kept elsewhere."""
    return AVIF_EXIF.sub(rb"\1skip", data), {}


FORMS: Sequence[tuple[int, bytes, Callable[[bytes], Bare]]] = (
    (0, b"\x89PNG\r\n\x1a\n", _png),
    (0, b"\xff\xd8\xff", _jpeg),
    *((0, sign, _tiff) for sign in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (4, b"ftypavi", _avif),
)
