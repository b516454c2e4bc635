import json
import math
import random

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from taskodec.tasks.coco_ap import average_precision, match, silent


def box(category, x, y, width, height, **more):
    return {"category_id": category, "bbox": [x, y, width, height], "area": width * height, **more}


def with_mask(one):
    mask = np.zeros((64, 64), np.uint8, order="F")
    x, y, width, height = (int(side) for side in one["bbox"])
    mask[y : y + height, x : x + width] = 1
    code = rle.encode(mask)
    return {**one, "segmentation": code, "area": float(rle.area(code))}


def pictures(count):
    """Random objects, some of them crowds, and detections near them with scores of one digit, so that many tie."""
    chance = random.Random(3)
    found = []
    for _ in range(count):
        wanted = []
        for _ in range(chance.randrange(5)):
            x, y, *sides = (chance.randrange(low, low + 30) for low in (0, 0, 4, 4))
            wanted.append(box(chance.randrange(1, 5), x, y, *sides, iscrowd=int(chance.random() < 0.15)))
        seen = []
        for one in wanted * 2:
            x, y, *sides = (max(0, side + chance.randrange(-3, 4)) for side in one["bbox"])
            seen.append(box(chance.choice([one["category_id"], 6]), x, y, *sides, score=chance.randrange(1, 10) / 10))
        found.append((wanted, seen))
    return found


def plain(images, kind):
    """The figures of pycocotools used as everybody does."""
    annotations = [{"iscrowd": 0, **one, "image_id": n} for n, (wanted, _) in enumerate(images, 1) for one in wanted]
    results = [{**one, "image_id": n} for n, (_, seen) in enumerate(images, 1) for one in seen]
    with silent():
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": n, "height": 64, "width": 64} for n in range(1, len(images) + 1)],
            "annotations": [{**one, "id": n} for n, one in enumerate(annotations, 1)],
            "categories": [{"id": n} for n in range(1, 8)],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_figures_are_those_of_pycocotools_to_the_last_bit(kind, capsys):
    images = pictures(24)
    if kind == "segm":
        images = [tuple([with_mask(one) for one in part] for part in image) for image in images]
    expected = plain(images, kind)
    if kind == "segm":  # pycocotools gives loaded masks a box
        images = [(wanted, [{k: v for k, v in one.items() if k != "bbox"} for one in seen]) for wanted, seen in images]
    matches = [json.loads(json.dumps(match(wanted, seen, kind))) for wanted, seen in images]
    assert 0.05 < expected[0] < expected[1] < 0.95
    assert average_precision(matches) == expected
    assert capsys.readouterr().out == ""


def test_images_that_come_several_times_count_as_several():
    images = pictures(9)
    matches = [match(*image, "bbox") for image in images]
    sample = [0, 0, 3, 5, 5, 5, 8]
    assert average_precision([matches[n] for n in sample]) == plain([images[n] for n in sample], "bbox")


def test_by_hand():
    """Two objects; a right detection (overlap 0.8), then a wrong one, then the other object exactly."""
    wanted = [box(1, 0, 0, 10, 10), box(1, 30, 30, 10, 10)]
    seen = [box(1, 0, 0, 10, 8, score=0.9), box(1, 50, 0, 5, 5, score=0.8), box(1, 30, 30, 10, 10, score=0.7)]
    found = match(wanted, seen, "bbox")
    assert found == {"objects": {"1": 2}, "found": [[1, 0.9, 0b1111111, 0], [1, 0.8, 0, 0], [1, 0.7, 0b1111111111, 0]]}
    half = (51 * 1 + 50 * 2 / 3) / 101  # recall 0 to 0.5 with precision 1, then up to 1 with 2/3
    third = 51 * (1 / 3) / 101  # only the last of three is right, at recall 0.5
    ap, ap50 = average_precision([found])
    assert ap50 == pytest.approx(half)
    assert ap == pytest.approx((7 * half + 3 * third) / 10)


def test_crowds_are_neither_to_be_found_nor_wrong():
    wanted = [box(1, 0, 0, 10, 10), box(1, 20, 20, 20, 20, iscrowd=1)]
    seen = [box(1, 22, 22, 5, 5, score=0.9), box(1, 0, 0, 10, 10, score=0.5)]
    found = match(wanted, seen, "bbox")
    assert found["objects"] == {"1": 1}
    assert average_precision([found]) == (pytest.approx(1), pytest.approx(1))


def test_nothing_found_is_zero_and_nothing_to_find_is_no_figure():
    missed, empty = match([box(1, 0, 0, 5, 5)], [], "bbox"), match([], [box(1, 0, 0, 5, 5, score=1.0)], "bbox")
    assert average_precision([missed]) == (0, 0)
    assert all(math.isnan(figure) for figure in average_precision([empty]))
    assert average_precision([missed, match([], [], "bbox")]) == (0, 0)
