"""Pictures of other colour spaces become what a screen shows: by the published matrices and curves, in floats."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from taskodec.images.tensors import load_image
from taskodec.pixels.colour import ProfileError, conversion
from taskodec.pixels.icc import BT709, gray_profile, matrix_profile

D65 = BT709[:2]
P3 = (*D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
ADOBE = (*D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PROPHOTO = (0.3457, 0.3585, 0.734699, 0.265301, 0.159597, 0.840403, 0.036598, 0.000105)

P3_TO_SRGB = [[1.2249401, -0.2249402, 0.0], [-0.0420570, 1.0420571, 0.0], [-0.0196376, -0.0786361, 1.0982735]]
ADOBE_TO_SRGB = [[1.3983557, -0.3983557, 0.0], [0.0, 1.0, 0.0], [0.0, -0.0429320, 1.0429320]]
"""Linear Display P3 and Adobe RGB to linear sRGB (CSS Color 4, section 18; Adobe RGB (1998), section 4.3)."""

RANDOM = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)


def decoded(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(linear):
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def of_lab(lightness, a, b):
    """The sRGB of a colour by L*, a* and b* with D50 (CSS Color 4, sections 9.3 and 18), in [0, 255]."""
    y = (lightness + 16) / 116
    cubes = [v**3 if v**3 > 216 / 24389 else (116 * v - 16) * 27 / 24389 for v in (y + a / 500, y, y - b / 200)]
    xyz = np.array(cubes) * [0.9642956, 1, 0.8251046]
    matrix = [
        [3.1341359, -1.6173863, -0.4906619],
        [-0.9787955, 1.9162543, 0.0334427],
        [0.0719553, -0.2289768, 1.4053860],
    ]
    return encoded(np.array(matrix) @ xyz) * 255


def saved(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def shown(loaded):
    """(H, W, 3) in [0, 255]."""
    return loaded.x[0].permute(1, 2, 0).numpy() * 255


def cmyk_profile():
    """A printer's profile (`mft1`) of two steps a colour: Lab of paper, of each ink and of what they print together."""
    inks = np.array([[55, -37, -50], [48, 74, -3], [89, -5, 93], [16, 0, 0]], dtype=float)  # C, M, Y and K
    paper, table = np.array([100.0, 0, 0]), []
    for index in range(16):
        there = np.array([index >> shift & 1 for shift in (3, 2, 1, 0)], dtype=bool)
        lab = paper + sum((ink - paper for ink in inks[there]), np.zeros(3))
        lab[0] = max(lab[0], 10)
        table.append([lab[0] * 2.55, lab[1] + 128, lab[2] + 128])
    lut = np.clip(table, 0, 255).round().astype(np.uint8).tobytes()
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    tag = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + 4 * bytes(range(256)) + lut + 3 * bytes(range(256))
    plain = bytearray(gray_profile(None))
    size = 128 + 4 + 12 + len(tag)
    plain[0:4], plain[12:16], plain[16:20], plain[20:24] = struct.pack(">I", size), b"prtr", b"CMYK", b"Lab "
    return bytes(plain[:128]) + struct.pack(">I4sII", 1, b"A2B0", 144, len(tag)) + tag


@pytest.mark.parametrize(
    ("places", "gamma", "matrix"),
    [(P3, None, P3_TO_SRGB), (ADOBE, 563 / 256, ADOBE_TO_SRGB)],
    ids=["Display P3", "Adobe RGB"],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_other_primaries_become_srgb(places, gamma, matrix, form):
    profile = matrix_profile(places, gamma, "those of a camera")
    options = {"lossless": True} if form == "WEBP" else {}
    loaded = load_image(saved(Image.fromarray(RANDOM), form, icc_profile=profile, **options))
    values = RANDOM / 255
    linear = decoded(values) if gamma is None else values**gamma
    expected = encoded(linear @ np.array(matrix).T) * 255
    assert np.abs(shown(loaded) - expected).max() < 1.5
    assert loaded.notes == ["colours converted from 'those of a camera' to sRGB"]
    assert np.abs(shown(loaded) - RANDOM).max() > 20


@pytest.mark.parametrize("form", ["JPEG", "AVIF", "MPO"])
def test_lossy_formats_too(form):
    plain = Image.new("RGB", (16, 16), (255, 60, 40))
    values = shown(load_image(saved(plain, form)))[8, 8]
    loaded = load_image(saved(plain, form, icc_profile=matrix_profile(P3, None, "P3")))
    expected = encoded(np.array(P3_TO_SRGB) @ decoded(values / 255)) * 255
    assert np.abs(shown(loaded)[8, 8] - expected).max() < 1.5
    assert loaded.notes[-1] == "colours converted from 'P3' to sRGB"


def test_the_largest_space():
    loaded = load_image(saved(Image.new("RGB", (2, 2), (128, 128, 128)), icc_profile=matrix_profile(PROPHOTO, 1.8)))
    expected = encoded(np.full(3, (128 / 255) ** 1.8)) * 255  # greys stay grey, though its white is another
    assert np.abs(shown(loaded)[0, 0] - expected).max() < 1.5


def versions_of_srgb():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rounded = (0.3127, 0.329, 0.6401, 0.3299, 0.2998, 0.6001, 0.1501, 0.0599)
    return {"LittleCMS": own, "ours": matrix_profile(BT709, None), "rounded": matrix_profile(rounded, None)}


@pytest.mark.parametrize("version", versions_of_srgb())
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_what_is_srgb_already_stays_as_it_is(version, mode):
    image = Image.fromarray(RANDOM).convert(mode)
    loaded = load_image(saved(image, icc_profile=versions_of_srgb()[version]))
    plain = load_image(saved(image))
    assert np.array_equal(shown(loaded), shown(plain))
    assert loaded.notes == plain.notes


def test_the_primaries_of_srgb_with_another_curve_are_not_srgb():
    loaded = load_image(saved(Image.fromarray(RANDOM), icc_profile=matrix_profile(BT709, 2.2)))
    assert np.abs(shown(loaded) - encoded((RANDOM / 255) ** 2.2) * 255).max() < 1.5
    assert loaded.notes == ["colours converted from 'a colour profile without a name' to sRGB"]


def test_alpha_is_kept_for_the_compositing():
    rgba = np.dstack([RANDOM, np.full(RANDOM.shape[:2], 51, np.uint8)])
    loaded = load_image(saved(Image.fromarray(rgba), icc_profile=matrix_profile(P3, None, "P3")))
    opaque = shown(load_image(saved(Image.fromarray(RANDOM), icc_profile=matrix_profile(P3, None))))
    assert np.abs(shown(loaded) - (0.2 * opaque + 0.8 * 255)).max() < 1e-3
    assert loaded.notes == ["colours converted from 'P3' to sRGB", "alpha composited on white"]


@pytest.mark.parametrize("mode", ["P", "RGBA", "RGBa", "RGBX", "YCbCr", "HSV"])
def test_every_mode_of_three_colours(mode):
    image = Image.fromarray(RANDOM).convert("RGBA").convert(mode) if mode == "RGBa" else Image.fromarray(RANDOM)
    image = image if image.mode == mode else image.convert(mode)
    image.info["icc_profile"] = matrix_profile(P3, None, "P3")
    plain = np.asarray(image.convert("RGBA").convert("RGB") if mode == "RGBa" else image.convert("RGB"))
    expected = encoded(decoded(plain / 255) @ np.array(P3_TO_SRGB).T) * 255
    loaded = load_image(image)
    assert np.abs(shown(loaded) - expected).max() < 1.5
    assert loaded.notes[0] == "colours converted from 'P3' to sRGB"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "I;16", "I", "F"])
def test_every_mode_of_greys(mode):
    eight = Image.fromarray(RANDOM[..., 0] if mode != "1" else RANDOM[..., 0] // 128 * 255)
    wide = np.asarray(eight).astype(np.uint16) * 257
    made = {"I;16": lambda: wide, "I": lambda: wide.astype(np.int32), "F": lambda: (wide / 65535).astype(np.float32)}
    if mode in made:
        image = Image.fromarray(made[mode]())
    else:
        image = eight.convert("LA" if mode == "La" else mode).convert(mode)
    assert image.mode == mode
    image.info["icc_profile"] = gray_profile(1.0, "linear")
    loaded = load_image(image)
    expected = encoded(np.asarray(eight) / 255)[..., None] * 255
    assert np.abs(shown(loaded) - expected).max() < 0.6
    assert loaded.notes[0] == "colours converted from 'linear' to sRGB"


def test_sixteen_bits_of_grey_are_not_lost():
    ramp = np.arange(0, 65536, 16, dtype=np.uint16)[None]
    loaded = load_image(saved(Image.fromarray(ramp), icc_profile=gray_profile(2.2)))
    values = shown(loaded)[0, :, 0]
    assert np.abs(values - encoded((ramp[0] / 65535) ** 2.2) * 255).max() < 1
    assert len(np.unique(values.round(4))) > 3000


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_are_printed_as_their_profile_says(form):
    options = {"quality": 100} if form == "JPEG" else {}
    inks = {"paper": (0, 0, 0, 0), "cyan": (255, 0, 0, 0), "black": (0, 0, 0, 255)}
    found = {}
    for name, ink in inks.items():
        plain = saved(Image.new("CMYK", (16, 16), ink), form, icc_profile=cmyk_profile(), **options)
        loaded = load_image(plain)
        assert loaded.notes == ["colours converted from 'a colour profile without a name' to sRGB"]
        found[name] = shown(loaded)[8, 8]
    assert found["paper"] == pytest.approx([255, 255, 255], abs=1)
    assert found["black"] == pytest.approx(of_lab(16, 0, 0), abs=3)
    assert found["cyan"] == pytest.approx(of_lab(55, -37, -50), abs=6)


def test_lab_needs_no_profile():
    image = Image.new("LAB", (2, 2), (140, 178, 158))  # L* 54.9, a* 50, b* 30
    loaded = load_image(saved(image, "TIFF"))
    assert shown(loaded)[0, 0] == pytest.approx(of_lab(140 / 2.55, 50, 30), abs=1.5)
    assert loaded.notes == ["LAB converted to sRGB"]


@pytest.mark.parametrize("profile", [b"", b"x", b"x" * 200, matrix_profile(P3, None)[:-9000], bytes(4000)])
def test_a_damaged_profile_is_said_and_changes_nothing(profile):
    image = Image.fromarray(RANDOM)
    image.info["icc_profile"] = profile
    loaded = load_image(image)
    assert np.array_equal(shown(loaded).round(), RANDOM)
    assert loaded.notes == ["colours read as sRGB and the colour profile not used: it is damaged"]


@pytest.mark.parametrize("profile", [None, (1, 2), "text"])
def test_a_profile_that_is_no_bytes(profile):
    image = Image.fromarray(RANDOM)
    image.info["icc_profile"] = profile
    assert load_image(image).notes == ["colours read as sRGB and the colour profile not used: it is damaged"]


def test_a_profile_for_other_colours_is_said_and_changes_nothing():
    cases = {
        "RGB": (gray_profile(1.8), "colours read as sRGB and the colour profile not used: it is for L, .* is RGB"),
        "L": (matrix_profile(P3, None), "colours read as sRGB and the colour profile not used: it is for RGB, .* is L"),
        "CMYK": (matrix_profile(P3, None), "CMYK converted to RGB and the colour profile not used: .* RGB, .* is CMYK"),
    }
    for mode, (profile, words) in cases.items():
        image = Image.fromarray(RANDOM).convert(mode)
        plain = load_image(image)
        image.info["icc_profile"] = profile
        loaded = load_image(image)
        assert np.array_equal(shown(loaded), shown(plain))
        with pytest.raises(AssertionError, match=words):  # pytest's way to say what did not match
            assert not loaded.notes, loaded.notes[0]


def test_spaces_that_no_picture_has():
    profile = bytearray(matrix_profile(P3, None))
    profile[16:20] = b"HSV "
    with pytest.raises(ProfileError, match="it is for HSV; valid: RGB, CMYK, GRAY"):
        conversion(bytes(profile), "RGB")


def test_without_littlecms(monkeypatch):
    def missing(*_):
        raise ImportError("The _imagingcms C module is not installed")

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", missing)
    profile = matrix_profile(P3, None, "seen by no other test")
    loaded = load_image(saved(Image.fromarray(RANDOM), icc_profile=profile))
    assert np.array_equal(shown(loaded).round(), RANDOM)
    assert loaded.notes == ["colours read as sRGB and the colour profile not used: this Pillow has no LittleCMS"]


def test_names_of_strangers_do_not_steer_the_terminal():
    profile = matrix_profile(P3, None, "red\x1b[31m\n" + 80 * "x")
    (note,) = load_image(saved(Image.fromarray(RANDOM), icc_profile=profile)).notes
    assert note.isprintable()
    assert len(note) < 110
