import json

import numpy as np
import pytest
from pycocotools import mask as rle

from taskodec.errors import UsageError
from taskodec.tasks.coco_labels import CocoLabels

IMAGE = {"id": 7, "file_name": "val2017/a.jpg", "height": 6, "width": 8}
BOX = {"image_id": 7, "category_id": 3, "bbox": [1, 2, 4, 3]}


def read(tmp_path, kind="bbox", images=(IMAGE,), annotations=(BOX,)):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return CocoLabels(path, kind)


def test_objects_are_found_by_the_file_name(tmp_path):
    other = {**IMAGE, "id": 8, "file_name": "b.jpg"}
    labels = read(tmp_path, images=[IMAGE, other], annotations=[BOX, {**BOX, "area": 9.5, "iscrowd": 1}])
    assert labels.of("a.jpg", (6, 8))[0] == [
        {"category_id": 3, "bbox": [1, 2, 4, 3], "area": 12, "iscrowd": 0},
        {"category_id": 3, "bbox": [1, 2, 4, 3], "area": 9.5, "iscrowd": 1},
    ]
    assert labels.of("b.jpg", (6, 8))[0] == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11, with numpy 2
def test_masks_are_polygons_or_run_lengths(tmp_path):
    mask = np.zeros((6, 8), np.uint8, order="F")
    mask[2:5, 1:5] = 1
    code = rle.encode(mask)
    forms = [
        [[1, 2, 5, 2, 5, 5, 1, 5]],
        {"size": [6, 8], "counts": code["counts"].decode()},
        {"size": [6, 8], "counts": [8, 3, 3, 3, 3, 3, 3, 3, 19]},
    ]
    labels = read(tmp_path, "segm", annotations=[{**BOX, "segmentation": form} for form in forms])
    for one in labels.of("a.jpg", (6, 8))[0]:
        np.testing.assert_array_equal(rle.decode(one["segmentation"]), mask)


def test_an_image_may_be_scaled_as_a_whole(tmp_path):
    labels = read(tmp_path)
    wanted, size = labels.of("a.jpg", (6, 8))
    assert list(size) == [6, 8]
    for scaled in ((12, 16), (3, 4), (800, 1067)):
        assert labels.of("a.jpg", scaled) == (wanted, size)


def test_other_images_than_those_labelled(tmp_path):
    labels = read(tmp_path)
    with pytest.raises(UsageError, match=r"boxes\.json has no image 'a\.png', did you mean 'a\.jpg': add it"):
        labels.of("a.png", (6, 8))
    with pytest.raises(UsageError, match=r"'a\.jpg' with 8x6 pixels, the image has 6x6"):
        labels.of("a.jpg", (6, 6))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nothing", "cannot read the labels"),
        ("[]", "is not COCO's JSON"),
        ("[" * 100_000, "cannot read the labels"),
        ({"images": [{**IMAGE, "height": float("inf")}], "annotations": [BOX]}, "Infinity is no number"),
        ({"images": [IMAGE], "annotations": [{**BOX, "category_id": float("inf")}]}, "Infinity is no number"),
        ("{}", "no 'images'"),
        ({"images": [IMAGE]}, "no 'annotations'"),
        ({"images": [{**IMAGE, "height": "tall"}], "annotations": [BOX]}, "is not COCO's JSON.*tall"),
        ({"images": [IMAGE], "annotations": [{"image_id": 7, "bbox": [0, 0, 1, 1]}]}, "no 'category_id'"),
        ({"images": [IMAGE], "annotations": [{**BOX, "bbox": [1, 2]}]}, r"bbox \[1, 2\], which is not four numbers"),
        ({"images": [IMAGE], "annotations": []}, "holds no objects"),
    ],
)
def test_files_that_are_no_such_labels(tmp_path, content, words):
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError, match=rf"boxes\.json.*{words}|{words}.*boxes\.json") as caught:
        CocoLabels(path, "bbox")
    assert "valid: COCO's JSON with" in str(caught.value)


def test_masks_that_are_missing_or_of_another_size(tmp_path):
    with pytest.raises(UsageError, match=r"annotations\[0\] has no 'segmentation'.*in each annotation"):
        read(tmp_path, "segm")
    with pytest.raises(UsageError, match=r"a mask has the size \[8, 6\], its image \[6, 8\]"):
        read(tmp_path, "segm", annotations=[{**BOX, "segmentation": {"size": [8, 6], "counts": [48]}}])
    with pytest.raises(UsageError, match=r"boxes\.json is not COCO's JSON"):
        read(tmp_path, "segm", annotations=[{**BOX, "segmentation": {"size": [6, 8], "counts": 5}}])
