"""The classical codecs write real files of the format they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from taskodec.codecs import mozjpeg
from taskodec.codecs.anchors import jpegxl
from taskodec.codecs.plugin import register_anchors
from taskodec.errors import ImageError, UsageError
from taskodec.hooks.specs import Anchor, resolve

ANCHORS = {spec.name: resolve(spec.load)() for spec in register_anchors() if spec.fidelity and not spec.unavailable}
ALL = [spec.name for spec in register_anchors() if spec.fidelity]
SLOW = {"avif-420", "avif-444"}
PHOTO = Path(__file__).parents[2] / "docs" / "images" / "kodim23.png"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth colours with a fine pattern, of odd size."""
    y, x = np.mgrid[0:93, 0:131]
    pixels = np.stack([x + 60 * np.sin(y / 9), 2 * y, 128 + 60 * np.sin(x * y / 300)], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def here(name: str) -> Anchor:
    if name not in ANCHORS:
        pytest.skip(f"the package of {name} is not installed")
    return ANCHORS[name]


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.square(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()
    return float(10 * np.log10(255**2 / error))


def test_the_built_in_ones_are_anchors() -> None:
    assert ALL == ["jpeg", "mozjpeg", "webp", "avif", "avif-420", "avif-444", "jpegxl", "jpeg2000"]
    for name, one in ANCHORS.items():
        assert isinstance(one, Anchor)
        assert one.name == name
        assert len(one.qualities) >= 7
        assert one.version.startswith("libvips " if name == "mozjpeg" else "Pillow ")
    assert "subsampling=4:2:0" in ANCHORS["jpeg"].version
    assert "tune" in ANCHORS["avif-444"].version


@pytest.mark.parametrize("name", ANCHORS)
def test_rates_on_a_photograph_span_a_tenth_to_two_bits_per_pixel(name: str) -> None:
    one = ANCHORS[name]
    with Image.open(PHOTO) as image:
        crop = image.convert("RGB").crop((256, 128, 512, 384))
    low, high = (8 * len(one.encode(crop, quality)) / 256**2 for quality in (one.qualities[0], one.qualities[-1]))
    assert low < (0.14 if name == "jpegxl" else 0.13)  # where its scale ends
    assert 1.9 < high < 2.6


@pytest.mark.parametrize("name", [name for name in ANCHORS if name not in SLOW])
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
    [
        ("jpeg", b"\xff\xd8\xff"),
        ("mozjpeg", b"\xff\xd8\xff"),
        ("webp", b"RIFF"),
        ("avif", b"\0\0\0"),
        ("avif-444", b"\0\0\0"),
        ("jpegxl", b"\xff\x0a"),
        ("jpeg2000", b"\0\0\0\x0cjP"),
    ],
)
def test_files_are_of_the_format(name: str, start: bytes, picture: Image.Image) -> None:
    one = here(name)
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


@pytest.mark.parametrize(("name", "most"), [("webp", 16383), ("jpeg", 65500), ("mozjpeg", 65500), ("avif", 32768)])
def test_sides_that_a_format_does_not_have_are_refused(name: str, most: int) -> None:
    found = f"takes at most {most} pixels a side, and the picture has 1x{most + 1}: choose another format"
    with pytest.raises(UsageError, match=found):
        here(name).encode(Image.new("RGB", (1, most + 1)), 50)


def test_another_format_is_refused(picture: Image.Image) -> None:
    with pytest.raises(ImageError, match="no readable webp"):
        ANCHORS["webp"].decode(ANCHORS["jpeg"].encode(picture, 50))


@pytest.mark.parametrize(
    ("name", "quality"), [("jpeg", 0), ("mozjpeg", 0), ("webp", 101), ("avif", -1), ("jpegxl", 101), ("jpeg2000", 0.5)]
)
def test_impossible_qualities_are_refused(name: str, quality: float, picture: Image.Image) -> None:
    with pytest.raises(UsageError, match=f"not valid for {name}; valid: "):
        here(name).encode(picture, quality)


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


def test_mozjpeg_needs_fewer_bytes_than_jpeg_for_the_same_picture() -> None:
    with Image.open(PHOTO) as image:
        crop = image.convert("RGB").crop((256, 128, 512, 384))

    def curve(one: Anchor) -> tuple[np.ndarray, np.ndarray]:
        files = [one.encode(crop, quality) for quality in one.qualities[2:]]
        return np.array([psnr(one.decode(data), crop) for data in files]), np.log([len(data) for data in files])

    (known, plain), (found, size) = curve(ANCHORS["jpeg"]), curve(here("mozjpeg"))
    within = (found > known[0]) & (found < known[-1])
    assert within.sum() >= 4
    assert np.mean((size - np.interp(found, known, plain))[within]) < -0.15


def test_avif_at_full_colour_resolution_keeps_fine_colours() -> None:
    red, blue = Image.new("RGB", (64, 64), (200, 30, 30)), Image.new("RGB", (64, 64), (30, 30, 200))
    stripes = Image.composite(red, blue, Image.fromarray(np.tile(np.uint8([[255, 0], [0, 255]]), (32, 32))))
    full, half = (
        psnr(one.decode(one.encode(stripes, 80)), stripes) for one in (ANCHORS["avif-444"], ANCHORS["avif-420"])
    )
    assert full > half + 5


def test_another_jpeg_library_in_libvips_is_no_mozjpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    here("mozjpeg")
    monkeypatch.setattr(mozjpeg, "_jpeg", lambda vips, pixels, **options: b"the same")
    with pytest.raises(UsageError, match=r"built with another JPEG library; .*pip install 'taskodec\[anchors\]'"):
        mozjpeg.mozjpeg()


def test_without_its_package_an_anchor_names_it(without: Callable[..., None], picture: Image.Image) -> None:
    without("pillow_jxl", "pyvips")
    mozjpeg._vips.cache_clear()
    for call, package in ((mozjpeg.mozjpeg, "pyvips"), (lambda: jpegxl().encode(picture, 50), "pillow-jxl-plugin")):
        with pytest.raises(UsageError, match=rf"{package} is not installed: `pip install 'taskodec\[anchors\]'`"):
            call()
    absent = {spec.name: spec.unavailable for spec in register_anchors() if spec.fidelity and spec.unavailable}
    assert absent.keys() == {"mozjpeg", "jpegxl"}
