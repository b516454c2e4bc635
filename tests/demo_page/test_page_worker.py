import pytest
import torch

from taskodec.demo.worker import reduced
from taskodec.errors import ImageError
from taskodec.images.tensors import LoadedImage


@pytest.mark.parametrize(("size", "most"), [((300, 200), 0.01), ((1000, 10), 0.005), ((3, 5), 1e-6)])
def test_large_pictures_are_reduced(size, most):
    found = reduced(LoadedImage(torch.rand(1, 3, *size), ["before"]), most)
    height, width = found.x.shape[2:]
    assert 0.6 * most * 1e6 <= height * width <= most * 1e6
    assert found.notes[0] == "before"
    assert f"reduced to {width}x{height}" in found.notes[1]


def test_others_stay_as_they_are():
    image = LoadedImage(torch.rand(1, 3, 30, 20))
    assert reduced(image, None) is image
    assert reduced(image, 0.0006) is image


def test_a_line_of_pixels_cannot_be_reduced_so_far():
    with pytest.raises(ImageError, match="choose another size"):
        reduced(LoadedImage(torch.rand(1, 3, 1, 5000)), 0.0000005)
