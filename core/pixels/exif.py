"""Which way up a picture is, from EXIF, whatever else in it is of the wrong type, out of bounds or missing. No torch.

Pillow reads whole blocks, and one value of another type than it expects is an error for all of them. Here only the
directory's entries are walked (TIFF 6.0, section 2; EXIF 2.32, section 4.5), and none but the orientation is looked at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ORIENTATION", "Directory", "Entry", "orientation", "read_directory"]

ORIENTATION = 0x0112

INTEGERS = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q", 17: "q"}
"""Types of TIFF that are whole numbers, as `struct` calls them."""

XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


@dataclass(frozen=True)
class Entry:
    """One of a directory's: tag, type and number of values, and all its bytes as they lie in the file."""

    tag: int
    kind: int
    count: int
    raw: bytes


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF file or an EXIF block.

    `order` is `<` or `>`, `offset` where its number of entries lies; `big` is BigTIFF, with numbers twice as wide.
    `entries` ends where the bytes do.
    """

    order: str
    big: bool
    offset: int
    entries: tuple[Entry, ...]

    def integer(self, block: bytes, tag: int) -> int | None:
        """The first number that a tag holds, None if there is none or it is no whole number."""
        entry = next((entry for entry in self.entries if entry.tag == tag), None)
        if entry is None or entry.count < 1 or entry.kind not in INTEGERS:
            return None
        form = f"{self.order}{INTEGERS[entry.kind]}"
        value = entry.raw[-8:] if self.big else entry.raw[-4:]
        if entry.count * struct.calcsize(form) > len(value):
            (at,) = struct.unpack(f"{self.order}{'Q' if self.big else 'L'}", value)
            value = block[at : at + 8]
        return int(struct.unpack_from(form, value)[0]) if len(value) >= struct.calcsize(form) else None


def read_directory(block: bytes) -> Directory | None:
    """The directory that a TIFF file or an EXIF block, without `Exif` before it, begins with; None if there is none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (version,) = struct.unpack_from(f"{order}H", block, 2)
    if version not in (42, 43) or (version == 43 and len(block) < 16):
        return None
    big = version == 43
    wide, narrow = ("Q", "Q") if big else ("L", "H")
    (offset,) = struct.unpack_from(f"{order}{wide}", block, 8 if big else 4)
    first = offset + struct.calcsize(f"={narrow}")
    if first > len(block):
        return None
    (count,) = struct.unpack_from(f"{order}{narrow}", block, offset)
    return Directory(order, big, offset, tuple(_entries(block, order, big, first, count)))


def orientation(info: Mapping[str | tuple[int, int], Any]) -> tuple[int, str]:
    """The orientation that Pillow's `info` of a picture holds, 1 to 8 as EXIF counts, and a note if it makes no sense.

    1 is upright, and also what is not known. XMP is asked if EXIF has none.
    """
    block = _exif_block(info)
    directory = read_directory(block)
    if directory is not None and any(entry.tag == ORIENTATION for entry in directory.entries):
        value = directory.integer(block, ORIENTATION)
        if value is not None and 1 <= value <= 8:
            return value, ""
        # 0 is what many cameras write that do not know
        return 1, "" if value == 0 else "EXIF orientation not used: it is no number from 1 to 8"
    match = XMP.search(_xmp(info))
    return (int(match[1]) if match and 1 <= int(match[1]) <= 8 else 1), ""


def _exif_block(info: Mapping[str | tuple[int, int], Any]) -> bytes:
    """EXIF from its TIFF header on; also as ImageMagick puts it into a text of PNG."""
    block = info.get("exif")
    if block is None:
        lines = str(info.get("Raw profile type exif", "")).split("\n")[3:]
        digits = re.sub("[^0-9A-Fa-f]", "", "".join(lines))
        block = bytes.fromhex(digits[: len(digits) // 2 * 2])
    return re.sub(rb"\A(?:Exif\0\0){1,2}", b"", block) if isinstance(block, bytes) else b""


def _xmp(info: Mapping[str | tuple[int, int], Any]) -> bytes:
    """XMP as bytes, whatever Pillow calls it."""
    found = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    return found.encode(errors="replace") if isinstance(found, str) else found if isinstance(found, bytes) else b""


def _entries(block: bytes, order: str, big: bool, first: int, count: int) -> Iterator[Entry]:
    form, size = (f"{order}HHQ", 20) if big else (f"{order}HHL", 12)
    for at in range(first, min(first + size * count, len(block) - size + 1), size):
        tag, kind, values = struct.unpack_from(form, block, at)
        yield Entry(tag, kind, values, block[at : at + size])
