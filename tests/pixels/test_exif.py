"""Pictures are upright whatever else EXIF holds: blocks with a mistake in them, written byte by byte."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from taskodec.errors import ImageError
from taskodec.images.tensors import load_image
from taskodec.pixels.exif import ORIENTATION, orientation, read_directory

WIDTH, HEIGHT = 6, 4
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""What makes a picture upright, by EXIF 2.32, section 4.6.4."""

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SSHORT = 1, 2, 3, 4, 5, 7, 8
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
NAMES = (270, 271, 272, 305, 306, 315, 33432)  # texts, from the description on
EXIF, GPS = 34665, 34853


class Block:
    """A TIFF header, then what is pointed to, then the first directory."""

    def __init__(self, order, pixels=b""):
        self.order, self.body = order, pixels

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def text(self, tag, text):
        return (tag, ASCII, len(text) + 1, text.encode() + b"\0")

    def short(self, tag, value):
        return (tag, SHORT, 1, self.pack("H", value))

    def long(self, tag, value):
        return (tag, LONG, 1, self.pack("L", value))

    def rational(self, tag, *values):
        return (tag, RATIONAL, len(values), b"".join(self.pack("LL", round(100 * v), 100) for v in values))

    def directory(self, entries):
        """Put one at the end; where it lies."""
        table = b""
        for tag, kind, count, value in sorted(entries, key=lambda entry: entry[0]):
            inline = value
            if len(value) > 4:
                inline = self.pack("L", 8 + len(self.body))
                self.body += value
            table += self.pack("HHL", tag, kind, count) + inline.ljust(4, b"\0")
        self.body += bytes(len(self.body) % 2)
        self.body += self.pack("H", len(entries)) + table + bytes(4)
        return 8 + len(self.body) - len(table) - 6

    def whole(self, entries):
        first = self.directory(entries)
        start = b"II" if self.order == "<" else b"MM"
        return start + self.pack("HL", 42, first) + self.body


def right_entries(block, turn, rng):
    """What a camera writes."""
    exposure = [block.rational(33434, 1 / 50), block.short(34855, 200), (36864, UNDEFINED, 4, b"0232")]
    exposure.append((37500, UNDEFINED, 40, rng.randbytes(40)))  # a maker's note
    place = [block.text(1, "N"), block.rational(2, 48, 8, 14.5), (5, BYTE, 1, b"\0"), block.rational(6, 35)]
    entries = [block.text(tag, "Camera 5") for tag in NAMES]
    entries += [block.short(ORIENTATION, turn), block.rational(282, 72), block.rational(283, 72), block.short(296, 2)]
    entries += [block.long(EXIF, block.directory(exposure)), block.long(GPS, block.directory(place))]
    return {entry[0]: entry for entry in entries}


def wrong_entry(block, rng):
    """A tag that is not what it should be."""
    kind = rng.randrange(7)
    if kind == 0:  # text where numbers belong
        return block.text(rng.choice([282, 283, 296, EXIF, GPS, 33434]), rng.choice(["72", "abc", "1/72", "x" * 99]))
    if kind == 1:  # less than nothing
        return (rng.choice([282, 296, EXIF, GPS, *NAMES]), SSHORT, 1, block.pack("h", -rng.randrange(1, 2**15)))
    if kind == 2:  # numbers where text belongs
        return block.rational(rng.choice(NAMES), *[rng.random()] * rng.randrange(1, 4))
    if kind == 3:  # a directory that is elsewhere, or none
        return block.long(rng.choice([EXIF, GPS]), rng.choice([0, 1, 8, 9, 2**31, 2**32 - 1, rng.randrange(400)]))
    if kind == 4:  # inside the place
        inner = wrong_value(block, rng, rng.choice([1, 2, 5, 6, 29]))
        return block.long(GPS, block.directory([block.text(3, "E"), inner]))
    return wrong_value(block, rng, rng.choice([282, 283, 296, EXIF, GPS, 700, 33723, 34377, 50341, *NAMES]))


def wrong_value(block, rng, tag):
    """Any type, any number of values, and bytes that may fit."""
    kind = rng.choice([0, *range(1, 19), 255, 65535])
    count = rng.choice([0, 1, 1, 1, 2, 3, 5, 65536, 2**32 - 1])
    size = count * SIZES.get(kind, 1)
    if size <= 64 and rng.random() < 0.7:
        return (tag, kind, count, rng.randbytes(size))
    return (tag, kind, count, block.pack("L", rng.choice([0, 8, 2**31, 2**32 - 1, rng.randrange(2000)])))


def damaged_block(rng, turn, order, tiff=()):
    """A block with one mistake; with `tiff`, entries that say where the pixels are, a whole file."""
    block = Block(order, PIXELS.tobytes() if tiff else b"")
    entries = right_entries(block, turn, rng) | {entry[0]: entry for entry in tiff}
    wrong = wrong_entry(block, rng)
    return block.whole([*(entries | {wrong[0]: wrong}).values()])


def png_with(exif):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.tobytes() for row in PIXELS)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"eXIf", exif), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def saved(form, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **options)
    return buffer.getvalue()


def jpeg_with(exif):
    plain = saved("JPEG")
    body = b"Exif\0\0" + exif
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]


def webp_with(exif):
    return saved("WEBP", lossless=True, exif=exif)


def tiff_entries(block):
    pixels = [(258, SHORT, 3, block.pack("HHH", 8, 8, 8)), block.long(273, 8), block.long(279, PIXELS.size)]
    numbers = {256: WIDTH, 257: HEIGHT, 259: 1, 262: 2, 277: 3, 278: HEIGHT}
    return [*pixels, *(block.short(tag, value) for tag, value in numbers.items())]


def shown(data):
    """The picture in bytes, as a codec gets it."""
    return (load_image(data).x[0].permute(1, 2, 0) * 255).round().byte().numpy()


CONTAINERS = {"JPEG": jpeg_with, "PNG": png_with, "WebP": webp_with, "TIFF": None}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_thousand_blocks_with_a_mistake_leave_pictures_upright(container):
    rng = random.Random(f"{container} with one wrong tag")
    stored = shown(saved("JPEG")) if container == "JPEG" else PIXELS
    wrong = []
    for number in range(1000):
        turn, order = rng.randrange(1, 9), rng.choice("<>")
        if container == "TIFF":
            data = damaged_block(rng, turn, order, tiff_entries(Block(order)))
        else:
            data = CONTAINERS[container](damaged_block(rng, turn, order))
        try:
            found = shown(data)
        except ImageError as error:
            wrong.append((number, str(error)))
            continue
        if not np.array_equal(found, TURNS[turn](stored)):
            wrong.append((number, "not upright"))
    assert wrong == []


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("form", "BbHhLl")
def test_whole_numbers_of_every_type_are_orientations(form, order):
    block = Block(order)
    kind = {"B": 1, "b": 6, "H": 3, "h": 8, "L": 4, "l": 9}[form]
    whole = block.whole([(ORIENTATION, kind, 1, block.pack(form, 6))])
    assert orientation({"exif": whole}) == (6, "")
    assert orientation({"exif": b"Exif\0\0" + whole}) == (6, "")


@pytest.mark.parametrize("count", [2, 3, 100])
def test_of_several_the_first_counts(count):
    block = Block("<")
    whole = block.whole([(ORIENTATION, SHORT, count, block.pack("H", 8) + bytes(2 * count - 2))])
    assert orientation({"exif": whole}) == (8, "")


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (ASCII, 2, b"6\0"),
        (RATIONAL, 1, struct.pack("<LL", 6, 1)),
        (UNDEFINED, 1, b"\6"),
        (SHORT, 1, struct.pack("<H", 9)),
        (SSHORT, 1, struct.pack("<h", -6)),
        (LONG, 1, struct.pack("<L", 2**31)),
        (SHORT, 0, b"\6\0"),
        (LONG, 100, struct.pack("<L", 2**32 - 1)),
        (77, 1, b"\6\0"),
    ],
)
def test_what_is_no_orientation_is_said(kind, count, value):
    whole = Block("<").whole([(ORIENTATION, kind, count, value)])
    turn, note = orientation({"exif": whole})
    assert turn == 1
    assert "no number from 1 to 8" in note
    loaded = load_image(png_with(whole))
    assert np.array_equal(shown(png_with(whole)), PIXELS)
    assert loaded.notes == [note]


def test_nought_is_what_cameras_write_that_do_not_know():
    block = Block(">")
    assert orientation({"exif": block.whole([block.short(ORIENTATION, 0)])}) == (1, "")


@pytest.mark.parametrize(
    "block",
    [b"", b"II", b"II*\0", b"garbage in place of a header", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff", b"II+\0\x08"],
)
def test_blocks_that_are_none_say_nothing(block):
    assert orientation({"exif": block}) == (1, "")
    assert np.array_equal(shown(png_with(block)), PIXELS)


def test_every_end_of_a_block_is_read_as_far_as_it_goes():
    block = Block("<")
    whole = block.whole([block.text(271, "Camera"), block.short(ORIENTATION, 3), block.short(296, 2)])
    turns = [orientation({"exif": whole[:end]})[0] for end in range(len(whole) + 1)]
    assert turns == sorted(turns)
    assert set(turns) == {1, 3}


def test_imagemagick_and_xmp():
    block = Block(">")
    digits = block.whole([block.short(ORIENTATION, 5)]).hex()
    assert orientation({"Raw profile type exif": f"\nexif\n  30\n{digits[:20]}\n{digits[20:]}\n"}) == (5, "")
    assert orientation({"Raw profile type exif": "no\nlines"}) == (1, "")
    for xmp in ('<x tiff:Orientation="7"/>', b"<tiff:Orientation>7</tiff:Orientation>"):
        assert orientation({"xmp": xmp}) == (7, "")
        assert orientation({"xmp": xmp, "exif": block.whole([block.text(271, "Camera")])}) == (7, "")
    assert orientation({"xmp": b'tiff:Orientation="9"'}) == (1, "")


def test_directories_of_both_widths():
    block = Block("<")
    small = read_directory(block.whole([block.short(256, 5)]))
    assert (small.order, small.big, [entry.tag for entry in small.entries]) == ("<", False, [256])
    big = b"MM\0+" + struct.pack(">HHQQHHQH6x", 8, 0, 16, 1, ORIENTATION, SHORT, 1, 6)
    assert read_directory(big).integer(big, ORIENTATION) == 6
    assert read_directory(big[:-1]).entries == ()
