"""The `.tkd` container: a header of some 20 bytes, one range-coded payload, a CRC32.

`docs/bitstream.md` describes it byte by byte. Reading takes any bytes and raises a StreamError for all that are
no stream; nothing but the magic and the version is looked at before the CRC32 has been checked.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskodec.errors import DamagedStreamError, UnsupportedStreamError, UsageError
from taskodec.files.atomic import pointer_to

__all__ = ["CODEC_IDS", "MAGIC", "MAX_METADATA", "MAX_PIXELS", "VERSION", "Header", "Stream"]

MAGIC = b"TK"
VERSION = 1

CODEC_IDS: Mapping[str, int] = {
    "lite": 1,
    "tic": 2,
    "bmshj2018-factorized": 3,
    "bmshj2018-factorized-relu": 4,
    "bmshj2018-hyperprior": 5,
    "mbt2018-mean": 6,
    "mbt2018": 7,
    "cheng2020-anchor": 8,
    "cheng2020-attn": 9,
    "bmshj2018-hyperprior-vbr": 10,
    "mbt2018-mean-vbr": 11,
    "mbt2018-vbr": 12,
}
"""The number that stands for a built-in codec, 1 to 255. Numbers are never given to another name."""

MAX_PIXELS = 2**26
"""Larger images are refused, by encoder and decoder, unless the caller says otherwise (`limits.max_pixels`)."""

MAX_METADATA = 4096
"""Bytes of the metadata as JSON."""

QUALITY_STEPS = 16
MAX_QUALITY = 256
MAX_SIDE = 2**31 - 1

HAS_ADAPTER, HAS_DELTA, HAS_METADATA, ABSOLUTE = 1, 2, 4, 8
NAME = re.compile(r"[a-z0-9._-]{1,64}")
VARINT_BYTES = 5


@dataclass(frozen=True)
class Header:
    """What a decoder must know before it reads the payload.

    `quality` is a multiple of 1/16 from 0 to 256. `adapter_fingerprint` is None for streams without an
    adapter; `has_delta` says that the payload starts with changes to the adapter's singular values, or, if they are
    `absolute`, with these values themselves.
    `metadata` names the adapter and its options where they are not the defaults. Raises UsageError for values that
    cannot be coded.
    """

    codec: str
    codec_fingerprint: bytes
    width: int
    height: int
    quality: float
    adapter_fingerprint: bytes | None = None
    has_delta: bool = False
    index_checksum: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    absolute: bool = False

    def __post_init__(self) -> None:
        _check_names(self)
        for side in ("width", "height"):
            _check_integer(side, getattr(self, side), 1, MAX_SIDE)
        if not 0 <= self.quality <= MAX_QUALITY or self.quality * QUALITY_STEPS % 1:
            raise UsageError(f"quality {self.quality} cannot be coded; valid: multiples of 1/16, 0 to {MAX_QUALITY}")
        _check_integer("index checksum", self.index_checksum, 0, 65535)
        _metadata_bytes(self.metadata)


@dataclass(frozen=True)
class Stream:
    """A header and the payload: one range-coded string that holds singular values (if any), z and y, in that order."""

    header: Header
    payload: bytes

    def to_bytes(self) -> bytes:
        """The whole file."""
        body = _header_bytes(self.header) + self.payload
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes, *, max_pixels: int = MAX_PIXELS) -> Stream:
        """Read a whole file.

        Raises DamagedStreamError, or UnsupportedStreamError for streams of another version and for images of
        more than `max_pixels`.
        """
        data = bytes(data)
        if len(data) < len(MAGIC) + 1 or not data.startswith(MAGIC):
            if found := pointer_to("the stream", data):
                raise DamagedStreamError(f"this is {found}")
            found = data[:2].hex(" ") or "nothing"
            raise DamagedStreamError(f"not a .tkd stream: it starts with {found}, not with {MAGIC.hex(' ')}")
        if data[2] != VERSION:
            raise _unsupported(f"stream version {data[2]} is not known, only version {VERSION}")
        body = data[:-4]
        if len(data) < 7 or zlib.crc32(body) != int.from_bytes(data[-4:], "little"):
            raise DamagedStreamError("the CRC32 does not fit: the stream is truncated or altered; get the file again")
        reader = _Reader(body, 3)
        header = _read_header(reader, max_pixels)
        return cls(header, body[reader.position :])

    @property
    def header_bytes(self) -> int:
        """Bytes that are not payload, the CRC32 included."""
        return len(_header_bytes(self.header)) + 4


class _Reader:
    """Takes bytes from the front; running out of them is damage."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise _damaged("it ends inside the header")
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        value = 0
        for i in range(VARINT_BYTES):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if i and not byte:
                    raise _damaged("a number is written with needless bytes")
                return value
        raise _damaged(f"a number has more than {VARINT_BYTES} bytes")


def _damaged(what: str) -> DamagedStreamError:
    return DamagedStreamError(f"the stream's header is invalid: {what}; get the file again")


def _unsupported(what: str) -> UnsupportedStreamError:
    return UnsupportedStreamError(f"the stream was made by another version of taskodec: {what}; update taskodec")


def _varint(value: int) -> bytes:
    """LEB128: seven bits a byte, lowest first, the top bit set on all but the last byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _check_integer(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{name} {value!r} cannot be coded; valid: whole numbers from {low} to {high}")


def _check_names(header: Header) -> None:
    if not NAME.fullmatch(header.codec):
        raise UsageError(f"codec name {header.codec!r} cannot be coded; valid: 1 to 64 of a-z 0-9 . _ -")
    for which, value in (("codec", header.codec_fingerprint), ("adapter", header.adapter_fingerprint)):
        if value is not None and len(value) != 4:
            raise UsageError(f"the {which}'s fingerprint must have 4 bytes, found {len(value)}")
    if header.has_delta and header.adapter_fingerprint is None:
        raise UsageError("a stream with a delta needs the fingerprint of the adapter that the delta changes")
    if header.absolute and not header.has_delta:
        raise UsageError("absolute singular values must be in the stream: has_delta is false")


def _header_bytes(header: Header) -> bytes:
    metadata = _metadata_bytes(header.metadata)
    flags = HAS_DELTA * header.has_delta | ABSOLUTE * header.absolute
    flags |= HAS_ADAPTER * (header.adapter_fingerprint is not None) | HAS_METADATA * bool(metadata)
    number = CODEC_IDS.get(header.codec, 0)
    name = b"" if number else _varint(len(header.codec)) + header.codec.encode()
    parts = [
        MAGIC + bytes([VERSION, flags, number]) + name,
        header.codec_fingerprint + (header.adapter_fingerprint or b""),
        _varint(header.width) + _varint(header.height) + _varint(int(header.quality * QUALITY_STEPS)),
        header.index_checksum.to_bytes(2, "little"),
        _varint(len(metadata)) + metadata if metadata else b"",
    ]
    return b"".join(parts)


def _read_header(reader: _Reader, max_pixels: int) -> Header:
    flags, number = reader.take(2)
    if flags & ~(HAS_ADAPTER | HAS_DELTA | HAS_METADATA | ABSOLUTE):
        raise _unsupported(f"flags {flags:#04x} are not all known, only up to 0x0f")
    codec = _read_name(reader, number)
    fingerprint = reader.take(4)
    adapter = reader.take(4) if flags & HAS_ADAPTER else None
    width, height = reader.varint(), reader.varint()
    quality = reader.varint() / QUALITY_STEPS
    checksum = int.from_bytes(reader.take(2), "little")
    metadata = _read_metadata(reader) if flags & HAS_METADATA else {}
    try:
        header = Header(
            codec,
            fingerprint,
            width,
            height,
            quality,
            adapter,
            bool(flags & HAS_DELTA),
            checksum,
            metadata,
            bool(flags & ABSOLUTE),
        )
    except UsageError as error:
        raise _damaged(str(error)) from error
    if width * height > max_pixels:
        raise UnsupportedStreamError(
            f"the image has {width}×{height} = {width * height} pixels, more than the limit of {max_pixels}; "
            "if you trust the stream, raise limits.max_pixels"
        )
    return header


def _read_name(reader: _Reader, number: int) -> str:
    if number == 0:
        length = reader.varint()
        if not 1 <= length <= 64:
            raise _damaged(f"a codec name of {length} bytes; valid: 1 to 64")
        return reader.take(length).decode("ascii", errors="replace")  # the header checks its characters
    names = [name for name, known in CODEC_IDS.items() if known == number]
    if not names:
        raise _unsupported(f"codec number {number} is not known, only 1 to {len(CODEC_IDS)}")
    return names[0]


def _metadata_bytes(metadata: Mapping[str, Any]) -> bytes:
    """Compact JSON, or nothing for an empty mapping; UsageError for what would not come back the same."""
    if not metadata:
        return b""
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data, same = text.encode(), json.loads(text) == metadata
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"metadata cannot be written as JSON: {error}") from error
    if not same:
        raise UsageError("metadata would not come back the same from JSON; keys must be text, sequences lists")
    if len(data) > MAX_METADATA:
        raise UsageError(f"metadata has {len(data)} bytes as JSON; valid: up to {MAX_METADATA}")
    return data


def _read_metadata(reader: _Reader) -> dict[str, Any]:
    length = reader.varint()
    if not 1 <= length <= MAX_METADATA:
        raise _damaged(f"metadata of {length} bytes; valid: 1 to {MAX_METADATA}")
    try:
        metadata = json.loads(reader.take(length).decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(f"the metadata is no JSON ({error})") from error
    if not isinstance(metadata, dict) or not metadata:
        raise _damaged("the metadata is no JSON object with content")
    return metadata
