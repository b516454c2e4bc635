"""The classical codecs write real files of the format they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from taskodec.codecs.plugin import register_anchors
from taskodec.errors import ImageError, UsageError
from taskodec.hooks.specs import Anchor, resolve

ANCHORS = {spec.name: resolve(spec.load)() for spec in register_anchors() if spec.fidelity}
PHOTO = Path(__file__).parents[2] / "docs" / "images" / "kodim23.png"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth colours with a fine pattern, of odd size."""
    y, x = np.mgrid[0:93, 0:131]
    pixels = np.stack([x + 60 * np.sin(y / 9), 2 * y, 128 + 60 * np.sin(x * y / 300)], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.square(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()
    return float(10 * np.log10(255**2 / error))


def test_the_built_in_ones_are_anchors() -> None:
    assert list(ANCHORS) == ["jpeg", "webp", "avif", "jpeg2000"]
    for name, one in ANCHORS.items():
        assert isinstance(one, Anchor)
        assert (one.name, len(one.qualities)) == (name, 10)
        assert one.version.startswith("Pillow ")
    assert "subsampling=4:2:0" in ANCHORS["jpeg"].version


@pytest.mark.parametrize("name", ANCHORS)
def test_rates_on_a_photograph_span_a_tenth_to_two_bits_per_pixel(name: str) -> None:
    one = ANCHORS[name]
    with Image.open(PHOTO) as image:
        crop = image.convert("RGB").crop((256, 128, 512, 384))
    low, high = (8 * len(one.encode(crop, quality)) / 256**2 for quality in (one.qualities[0], one.qualities[-1]))
    assert low < 0.13
    assert 1.9 < high < 2.6


@pytest.mark.parametrize("name", ANCHORS)
def test_more_bytes_give_a_better_picture(name: str, picture: Image.Image) -> None:
    one = ANCHORS[name]
    files = [one.encode(picture, quality) for quality in one.qualities]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3 * sizes[0]
    decoded = [one.decode(data) for data in files]
    assert {(image.size, image.mode) for image in decoded} == {(picture.size, "RGB")}
    assert psnr(decoded[-1], picture) > max(30, psnr(decoded[0], picture) + 3)


@pytest.mark.parametrize(
    ("name", "start"),
    [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("avif", b"\0\0\0"), ("jpeg2000", b"\0\0\0\x0cjP")],
)
def test_files_are_of_the_format(name: str, start: bytes, picture: Image.Image) -> None:
    one = ANCHORS[name]
    data = one.encode(picture, one.qualities[4])
    assert data.startswith(start)
    assert one.encode(picture, one.qualities[4]) == data


def test_jpeg_halves_its_colours(picture: Image.Image) -> None:
    data = ANCHORS["jpeg"].encode(picture, 50)
    frame = data.index(b"\xff\xc0")
    assert data[frame + 11] == 0x22  # the luma sampling factors


def test_jpeg2000_keeps_to_its_rate() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    size = len(ANCHORS["jpeg2000"].encode(noise, 20))
    assert size == pytest.approx(128 * 128 * 3 / 20, rel=0.15)


@pytest.mark.parametrize("name", ANCHORS)
def test_greyscale_is_taken_as_rgb(name: str, picture: Image.Image) -> None:
    one = ANCHORS[name]
    assert one.decode(one.encode(picture.convert("L"), one.qualities[-1])).mode == "RGB"


@pytest.mark.parametrize("name", ANCHORS)
def test_damaged_files_are_refused(name: str, picture: Image.Image) -> None:
    one = ANCHORS[name]
    for data in (b"", b"not a picture", one.encode(picture, one.qualities[0])[:40]):
        with pytest.raises(ImageError, match=f"no readable {name} file"):
            one.decode(data)


def test_pictures_have_no_limit_but_that_of_the_format(picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for one in ANCHORS.values():
        assert one.decode(one.encode(picture, one.qualities[0])).size == picture.size


@pytest.mark.parametrize(("name", "most"), [("webp", 16383), ("jpeg", 65500), ("avif", 32768)])
def test_sides_that_a_format_does_not_have_are_refused(name: str, most: int) -> None:
    found = f"takes at most {most} pixels a side, and the picture has 1x{most + 1}: choose another format"
    with pytest.raises(UsageError, match=found):
        ANCHORS[name].encode(Image.new("RGB", (1, most + 1)), 50)


def test_another_format_is_refused(picture: Image.Image) -> None:
    with pytest.raises(ImageError, match="no readable webp"):
        ANCHORS["webp"].decode(ANCHORS["jpeg"].encode(picture, 50))


@pytest.mark.parametrize(("name", "quality"), [("jpeg", 0), ("webp", 101), ("avif", -1), ("jpeg2000", 0.5)])
def test_impossible_qualities_are_refused(name: str, quality: float, picture: Image.Image) -> None:
    with pytest.raises(UsageError, match=f"not valid for {name}; valid: "):
        ANCHORS[name].encode(picture, quality)


def test_a_pillow_without_the_format_is_named(picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.raises(UsageError, match=r"cannot write avif; install one that can, .*11\.3"):
        ANCHORS["avif"].encode(picture, 50)


def test_jpeg2000_uses_its_colour_transform() -> None:
    """Pillow leaves it out unless asked, and the anchor is then worse than JPEG."""
    with Image.open(PHOTO) as image:
        crop = image.convert("RGB").crop((256, 128, 512, 384))
    files = {name: ANCHORS[name].encode(crop, quality) for name, quality in (("jpeg", 28), ("jpeg2000", 60))}
    assert len(files["jpeg2000"]) < len(files["jpeg"])
    assert psnr(ANCHORS["jpeg2000"].decode(files["jpeg2000"]), crop) > psnr(ANCHORS["jpeg"].decode(files["jpeg"]), crop)
