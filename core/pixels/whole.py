"""Whether a file that an earlier run has left is all of what it should be. No torch; no picture is computed."""

from __future__ import annotations

import sys
import zlib
from importlib.util import find_spec
from pathlib import Path

from taskodec.errors import ImageError, StreamError
from taskodec.pixels.pillow import decode_file
from taskodec.stream.bitstream import Stream

__all__ = ["flaw"]

PNG = b"\x89PNG\r\n\x1a\n"


def flaw(path: Path) -> str:
    """What is wrong with a stream or a picture; empty for one that is whole.

    Of streams and PNG files, checksums are looked at; other pictures are decoded by Pillow, where it is.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    if not data:
        return "it is empty"
    if path.suffix.lower() == ".tkd":
        return _of_stream(data)
    return _of_png(data) if path.suffix.lower() in ("", ".png") else _of_picture(path)


def _of_stream(data: bytes) -> str:
    try:
        Stream.from_bytes(data, max_pixels=sys.maxsize)  # nothing here grows with the picture
    except StreamError as error:
        return str(error)
    return ""


def _of_png(data: bytes) -> str:
    """The chunks with their CRC32, up to the last one (PNG, third edition, section 5.3)."""
    if not data.startswith(PNG):
        return "it is no PNG file"
    place = len(PNG)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        name, content = data[place + 4 : place + 8], memoryview(data)[place + 4 : end - 4]
        if end > len(data) or zlib.crc32(content) != int.from_bytes(data[end - 4 : end], "big"):
            break
        if name == b"IEND":
            return ""
        place = end
    return "it is truncated or altered"


def _of_picture(path: Path) -> str:
    if find_spec("PIL") is None:
        return ""
    try:
        with path.open("rb") as file:
            decode_file(file, "it", sys.maxsize, lambda opened: opened.image.load())
    except (OSError, ImageError) as error:
        return str(error)
    return ""
