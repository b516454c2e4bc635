"""What lies beside the pixels is no reason not to read them, and is used as far as it can be read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from taskodec.errors import ImageError
from taskodec.images.tensors import load_image
from taskodec.pixels.bare_files import without_metadata
from taskodec.pixels.icc import BT709, matrix_profile

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8))
LEFT_OUT = "parts of the file beside the pixels cannot be read, and were left out"
LONG = zlib.compress(bytes(2**21))
LINEAR = matrix_profile(BT709, 1.0, "linear")
TURNED = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHLHH", 274, 3, 1, 6, 0) + bytes(4)


def saved(form, **options):
    buffer = io.BytesIO()
    PICTURE.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks, after=False):
    plain = saved("PNG")
    at = len(plain) - 12 if after else 33
    return plain[:at] + b"".join(chunk(*part) for part in chunks) + plain[at:]


def jpeg_with(*segments):
    plain = saved("JPEG", quality=95)
    parts = (b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return plain[:2] + b"".join(parts) + plain[2:]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "chunks",
    [
        [(b"zTXt", b"about\0\0" + LONG)],
        [(b"iTXt", b"about\0\1\0\0\0" + LONG)],
        [(b"tEXt", b"about\0" + bytes(2**20)) for _ in range(65)],
        [(b"zTXt", b"about\0\7what")],
        [(b"gAMA", b"\0")],
        [(b"cHRM", b"\0")],
        [(b"sRGB", b"")],
        [(b"pHYs", b"\0\0")],
        [(b"acTL", b"")],
        [(b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", b"")],
    ],
)
def test_chunks_that_pillow_refuses(chunks, after):
    loaded = load_image(png_with(*chunks, after=after))
    assert np.array_equal((loaded.x[0].permute(1, 2, 0) * 255).round(), np.asarray(PICTURE))
    assert loaded.notes in ([LEFT_OUT], [])  # what comes after the pixels is not always looked at


def test_a_text_of_any_length_is_none_of_our_business():
    assert load_image(png_with((b"tEXt", b"about\0" + bytes(2**21)))).notes == []
    assert PngImagePlugin.MAX_TEXT_CHUNK < 2**21  # of what is unpacked


def test_a_wrong_checksum_counts_where_pixels_are():
    plain = saved("PNG")
    text = bytearray(chunk(b"tEXt", b"a\0b"))
    text[-1] ^= 1
    assert load_image(plain[:33] + bytes(text) + plain[33:]).notes == [LEFT_OUT]
    at = plain.index(b"IDAT") + 10
    with pytest.raises(ImageError, match="cannot be decoded, it may be damaged"):
        load_image(plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :])


def test_what_says_how_a_png_is_shown_is_kept_when_the_rest_is_left_out():
    refused = (b"zTXt", b"about\0\0" + LONG)
    large = LINEAR + bytes(2**20)  # more than Pillow takes
    upright = load_image(PICTURE.transpose(Image.Transpose.ROTATE_270)).x
    name = "colours converted from 'linear' to sRGB"
    assert load_image(png_with(refused, (b"eXIf", TURNED))).x.equal(upright)
    assert load_image(png_with((b"iCCP", b"n\0\0" + zlib.compress(large)))).notes == [name, LEFT_OUT]
    assert load_image(png_with(refused, (b"gAMA", struct.pack(">I", 100_000)))).notes[0].startswith("colours converted")
    assert load_image(png_with(refused, (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000)))).notes == [LEFT_OUT]
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    assert load_image(png_with(refused, (b"iTXt", xmp))).x.equal(upright)
    magick = f"\nexif\n      26\n{TURNED.hex()}\n".encode()
    text = (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(magick))
    assert load_image(png_with(refused, text)).x.equal(upright)


@pytest.mark.parametrize("body", [b"", b"name", b"name\0", b"name\0\7" + zlib.compress(LINEAR), b"name\0\0damaged"])
def test_profiles_of_png_that_are_damaged_are_said(body):
    notes = load_image(png_with((b"iCCP", body))).notes
    assert notes[0].startswith("colours converted from 'linear'" if b"\7" in body else "colours read as sRGB and the")


@pytest.mark.parametrize(
    "segment",
    [
        (0xE0, b"JFIF"),
        (0xEE, b"Adobe"),
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0II*\0"),
        (0xE1, b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\xff" * 65000),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<" * 60000),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0garbage"),
        (0xED, b"Photoshop 3.0\0008BIM"),
        (0xED, b"Photoshop 3.0\0008BIM\x03\xed\0\0\0\0\0\1x"),
        (0xFE, b""),
    ],
)
def test_segments_of_jpeg(segment):
    loaded = load_image(jpeg_with(segment, (0xE1, b"Exif\0\0" + TURNED)))
    plain = load_image(jpeg_with())
    one_block = segment[1].startswith(b"Exif\0\0II")  # EXIF in two parts is one, which here begins with what is broken
    assert loaded.x.equal(plain.x if one_block else plain.x.rot90(-1, (2, 3)))


def parts_of(profile, size=200):
    bodies = [profile[start : start + size] for start in range(0, len(profile), size)]
    return [(0xE2, b"ICC_PROFILE\0" + bytes([n, len(bodies)]) + body) for n, body in enumerate(bodies, 1)]


def test_a_profile_of_jpeg_in_parts():
    broken = (0xE0, b"JFIF")  # which Pillow refuses
    parts = parts_of(LINEAR)
    name = "colours converted from 'linear' to sRGB"
    damaged = "colours read as sRGB and the colour profile not used: it is damaged"
    assert len(parts) > 1
    for segments in ([], [broken]):
        more = [LEFT_OUT] if segments else []
        assert load_image(jpeg_with(*segments, *parts)).notes == [name, *more]
        assert load_image(jpeg_with(*segments, *reversed(parts))).notes == [name, *more]
        assert load_image(jpeg_with(*segments, *parts[1:])).notes == [damaged, *more]
        assert load_image(jpeg_with(*segments, *parts[:-1])).notes == [damaged, *more]


def test_inks_of_jpeg_stay_what_they_are():
    """Adobe's segment says how they are stored, and is kept."""
    buffer = io.BytesIO()
    PICTURE.resize((32, 32)).convert("CMYK").save(buffer, "JPEG", quality=95)
    plain = buffer.getvalue()
    damaged = plain[:2] + b"\xff\xe0\0\6JFIF" + plain[2:]
    assert load_image(damaged).x.equal(load_image(plain).x)
    assert LEFT_OUT in load_image(damaged).notes


def tiff_entry_with(data, tag, kind, value):
    """The TIFF with a further entry in its first directory, which is moved to the end."""
    (offset,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, offset)
    entries = [data[offset + 2 + 12 * i : offset + 14 + 12 * i] for i in range(count)]
    entries = sorted([*entries, struct.pack("<HHI4s", tag, kind, 1, value)])
    table = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + table


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
@pytest.mark.parametrize("turn", [1, 6])
def test_tags_of_tiff_that_pillow_refuses(compression, turn):
    plain = load_image(saved("TIFF", compression=compression)).x
    turned = tiff_entry_with(saved("TIFF", compression=compression), 274, 4, struct.pack("<I", turn))
    damaged = tiff_entry_with(turned, 282, 2, b"72\0\0")  # a resolution in letters
    damaged = tiff_entry_with(damaged, 296, 3, b"\3\0\0\0")
    loaded = load_image(damaged)
    assert loaded.x.equal(plain.rot90(-1, (2, 3)) if turn == 6 else plain)
    assert loaded.notes == [LEFT_OUT]


def test_a_tiff_whose_second_page_is_damaged():
    data = bytearray(saved("TIFF", save_all=True, append_images=[PICTURE]))
    assert "2 frames" in load_image(bytes(data)).notes[0]
    (offset,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, offset)
    (second,) = struct.unpack_from("<I", data, offset + 2 + 12 * count)
    (entries,) = struct.unpack_from("<H", data, second)
    for entry in range(entries):  # of which none makes sense
        struct.pack_into("<HH", data, second + 2 + 12 * entry, 60_000 + entry, 3)
    loaded = load_image(bytes(data))
    assert np.array_equal((loaded.x[0].permute(1, 2, 0) * 255).round(), np.asarray(PICTURE))
    assert loaded.notes == [LEFT_OUT]


def test_exif_of_avif_that_pillow_refuses():
    exif = Image.Exif()
    exif[274], exif[282], exif[270] = 6, 72.0, "about"
    data = saved("AVIF", exif=exif.tobytes(), quality=100)
    at = data.index(struct.pack(">HH", 282, 5)) if b"MM\0*" in data else data.index(struct.pack("<HH", 282, 5))
    kind = b"\0\2" if b"MM\0*" in data else b"\2\0"
    damaged = data[: at + 2] + kind + data[at + 4 :]
    assert damaged != data
    loaded, plain = load_image(damaged), load_image(data)
    assert plain.x.shape == (1, 3, 6, 4)
    assert loaded.x.equal(plain.x)


def test_what_is_damaged_for_good():
    starts = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\xff\xff", b"II*\0\x08\0\0\0", b"MM\0*", b"II+\0"
    for data in starts:
        with pytest.raises(ImageError):
            load_image(data)
        bare = without_metadata(io.BytesIO(data))
        assert bare is None or bare[1] == {}
    assert without_metadata(io.BytesIO(b"GIF89a")) is None
