import copy
import json
import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskodec.errors import UsageError
from taskodec.tasks.coco_labels import CocoLabels

IMAGE = {"id": 7, "file_name": "val/a.jpg", "height": 6, "width": 8}
OBJECT = {
    "id": 1,
    "image_id": 7,
    "category_id": 3,
    "iscrowd": 0,
    "area": 12.0,
    "bbox": [1, 2, 4, 3],
    "segmentation": [[1, 2, 5, 2, 5, 5, 1, 5]],
}
CONTENT = {"images": [IMAGE], "annotations": [OBJECT], "categories": [{"id": 3, "name": "x"}]}

NASTY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([2**31, 2**63, 10**400, -1, 0, 1e308, "7", "nan"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


def read(tmp_path, content, kind="segm"):
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    labels = CocoLabels(path, kind)
    return {name: labels.of(name, picture.size)[0] for name, picture in labels.images.items()}


def outcome(tmp_path, content, kind):
    """What is read, and the error if there is one."""
    try:
        return read(tmp_path, content, kind), None
    except UsageError as error:
        return None, str(error)


def places(holder):
    for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from places(holder[key])


@given(NASTY, st.integers(0, 2**32), st.sampled_from(["bbox", "segm"]))
def test_any_value_anywhere_is_taken_or_a_usage_error(tmp_path_factory, value, seed, kind):
    content = [copy.deepcopy(CONTENT)]
    holder, key = random.Random(seed).choice(list(places(content)))
    holder[key] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, error = outcome(tmp_path_factory.getbasetemp(), content[0], kind)
    if error is not None:
        assert "labels.json" in error
        assert len(error.splitlines()) == 1
        return
    for one in (one for objects in found.values() for one in objects):
        x, y, width, height = one["bbox"]
        assert min(x, y, width, height) >= -1
        assert type(one["category_id"]) is int
        assert one["iscrowd"] in (0, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [1, 2, -4, 3]}, "width and height must be at least 0"),
        ({"bbox": [1, 2, "4", 3]}, "not four numbers"),
        ({"bbox": [1, 2, True, 3]}, "not four numbers"),
        ({"bbox": [1, 2, 10**400, 3]}, "not four numbers"),
        ({"bbox": None}, "not four numbers"),
        ({"area": -1}, "area -1, expected a number from 0"),
        ({"area": 1e12}, "area 1000000000000.0, expected"),
        ({"area": None}, "area None"),
        ({"iscrowd": 2}, "iscrowd 2, expected 0 or 1"),
        ({"iscrowd": "0"}, "iscrowd '0'"),
        ({"category_id": 4}, "category_id 4, which is none of `categories`"),
        ({"category_id": 1.5}, "category_id 1.5, expected a whole number"),
        ({"category_id": -1}, "category_id -1"),
        ({"image_id": True}, "image_id True, expected a whole number or text"),
        ({"image_id": [7]}, r"image_id \[7\], expected"),
        ({"id": None}, "id None"),
        ({"segmentation": None}, "neither a list of polygons nor run lengths"),
    ],
)
def test_what_an_annotation_cannot_be(tmp_path, change, words):
    with pytest.raises(UsageError, match=rf"annotations\[0\].*{words}"):
        read(tmp_path, {**CONTENT, "annotations": [{**OBJECT, **change}]})


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{**IMAGE, "height": 0}], r"images\[0\] has the height 0, expected a whole number from 1"),
        ([{**IMAGE, "width": 2**20}], "width 1048576, expected"),
        ([{**IMAGE, "width": 2**17, "height": 2**17}], "more than the limit of 268435456"),
        ([{**IMAGE, "width": "8"}], "width '8'"),
        ([{**IMAGE, "file_name": 5}], "file_name 5, expected a name"),
        ([{**IMAGE, "file_name": ""}], "file_name '', expected a name"),
        ([IMAGE, {**IMAGE, "file_name": "b.jpg"}], "id 7 comes twice"),
        ([IMAGE, {**IMAGE, "id": 8, "file_name": "other/a.jpg"}], "file_name 'a.jpg' comes twice"),
        ([5], r"images\[0\] is 5, expected an object"),
        ({"a": IMAGE}, "images is .*, expected a list"),
    ],
)
def test_what_images_cannot_be(tmp_path, images, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, {**CONTENT, "images": images})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (json.dumps(CONTENT).replace("6", "NaN"), "NaN is no number"),
        (json.dumps(CONTENT).replace('"id": 7', '"id": 7, "id": 8'), "'id' comes twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", r"found \[\], expected an object"),
        ({**CONTENT, "annotations": [OBJECT, OBJECT]}, r"annotations\[1\]: id 1 comes twice"),
        ({**CONTENT, "categories": [{"id": 3}, {"id": 3}]}, "categories: id 3 comes twice"),
        ({**CONTENT, "categories": [{"id": "3"}]}, r"categories\[0\] has the id '3'"),
    ],
)
def test_what_a_file_cannot_be(tmp_path, content, words):
    with pytest.raises(UsageError, match=words):
        read(tmp_path, content)


def test_numbers_may_be_written_as_floats(tmp_path):
    written = {**CONTENT, "annotations": [{**OBJECT, "image_id": 7.0, "category_id": 3.0, "iscrowd": False}]}
    assert read(tmp_path, written, "bbox") == read(tmp_path, CONTENT, "bbox")


def test_boxes_that_reach_beyond_are_cut_and_said(tmp_path):
    boxes = [[-3, -3, 5, 5], [7.5, 5.5, 1, 1], [-1e9, -1e9, 2e9, 2e9], [100, 100, 5, 5]]
    objects = [{"image_id": 7, "category_id": 3, "bbox": box} for box in boxes]
    with pytest.warns(UserWarning, match=r"labels\.json: 3 annotations reach beyond their pictures"):
        (found,) = read(tmp_path, {**CONTENT, "annotations": objects}, "bbox").values()
    assert [one["bbox"] for one in found] == [[0, 0, 2, 2], [7.5, 5.5, 1, 1], [0, 0, 8, 6], [8, 6, 0, 0]]
    assert [one["area"] for one in found] == [4, 1, 48, 0]


def test_annotations_of_images_that_are_not_listed_are_left_out_and_said(tmp_path):
    other = {**OBJECT, "id": 2, "image_id": 8}
    with pytest.warns(UserWarning, match="1 annotations are of images that it does not list"):
        (found,) = read(tmp_path, {**CONTENT, "annotations": [OBJECT, other]}, "bbox").values()
    assert len(found) == 1
