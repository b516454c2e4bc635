"""Pillow reads what is wanted, under the limits that are set, and nothing of that outlasts the reading."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import AvifImagePlugin, EpsImagePlugin, GifImagePlugin, Image

from taskodec.errors import ImageError, UsageError
from taskodec.files.atomic import FORMATS
from taskodec.images.tensors import load_image
from taskodec.pixels.pillow import decode_file, encode_picture, open_picture, picture_size, reading

SIZE = (40, 30)


def saved(form, image=None, **options):
    buffer = io.BytesIO()
    (image or Image.effect_noise(SIZE, 50).convert("RGB")).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def load_and_return(opened):
    opened.image.load()
    return opened


def png_header(width, height):
    """A PNG that says it has so many pixels, and has none."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_that_is_read(form):
    loaded = load_image(saved(form))
    assert loaded.x.shape == (1, 3, *SIZE[::-1])
    assert loaded.notes == []


@pytest.mark.parametrize("form", ["EPS", "PDF", "PCX", "TGA", "ICO", "DDS", "SGI", "SPIDER", "XBM"])
def test_no_other_format_is_opened_whatever_the_name(form, tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was started"))
    image = {"SPIDER": Image.new("F", SIZE), "XBM": Image.new("1", SIZE)}.get(form)
    path = tmp_path / "photo.png"
    path.write_bytes(saved(form, image))
    with pytest.raises(ImageError, match=r"photo\.png is .*not an image in a format that is read: AVIF, BMP, GIF"):
        load_image(path)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"%PDF-1.7\n", "a PDF, not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript, not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture, not an image"),
        (b"<!DOCTYPE html>", "text (HTML, XML or SVG), not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "a Git LFS pointer, not the picture: run"),
        (b"/annex/objects/SHA256E-s9--4d7a.jpg\n", "a git-annex pointer, not the picture: run `git annex get`"),
        (b"", "empty, not an image"),
    ],
)
def test_what_is_no_picture_is_named(start, what, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(start)
    for read in (load_image, picture_size):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert f"{path} is {what}" in str(caught.value)


def test_the_limit_is_the_one_that_was_asked_for():
    """Pillow's own is 179 megapixels."""
    data = png_header(20_000, 10_000)
    with pytest.raises(ImageError, match=r"20000x10000 pixels: the limit is 67108864 in all; raise limits\.max_pixels"):
        load_image(data)
    with pytest.raises(ImageError, match="the limit is 199999999 in all"):
        load_image(data, max_pixels=199_999_999)
    with reading("picture", 200_000_000):
        assert open_picture(io.BytesIO(data), "picture").size == (20_000, 10_000)


def test_the_size_of_a_file_has_no_limit(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(2**31 - 1, 2**31 - 1))
    assert picture_size(path) == (2**31 - 1, 2**31 - 1)


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_asks_for_another_limit(form, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses more than twice as many
    data = saved(form)
    assert load_image(data).x.shape == (1, 3, *SIZE[::-1])
    with pytest.raises(ImageError, match="40x30 pixels: the limit is 1199"):
        load_image(data, max_pixels=1199)


def test_other_threads_keep_the_limit_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    own, data, found = Image._decompression_bomb_check, saved("PNG"), []

    def other():
        with pytest.raises(Image.DecompressionBombError):
            Image.open(io.BytesIO(data))
        found.append(True)

    with reading("picture", 10**9):
        assert open_picture(io.BytesIO(data), "picture").size == SIZE
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [True]
    assert Image._decompression_bomb_check is own
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))


def test_warnings_neither_leak_nor_stay_silenced():
    """Sixteen threads read at once what Pillow warns of."""
    broken = saved("PNG")
    broken = broken[:33] + chunk(b"acTL", bytes(8)) + broken[33:]
    before, shown = list(warnings.filters), warnings.showwarning
    notes = []

    def read():
        for _ in range(5):
            notes.append(load_image(broken).notes)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes == [["Invalid APNG, will use default PNG image if possible"]] * 80
    assert warnings.filters == before
    assert warnings.showwarning is shown
    with pytest.raises(UserWarning, match="still an error"):
        warnings.warn("still an error", stacklevel=1)


def test_reading_within_reading_is_no_deadlock():
    data = saved("PNG")
    with reading("outer", 10**9):
        assert load_image(data).x.shape == (1, 3, *SIZE[::-1])


@pytest.mark.parametrize("error", [KeyError("a"), RecursionError(), struct.error("b"), MemoryError(), AssertionError()])
def test_whatever_a_decoder_raises_is_an_image_error(error, monkeypatch):
    def fail(self):
        raise error

    monkeypatch.setattr(GifImagePlugin.GifImageFile, "load", fail, raising=False)
    with pytest.raises(ImageError, match=r"<bytes> (cannot be decoded, it may be damaged: .|does not fit into memory)"):
        load_image(saved("GIF"))


def test_a_damaged_second_frame_leaves_the_first():
    frames = [Image.effect_noise(SIZE, 50) for _ in range(2)]
    data = saved("GIF", frames[0], save_all=True, append_images=frames[1:])
    start = data.rindex(b",\0\0\0\0" + struct.pack("<HH", *SIZE))  # the descriptor of the second
    first = load_image(saved("GIF", frames[0])).x
    for damaged in (data[: start + 40], data[:start] + bytes(60)):
        loaded = load_image(damaged)
        assert np.array_equal(loaded.x, first)


def test_a_file_that_cannot_be_rewound(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.inner = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.inner.readinto(buffer)

    data = saved("PNG")
    assert np.array_equal(load_image(io.BufferedReader(Pipe(data))).x, load_image(data).x)


def test_work_is_told_whether_the_file_is_whole():
    good = saved("PNG")
    bad = good[:33] + chunk(b"zTXt", b"about\0\0" + zlib.compress(bytes(2**21))) + good[33:]
    told = []
    for data in (good, bad):
        opened, notes = decode_file(io.BytesIO(data), "a", 10**9, load_and_return)
        told.append((opened.image.size, opened.whole))
    assert told == [(SIZE, True), (SIZE, False)]
    assert notes == ["parts of the file beside the pixels cannot be read, and were left out"]


def test_a_pillow_without_a_format_says_so(monkeypatch):
    data = saved("AVIF")
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(ImageError, match=r"not an image .*; .* because AVIF support not installed"):
        load_image(data)


def test_avif_has_a_limit_of_its_own():
    with pytest.raises(UsageError, match="AVIF takes at most 32768 pixels a side, and the picture has 32769x1"):
        encode_picture(Image.new("RGB", (32769, 1)), "AVIF")
