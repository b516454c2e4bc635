import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from taskodec.errors import ImageError
from taskodec.images.framing import WHOLE, Framing


@pytest.fixture
def picture(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (53, 91, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize(("resize", "crop"), [(None, None), (32, None), (None, 40), (32, 32), (33, 32), (24, 40)])
def test_it_is_what_torchvision_makes_of_the_file(picture, resize, crop):
    steps = [transforms.Resize(resize)] if resize else []
    steps += [transforms.CenterCrop(crop)] if crop else []
    with Image.open(picture) as file:
        expected = transforms.Compose([*steps, transforms.ToTensor()])(file)
    framing = Framing(resize, crop)
    found = framing.load(picture)
    assert torch.equal(found[0], expected)
    assert tuple(found.shape[2:]) == framing.size(91, 53)


def test_without_either_nothing_happens():
    assert Framing(None, None) == WHOLE


def test_limits_hold(picture):
    with pytest.raises(ImageError, match="91x53 pixels: the limit is 100 in all"):
        Framing(8, 8).load(picture, max_pixels=100)


@pytest.mark.parametrize(("size", "wanted"), [((80, 200), (80, 137)), ((80, 120), (70, 120)), ((20, 99), (20, 34))])
def test_whole_pictures_are_scaled_for_evaluation(picture, size, wanted):
    found = Framing(eval_size=size).load(picture)
    assert tuple(found.shape[2:]) == wanted
    with Image.open(picture) as file:
        expected = transforms.functional.to_tensor(file.resize(wanted[::-1], Image.Resampling.BILINEAR))
    assert torch.equal(found[0], expected)
