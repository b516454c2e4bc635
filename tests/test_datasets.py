import numpy as np
import pytest
import torch
from PIL import Image

from taskodec.datasets import CropDataset, list_images
from taskodec.errors import ImageError, UsageError


@pytest.fixture
def folder(tmp_path):
    for i, size in enumerate([(40, 50), (64, 32), (20, 90)]):
        values = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_folders_and_files_in_order(folder):
    assert [p.name for p in list_images([folder])] == ["0.png", "1.png", "2.png"]
    assert [p.name for p in list_images([folder / "2.png", folder / "0.png"])] == ["2.png", "0.png"]


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        list_images([tmp_path / "none"])
    with pytest.raises(UsageError, match="no images"):
        list_images([tmp_path])


def test_crops_are_pieces_of_large_enough_pictures(folder):
    with pytest.warns(UserWarning, match="1 of 3 training images are left out: .* less than 32 pixels"):
        dataset = CropDataset(list_images([folder]), 32)
    assert len(dataset.pictures) == 2
    generator = torch.Generator().manual_seed(0)
    crops = [dataset.crop(16, generator) for _ in range(8)]
    assert all(crop.shape == (3, 16, 16) and crop.min() >= 0 and crop.max() <= 1 for crop in crops)
    assert len({crop.sum().item() for crop in crops}) == 8


def test_crops_come_from_the_generator_alone(folder):
    dataset = CropDataset(list_images([folder]), 16)
    first, second = (dataset.crop(16, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_crops_hold_the_pixels_of_the_file(folder):
    dataset = CropDataset([folder / "0.png"], 40)
    pixels = np.asarray(Image.open(folder / "0.png")).transpose(2, 0, 1)
    crop = (dataset.crop(40, torch.Generator().manual_seed(0)) * 255).round().byte().numpy()
    pieces = [pixels[:, :, x : x + 40] for x in range(11)]
    assert any(np.array_equal(crop, piece) or np.array_equal(crop, piece[..., ::-1]) for piece in pieces)


def test_pictures_are_turned_as_they_are_shown(tmp_path):
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[274] = 6  # a camera held upright
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert CropDataset([tmp_path / "a.jpg"], 16).pictures[0].shape == (3, 40, 20)


def test_all_suffixes_that_compress_takes(folder):
    for suffix in (".ppm", ".gif"):
        Image.open(folder / "0.png").save(folder / f"9{suffix}")
    assert [p.name for p in list_images([folder])][-2:] == ["9.gif", "9.ppm"]


@pytest.mark.parametrize("content", [b"no picture", b"P6 x", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + bytes(30)])
def test_bad_pictures_are_named(folder, content):
    (folder / "1.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"1\.png"):
        CropDataset(list_images([folder]), 16)
    (folder / "1.png").unlink()
    with pytest.raises(UsageError, match="both sides of 500 pixels"):
        CropDataset(list_images([folder]), 500)
