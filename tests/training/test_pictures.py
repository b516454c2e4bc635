import io

import numpy as np
import pytest
from PIL import Image

from taskodec.errors import ImageError, TaskodecError, UsageError
from taskodec.images.tensors import MAX_PIXELS, load_image
from taskodec.training.datasets import CropDataset
from taskodec.training.pictures import list_pictures, opened, size_of

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


def picture(seed=0, size=(48, 40)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def store():
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pipe({"/set/b/1.png": picture(1), "/set/0.png": picture(0), "/set/note.txt": b"no"})
    store.pipe({"/set/damaged.png": picture()[:20]})
    yield store
    store.store.clear()


def test_pictures_at_urls_and_on_this_machine_in_the_order_given(store, tmp_path):
    (tmp_path / "x.png").write_bytes(picture(2))
    found = list_pictures(["memory://set/b", str(tmp_path), "memory://set/0.png"])
    assert found == ["memory://set/b/1.png", tmp_path / "x.png", "memory://set/0.png"]
    assert list_pictures([tmp_path]) == [tmp_path / "x.png"]


def test_what_is_not_there_or_cannot_be_drawn_from_is_refused(store, tmp_path):
    with pytest.raises(TaskodecError, match="no such object"):
        list_pictures(["memory://nowhere/"])
    store.pipe({"/empty/a.txt": b""})
    with pytest.raises(UsageError, match="holds no file"):
        list_pictures(["memory://empty/"])
    with pytest.raises(UsageError, match="--only"):
        list_pictures(["memory://set/"], tmp_path / "list.txt")
    with pytest.raises(UsageError, match="archive"):
        list_pictures(["memory://set/all.tar"])
    with pytest.raises(UsageError, match="no images"):
        list_pictures([tmp_path])


def test_a_picture_at_a_url_is_the_one_that_lies_there(store):
    assert size_of("memory://set/0.png") == (48, 40)
    with opened("memory://set/0.png", MAX_PIXELS) as source:
        assert load_image(source).x.equal(load_image(picture(0)).x)
    for name in ("memory://set/damaged.png", "memory://set/gone.png"):
        with pytest.raises(ImageError, match=name):
            size_of(name)
        with pytest.raises(ImageError, match=name), opened(name, MAX_PIXELS) as source:
            load_image(source)


def test_crops_of_pictures_at_urls_are_those_of_files(store, tmp_path):
    (tmp_path / "0.png").write_bytes(picture(0))
    ours, theirs = (CropDataset([name], 0) for name in ("memory://set/0.png", tmp_path / "0.png"))
    ours.check(32)
    assert ours.crops(32, range(3), 7).equal(theirs.crops(32, range(3), 7))
