import json

import pytest
import torch

from taskodec.errors import TaskError, UsageError
from taskodec.tasks.coco import CocoEvaluator
from taskodec.tasks.detections import Detections

BOXES = torch.tensor([[2.0, 2, 12, 12], [20, 4, 30, 24], [0, 20, 8, 28]])


def detect(x):
    """Three objects whose scores are the values of the first row; the second has its box and mask elsewhere if dark."""
    boxes = BOXES.clone()
    if x.mean() < 0.1:
        boxes[1] += 40
    masks = torch.zeros(3, 80, 80, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    return Detections(boxes, x[0, 0, 0, :3], torch.tensor([1, 1, 17]), masks)


def picture(scores, level=0.5):
    x = torch.full((1, 3, 80, 80), level)
    x[..., 0, :3] = torch.tensor(scores)
    return x


@pytest.fixture
def labels(tmp_path):
    """The first two objects."""
    boxes = [[2, 2, 10, 10], [20, 4, 10, 20]]
    shapes = [[[x, y, x + w, y, x + w, y + h, x, y + h]] for x, y, w, h in boxes]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 80, "width": 80} for n in (1, 2)],
        "annotations": [
            {"image_id": n, "category_id": 1, "bbox": box, "segmentation": shape}
            for n in (1, 2)
            for box, shape in zip(boxes, shapes, strict=True)
        ],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("kind", "prefix"), [("bbox", ""), ("segm", "mask_")])
def test_labels_and_the_detections_on_the_original_are_judged_apart(labels, kind, prefix):
    judge = CocoEvaluator(detect, labels, kind)
    assert list(judge.metrics) == [prefix + name for name in ("ap", "ap50", "self_ap", "self_ap50")]
    x = picture([0.9, 0.2, 0.8])  # the second object is not sure enough to count as there
    right = judge.observe("1.png", picture([0.9, 0.7, 0.6]), x)
    wrong = judge.observe("2.png", picture([0.9, 0.7, 0.6], level=0.0), x)
    right, wrong = json.loads(json.dumps([right, wrong]))
    assert list(judge.summarise([right]).values()) == pytest.approx([1, 1, 1, 1])
    half = 51 / 101  # recall 0.5 is all that is reached
    assert list(judge.summarise([wrong]).values()) == pytest.approx([half, half, 1, 1])
    both = 76 / 101  # three of four objects, then a wrong one
    assert judge.summarise([right, wrong])[prefix + "ap"] == pytest.approx(both)


@pytest.mark.parametrize(("kind", "prefix"), [("bbox", ""), ("segm", "mask_")])
def test_labels_hold_for_the_image_at_another_size(labels, kind, prefix):
    def detect_in_half(x):
        found = detect(x)
        return Detections(found.boxes / 2, found.scores, found.categories, found.masks[:, ::2, ::2])

    x = picture([0.9, 0.7, 0.6])[..., :40, :40]
    judge = CocoEvaluator(detect_in_half, labels, kind)
    found = judge.summarise([judge.observe("1.png", x, x)])
    assert found == {prefix + name: pytest.approx(1) for name in ("ap", "ap50", "self_ap", "self_ap50")}


def test_without_labels_the_main_figure_is_agreement_with_the_original():
    judge = CocoEvaluator(detect)
    assert list(judge.metrics) == ["self_ap", "self_ap50"]
    x = picture([0.9, 0.5, 0.8])
    same, other = judge.observe("a.png", x, x), judge.observe("a.png", picture([0.9, 0.5, 0.8], 0.0), x)
    assert judge.summarise([same]) == pytest.approx({"self_ap": 1, "self_ap50": 1})
    assert judge.summarise([other])["self_ap"] == pytest.approx((51 / 101 + 1) / 2)


def test_at_most_a_hundred_detections_of_some_score_are_looked_at():
    scores = torch.linspace(0.005, 1, 200)
    found = Detections(BOXES[:1].repeat(200, 1), scores, torch.ones(200, dtype=torch.int64))
    record = CocoEvaluator(lambda x: found).observe("a.png", picture([1, 1, 1]), picture([1, 1, 1]))
    assert [row[1] for row in record["self"]["found"]] == [round(s, 5) for s in scores.flip(0)[:100].tolist()]
    faint = Detections(BOXES, torch.tensor([0.01, 0.009, 0.5]), torch.tensor([1, 1, 1]))
    record = CocoEvaluator(lambda x: faint).observe("a.png", picture([1, 1, 1]), picture([1, 1, 1]))
    assert [row[1] for row in record["self"]["found"]] == [0.5, 0.01]


def test_images_without_any_detection():
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 80, 80))
    for kind in ("bbox", "segm"):
        record = CocoEvaluator(lambda x: nothing, kind=kind).observe("a.png", picture([1, 1, 1]), picture([1, 1, 1]))
        assert record == {"self": {"objects": {}, "found": []}}


def test_what_cannot_be_judged(labels):
    judge = CocoEvaluator(detect, labels)
    with pytest.raises(UsageError, match=r"no image '3\.png'"):
        judge.observe("3.png", picture([1, 1, 1]), picture([1, 1, 1]))
    boxes = Detections(BOXES, torch.ones(3), torch.ones(3))
    with pytest.raises(TaskError, match="the network gives none"):
        CocoEvaluator(lambda x: boxes, kind="segm").observe("a.png", picture([1, 1, 1]), picture([1, 1, 1]))
