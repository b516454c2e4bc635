"""Colours that a file describes where Pillow does not look: as if it had a profile that says the same."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from taskodec.images.tensors import load_image
from taskodec.pixels.colour_tags import bits_a_channel, declared_profile
from taskodec.pixels.icc import BT709, gray_profile, matrix_profile

P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 48))
GRAY = PICTURE.convert("L")


def saved(form, image=PICTURE, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks, image=PICTURE, **options):
    plain = saved("PNG", image, **options)
    return plain[:33] + b"".join(chunk(*part) for part in chunks) + plain[33:]


def gamma(value):
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def places(*values):
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


def same(data, profile, image=PICTURE):
    """Whether a PNG is read as the same pixels with a profile are."""
    return bool((load_image(data).x - load_image(saved("PNG", image, icc_profile=profile)).x).abs().max() < 1.6 / 255)


@pytest.mark.parametrize(
    ("chunks", "profile"),
    [
        ([gamma(1)], matrix_profile(BT709, 1.0)),
        ([gamma(1 / 1.8)], matrix_profile(BT709, 1.8)),
        ([places(*P3)], matrix_profile(P3, None)),
        ([gamma(0.45455), places(*P3)], matrix_profile(P3, None)),
        ([gamma(0.5), places(*P3)], matrix_profile(P3, 2.0)),
        ([(b"cICP", bytes([12, 13, 0, 1]))], matrix_profile(P3, None)),
        ([(b"cICP", bytes([1, 8, 0, 1]))], matrix_profile(BT709, 1.0)),
        ([(b"cICP", bytes([12, 2, 0, 1])), gamma(1)], matrix_profile(P3, None)),
    ],
)
def test_numbers_of_png(chunks, profile):
    assert same(png_with(*chunks), profile)
    assert not same(png_with(), profile)
    assert load_image(png_with(*chunks)).notes[0].startswith("colours converted from '")


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma(0.45455)],
        [gamma(0.45)],
        [places(*BT709)],
        [gamma(0.45455), places(*BT709)],
        [(b"sRGB", b"\0"), gamma(1), places(*P3)],
        [(b"cICP", bytes([1, 13, 0, 1])), gamma(1)],
        [(b"cICP", bytes([2, 2, 0, 1]))],
        [(b"cICP", b"\1")],
    ],
)
def test_numbers_of_srgb_change_nothing_and_are_not_mentioned(chunks):
    loaded = load_image(png_with(*chunks))
    assert bool((loaded.x == load_image(png_with()).x).all())
    assert loaded.notes == []


def test_greys_of_png():
    assert same(png_with(gamma(1), image=GRAY), gray_profile(1.0), GRAY)
    assert same(png_with((b"cICP", bytes([9, 8, 0, 1])), image=GRAY), gray_profile(1.0), GRAY)
    assert load_image(png_with(places(*P3), image=GRAY)).notes == []


def test_a_profile_goes_before_numbers_but_not_before_code_points():
    linear = matrix_profile(BT709, 1.0, "linear")
    assert same(png_with(gamma(0.5), places(*P3), icc_profile=linear), linear)
    assert same(png_with((b"cICP", bytes([12, 13, 0, 1])), icc_profile=linear), matrix_profile(P3, None))


def test_hdr_is_said_and_a_profile_beside_it_used():
    hdr = (b"cICP", bytes([9, 16, 0, 1]))
    said = "colours read as sRGB: no profile is known for primaries 9 and transfer 16, which is HDR (PQ)"
    assert load_image(png_with(hdr)).notes == [said]
    linear = matrix_profile(BT709, 1.0, "linear")
    assert same(png_with(hdr, icc_profile=linear), linear)


def test_primaries_of_png_that_are_none():
    loaded = load_image(png_with(gamma(0.5), places(*(0.3,) * 8)))
    assert loaded.notes[0].startswith("colours read as sRGB: these are no primaries")
    assert load_image(png_with(gamma(0))).notes == []


def test_code_points_of_avif():
    data = saved("AVIF", quality=100, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    assert data[at : at + 4] == struct.pack(">HH", 1, 13)
    plain = load_image(data)
    assert plain.notes == []
    values = Image.fromarray((plain.x[0].permute(1, 2, 0) * 255).round().byte().numpy())
    p3 = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    assert same(p3, matrix_profile(P3, None), values)
    assert load_image(p3).notes == ["colours converted from 'Display P3' to sRGB"]
    with_profile = saved("AVIF", quality=100, icc_profile=matrix_profile(BT709, 1.0, "linear"))
    assert load_image(with_profile).notes == ["colours converted from 'linear' to sRGB"]


def jp2_with(profile):
    """A JPEG 2000 whose colour specification is a profile."""
    data = saved("JPEG2000")
    header, colour = data.index(b"jp2h") - 4, data.index(b"colr") - 4
    (size,), (old,) = struct.unpack_from(">I", data, header), struct.unpack_from(">I", data, colour)
    box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    grown = struct.pack(">I", size - old + len(box))
    return data[:header] + grown + data[header + 4 : colour] + box + data[colour + old :]


def test_profiles_of_jpeg_2000():
    profile = matrix_profile(P3, None, "P3")
    assert same(jp2_with(profile), profile)
    assert load_image(jp2_with(profile)).notes == ["colours converted from 'P3' to sRGB"]
    assert load_image(jp2_with(matrix_profile(BT709, None))).notes == []
    assert load_image(saved("JPEG2000")).notes == []
    damaged = "colours read as sRGB and the colour profile not used: it is damaged"
    assert load_image(jp2_with(b"no profile")).notes == [damaged]


def bmp_with(profile, kind=b"DEBM"):
    """A BMP with a header of version 5."""
    plain = saved("BMP")
    pixels = plain[54:]
    head = struct.pack("<I", 124) + plain[18:54] + struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0)
    head += kind + bytes(36 + 12) + struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    return plain[:10] + struct.pack("<I", 14 + 124) + head + pixels + profile


def test_profiles_of_bmp():
    profile = matrix_profile(P3, None, "P3")
    assert same(bmp_with(profile), profile)
    assert load_image(bmp_with(profile, b"BGRs")).notes == []
    assert load_image(saved("BMP")).notes == []


def test_more_than_eight_bits_are_said():
    ppm = b"P6\n1 1\n1023\n" + struct.pack(">3H", 1023, 0, 512)
    plain = b"P3\n1 1\n65535\n65535 0 32768\n"
    for data, bits in ((ppm, 10), (plain, 16)):
        loaded = load_image(data)
        assert loaded.notes == [f"{bits} bits a channel read as 8"]
        assert loaded.x.flatten().tolist() == pytest.approx([1, 0, 0.5], abs=0.01)
    assert load_image(b"P5\n1 1\n65535\n\x80\x01").notes == []  # of grey none are lost

    jp2, raw, avif = saved("JPEG2000"), saved("JPEG2000", no_jp2=True), saved("AVIF")
    at, flags = jp2.index(b"ihdr") + 14, avif.index(b"av1C") + 6
    cases = [(jp2, at, 7, 8), (jp2, at, 15, 16), (jp2, at, 255, 8), (raw, 42, 11, 12), (raw, 42, 0x89, 10)]
    cases += [(avif, flags, avif[flags], 8), (avif, flags, 0x40, 10), (avif, flags, 0x60, 12)]
    for data, place, value, bits in cases:
        with Image.open(io.BytesIO(data)) as image:
            changed = data[:place] + bytes([value]) + data[place + 1 :]
            assert bits_a_channel(image, io.BytesIO(changed)) == bits
    with Image.open(io.BytesIO(jp2)) as image:
        assert bits_a_channel(image, None) == 8
        assert bits_a_channel(image, io.BytesIO(jp2[:30])) == 8


@pytest.mark.parametrize("make", [lambda: jp2_with(matrix_profile(P3, None)), lambda: saved("AVIF")])
def test_boxes_that_end_anywhere_are_no_error(make):
    data = make()
    form = "AVIF" if b"ftypavif" in data else "JPEG2000"
    for end in range(0, min(len(data), 600), 3):
        profile, note = declared_profile({}, form, io.BytesIO(data[:end]), gray=False)
        assert profile is None or isinstance(profile, bytes)
        assert note == ""
    for at in range(0, min(len(data), 300)):
        damaged = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
        declared_profile({}, form, io.BytesIO(damaged), gray=False)
