import numpy as np
import pytest

from taskodec.errors import ImageError, UsageError
from taskodec.images.tensors import load_image
from taskodec.pixels.reading import read_image, require_pillow, unit_pixels


def test_a_file_is_what_load_image_makes_a_tensor_of(picture):
    pixels, notes = read_image(picture)
    assert (pixels.dtype, pixels.shape, notes) == (np.float32, (64, 96, 3), [])
    assert np.array_equal(load_image(picture).x[0].permute(1, 2, 0).numpy(), pixels)
    assert np.array_equal(read_image(picture.read_bytes())[0], pixels)


def test_notes_are_kept():
    values = np.zeros((2, 3, 4), dtype=np.uint8)
    pixels, notes = unit_pixels(values, "a.png", ["before"])
    assert notes == ["before", "alpha composited on white"]
    assert (pixels == 1).all()


def test_without_pillow(without, picture):
    without("PIL")
    with pytest.raises(UsageError, match=r"pillow is not installed: `pip install 'taskodec-runtime\[encode\]'`"):
        require_pillow()
    with pytest.raises(UsageError, match="pillow is not installed"):
        read_image(picture)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ImageError, match=r"cannot open .*none\.png"):
        read_image(tmp_path / "none.png")
