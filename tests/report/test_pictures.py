import base64
import io

import numpy as np
import pytest
from PIL import Image

from taskodec.report.pictures import embedded, shape_of


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.fixture
def noise():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8))


def test_every_pixel_stays_where_there_is_room(noise):
    found = embedded({"a": noise}, 10**6)
    assert np.array_equal(np.asarray(opened(found.data["a"]).convert("RGB")), np.asarray(noise))
    assert "every pixel as it is" in found.about


@pytest.mark.parametrize("budget", [40_000, 8_000, 3_000])
def test_less_room_is_kept_to(noise, budget):
    found = embedded({"a": noise, "b": noise}, budget)
    assert sum(map(len, found.data.values())) <= budget
    assert opened(found.data["a"]).size == (found.width, found.height)
    assert found.quality is not None or found.reduced


def test_very_large_pictures_are_reduced():
    found = embedded({"a": Image.new("RGB", (20_000, 300))}, 10**6)
    assert found.reduced
    assert max(opened(found.data["a"]).size) <= 16383


def test_lines_are_drawn_as_more():
    assert shape_of(600, 1) == (600, 100)
    assert shape_of(1, 600) == (100, 600)
    assert shape_of(400, 300) == (400, 300)
