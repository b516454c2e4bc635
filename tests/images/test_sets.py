import json

import numpy as np
import pytest
from PIL import Image

from taskodec.errors import UsageError
from taskodec.images.sets import list_images


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        Image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
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


def test_folders_are_searched_to_the_bottom_but_not_hidden_ones(folder):
    for place in ("n01/val", ".cache"):
        (folder / place).mkdir(parents=True)
        Image.open(folder / "0.png").save(folder / place / "5.jpeg")
    Image.open(folder / "0.png").save(folder / "._0.png")
    found = [str(p.relative_to(folder)) for p in list_images([folder])]
    assert found == ["0.png", "1.png", "2.png", "n01/val/5.jpeg"]


@pytest.fixture
def coco(folder):
    """Laid out as COCO is: three of four pictures are in the file."""
    (folder / "val2017").mkdir()
    for i in range(4):
        Image.open(folder / "0.png").save(folder / "val2017" / f"00{i}.jpg")
    (folder / "annotations").mkdir()
    images = [{"id": i, "file_name": f"00{i}.jpg", "height": 4, "width": 5} for i in (2, 0, 3)]
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({"images": images, "annotations": []}))
    return path


def names(paths):
    return [path.name for path in paths]


def test_cocos_file_stands_for_its_images_where_they_lie(coco, folder, monkeypatch):
    assert list_images([coco]) == [folder / "val2017" / f"00{i}.jpg" for i in (2, 0, 3)]
    monkeypatch.chdir(coco.parent)
    assert names(list_images([coco.relative_to(coco.parent)])) == ["002.jpg", "000.jpg", "003.jpg"]


def test_images_of_coco_that_are_not_there_say_how_to_lay_them_out(coco, folder):
    (folder / "val2017" / "003.jpg").unlink()
    with pytest.raises(UsageError, match=r"1 of 3 images of .* are not in .*val2017, such as 003\.jpg"):
        list_images([coco])
    (folder / "val2017").rename(folder / "validation")
    words = r"no 002\.jpg in .*; COCO has annotations/instances_val2017\.json beside val2017/"
    with pytest.raises(UsageError, match=words):
        list_images([coco])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [{}]}', '{"images": []}', '{"images": [{"file_name": 3}]}']
)
def test_what_is_no_coco_file(folder, text):
    (folder / "some.json").write_text(text)
    with pytest.raises(UsageError, match=r"some\.json (is not COCO's JSON|names no images)"):
        list_images([folder / "some.json"])


def test_only_those_in_a_list_in_its_order(folder, coco):
    (folder / "list.txt").write_text("\n val2017/003.jpg\n000\n003.jpg\n")
    assert names(list_images([folder / "val2017"], folder / "list.txt")) == ["003.jpg", "000.jpg"]
    assert names(list_images([folder / "val2017"], coco)) == ["002.jpg", "000.jpg", "003.jpg"]


def test_lists_that_name_what_is_not_there(folder):
    (folder / "list.txt").write_text("0.png\n7.png\n8.png\n")
    words = r"2 of the 3 images in .*list\.txt are not among the 3 given, such as '7\.png'"
    with pytest.raises(UsageError, match=words):
        list_images([folder], folder / "list.txt")
    (folder / "empty.txt").write_text("\n")
    with pytest.raises(UsageError, match="names no images; give a text file"):
        list_images([folder], folder / "empty.txt")
    with pytest.raises(UsageError, match="cannot read the list"):
        list_images([folder], folder / "none.txt")
