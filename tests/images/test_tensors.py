import io

import numpy as np
import pytest
import torch
from PIL import Image

from taskodec.errors import ImageError, UsageError
from taskodec.images.tensors import crop_to, load_image, pad_to, save_image, to_8bit, to_pil


def png_of(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def gradient(height=5, width=7):
    """An RGB picture in which every pixel differs."""
    values = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return Image.fromarray(values)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (5, 7)])
def test_every_size_comes_back_pixel_for_pixel(size, tmp_path):
    image = gradient(*size)
    path = tmp_path / "picture.png"
    image.save(path)
    loaded = load_image(path)
    assert loaded.x.shape == (1, 3, *size)
    assert loaded.x.dtype == torch.float32
    assert loaded.notes == []
    assert np.array_equal(np.asarray(to_pil(loaded.x)), np.asarray(image))


def test_all_kinds_of_source_give_the_same(tmp_path):
    image = gradient()
    path = tmp_path / "picture.png"
    image.save(path)
    array = np.asarray(image)
    expected = load_image(path).x
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    sources = [
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        memoryview(path.read_bytes()),
        io.BytesIO(path.read_bytes()),
        image,
        array,
        array.astype(np.uint16) * 257,
        array.astype(np.float64) / 255,
        array.astype(np.float32) / 255,
        tensor,
        tensor[None],
        tensor.float() / 255,
    ]
    for source in sources:
        assert torch.allclose(load_image(source).x, expected, atol=1e-7), type(source)
    with path.open("rb") as file:
        assert torch.equal(load_image(file).x, expected)


@pytest.mark.parametrize(
    "grey",
    [
        Image.new("L", (3, 2), 51),
        np.full((2, 3), 51, np.uint8),
        np.full((2, 3, 1), 0.2),
        torch.full((1, 2, 3), 0.2),
        torch.full((1, 1, 2, 3), 0.2),
        Image.fromarray(np.full((2, 3), 13107, np.uint16)),
        Image.fromarray(np.full((2, 3), 13107, np.int32)),
        Image.fromarray(np.full((2, 3), 0.2, np.float32)),
    ],
)
def test_greyscale_of_every_depth_fills_three_channels(grey):
    x = load_image(grey).x
    assert x.shape == (1, 3, 2, 3)
    assert torch.allclose(x, torch.full_like(x, 0.2), atol=1e-6)


def test_sixteen_bit_files_are_scaled():
    image = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    x = load_image(png_of(image)).x
    assert x[0, 0, 0].tolist() == pytest.approx([0, 32768 / 65535, 1])


def test_one_bit_palette_and_cmyk():
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    assert load_image(png_of(bits)).x[0, :, 0].T.tolist() == [[0, 0, 0], [1, 1, 1]]

    palette = gradient().convert("P", palette=Image.Palette.ADAPTIVE)
    assert torch.equal(load_image(png_of(palette)).x, load_image(palette.convert("RGB")).x)

    cmyk = load_image(Image.new("CMYK", (1, 1), (255, 0, 0, 0)))
    assert cmyk.x.flatten().tolist() == [0, 1, 1]
    assert "CMYK" in cmyk.notes[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "PA", "RGBa"])
def test_alpha_is_composited_on_white_and_said(mode):
    loaded = load_image(Image.new(mode, (2, 2)))  # black, fully transparent
    assert bool((loaded.x == 1).all())
    assert "white" in loaded.notes[0]


def test_half_transparent_pixels_mix_with_white():
    x = load_image(np.array([[[1.0, 0.0, 0.0, 0.5]]])).x
    assert x.flatten().tolist() == pytest.approx([1, 0.5, 0.5])


def test_opaque_alpha_changes_nothing():
    image = gradient()
    loaded = load_image(image.convert("RGBA"))
    assert torch.equal(loaded.x, load_image(image).x)
    assert loaded.notes == ["opaque alpha dropped"]


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_transparent_colours_of_png_become_white(mode):
    image = Image.new(mode, (2, 1))
    image.putpixel((1, 0), (9, 9, 9) if mode == "RGB" else 9)
    data = png_of(image, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert load_image(data).x[0, :, 0, 0].tolist() == [1, 1, 1]


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it upright
    image = gradient(2, 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    upright = load_image(buffer.getvalue()).x
    assert upright.shape == (1, 3, 3, 2)
    assert torch.equal(upright, load_image(image.transpose(Image.Transpose.ROTATE_270)).x)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_is_used_and_said(form):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    buffer = io.BytesIO()
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], **options)
    loaded = load_image(buffer.getvalue())
    assert loaded.x[0, :, 0, 0].tolist() == [1, 0, 0]
    assert "3 frames" in loaded.notes[0]


def test_sixteen_bit_colour_is_said_to_be_reduced():
    row = b"\x00" + bytes(6 * [0x80, 0x00])  # a filter byte, and two RGB pixels of 16 bits
    data = raw_png(width=2, height=1, depth=16, colour=2, rows=row)
    loaded = load_image(data)
    assert loaded.x.shape == (1, 3, 1, 2)
    assert loaded.notes == ["16 bits a channel read as 8"]


@pytest.mark.parametrize(("clear", "first"), [(0x8000, 1), (0x1234, 1), (0xFFFF, 0)])
@pytest.mark.parametrize("colour", [0, 2])
def test_transparent_colours_of_sixteen_bits_become_white(colour, clear, first):
    channels = 3 if colour else 1
    rows = b"\0" + channels * (clear if first else 0).to_bytes(2, "big") + channels * b"\x40\x00"
    extra = (b"tRNS", channels * clear.to_bytes(2, "big"))
    loaded = load_image(raw_png(width=2, height=1, depth=16, colour=colour, rows=rows, extra=[extra]))
    assert loaded.x[0, 0, 0].tolist() == pytest.approx([first, 0x40 / 255 if colour else 0x4000 / 65535], abs=1e-6)
    assert loaded.notes[-1] == ("alpha composited on white" if first else "opaque alpha dropped")


def raw_png(width, height, depth, colour, rows, extra=()):
    """A PNG by hand, for what Pillow does not write; with further chunks before the pixels."""
    import struct
    import zlib

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (b"IHDR", head), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "is empty, not an image"),
        (b"not an image at all", "not an image"),
        ("no/such/file.png", "no/such/file.png: No such file"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (torch.zeros(3, 4, 0), "at least one pixel"),
        (np.zeros((4, 4, 2), np.uint8), "(4, 4, 2)"),
        (np.zeros((2, 4, 4, 3), np.uint8), "(2, 4, 4, 3)"),
        (torch.zeros(2, 3, 4, 4), "(2, 3, 4, 4)"),
        (torch.zeros(4, 4), "(4, 4)"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4), complex), "complex"),
        (np.full((4, 4), np.nan), "NaN"),
        (torch.full((3, 4, 4), float("inf")), "infinite"),
        (np.full((4, 4), 200.0), "from 200 to 200"),
        (torch.full((3, 4, 4), -0.1), "from -0.1"),
        (Image.fromarray(np.full((2, 2), 2.0, np.float32)), "from 2 to 2"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "0 to 65535"),
        (3, "int"),
    ],
)
def test_what_cannot_be_used_is_refused(source, words):
    with pytest.raises(ImageError) as caught:
        load_image(source)
    assert words in str(caught.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_every_truncation_is_an_image_error_or_a_picture(form, tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((24, 16), 50).convert("RGB").save(buffer, form)
    data = buffer.getvalue()
    path = tmp_path / "cut.img"
    refused = 0
    for end in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:end])
        try:
            shape = load_image(path).x.shape
        except ImageError:
            refused += 1
        else:
            assert shape == (1, 3, 16, 24)
    assert refused > 30


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    data = png_of(gradient(40, 30))
    with pytest.raises(ImageError, match="30x40 pixels: the limit is 1199"):
        load_image(data, max_pixels=1199)
    assert load_image(data, max_pixels=1200).x.shape == (1, 3, 40, 30)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow's own guard raises above twice this
    assert load_image(data).x.shape == (1, 3, 40, 30)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (64, 64), (65, 63)])
def test_padding_repeats_the_edge_and_crops_back(size):
    x = torch.rand(1, 3, *size)
    padded = pad_to(x, 64)
    assert padded.shape[2] % 64 == 0
    assert padded.shape[3] % 64 == 0
    assert padded.shape[2] - size[0] < 64
    assert torch.equal(crop_to(padded, *size), x)
    assert torch.equal(padded[..., -1, -1], x[..., -1, -1])
    assert torch.equal(padded[..., 0, -1], x[..., 0, -1])


def test_to_8bit_is_what_a_saved_picture_holds(tmp_path):
    x = torch.rand(1, 3, 6, 5) * 1.4 - 0.2
    path = tmp_path / "picture.png"
    save_image(x, path)
    assert torch.equal(load_image(path).x, to_8bit(x))


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.webp", "a.bmp", "a.tif", "a.ppm", "a"])
def test_saving_keeps_every_pixel(name, tmp_path):
    image = gradient()
    save_image(image, tmp_path / name)
    assert np.array_equal(np.asarray(Image.open(tmp_path / name).convert("RGB")), np.asarray(image))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "most"), [("a.webp", 16383), ("a.jpg", 65500), ("a.JPEG", 65500)])
@pytest.mark.parametrize("upright", [True, False])
def test_sides_that_a_format_does_not_have_are_refused(name, most, upright, tmp_path):
    over = Image.new("RGB", (1, most + 1) if upright else (most + 1, 1))
    found = f"takes at most {most} pixels a side, and the picture has {over.width}x{over.height}"
    with pytest.raises(UsageError, match=found):
        save_image(over, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save_image(over.crop((0, 0, min(over.width, most), min(over.height, most))), tmp_path / name)
    assert max(load_image(tmp_path / name).x.shape) == most


def test_what_an_encoder_refuses_leaves_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"3x2 pixels, mode RGBA, cannot be written as JPEG: .*; choose another"):
        save_image(Image.new("RGBA", (3, 2)), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_saving_with_an_unknown_suffix_names_the_valid_ones(tmp_path):
    with pytest.raises(UsageError, match=r"\.xyz.*\.png"):
        save_image(gradient(), tmp_path / "a.xyz")
    assert list(tmp_path.iterdir()) == []


def test_to_pil_refuses_what_is_no_picture():
    with pytest.raises(ImageError, match="NaN"):
        to_pil(torch.full((3, 2, 2), float("nan")))
    with pytest.raises(ImageError, match=r"\(2, 3, 4, 4\)"):
        to_pil(torch.zeros(2, 3, 4, 4))
