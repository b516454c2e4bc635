import json

import pytest
import torch
from torch import nn

from taskodec.tasks.detection import (
    COCO_IDS,
    Detection,
    InstanceSegmentation,
    MaskDetector,
    detection_divergence,
    objects_kept,
)
from taskodec.tasks.detections import Detections


class Tiny(MaskDetector):
    """A detector of two categories with one anchor for every 4x4 pixels."""

    min_side = 8

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.trunk, self.head, self.mask = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 6, 1), nn.Conv2d(8, 4, 1)

    def features(self, x):
        return [self.trunk(x)]

    def proposals(self, x):
        return self._boxes(x)[0]

    def _boxes(self, x):
        sides = self.head(self.trunk(x))[:, :4].flatten(2).transpose(1, 2)
        corners = sides[..., :2] + 5 * torch.arange(sides.shape[1])[:, None]
        return torch.cat([corners, corners + sides[..., 2:].exp()], -1)

    def outputs(self, x, proposals=None):
        scores = (40 * self.head(self.trunk(x))[:, 4:]).sigmoid().flatten(2).transpose(1, 2)
        return torch.cat([self._boxes(x), scores], -1)

    def outputs_and_masks(self, x, proposals):
        masks = self.mask(self.trunk(x)).sigmoid().flatten(2).transpose(1, 2).unflatten(2, (2, 2))[0]
        return self.outputs(x, proposals), masks

    def detect(self, x):
        anchors = self.outputs(x)[0]
        scores, classes = anchors[:, 4:].max(1)
        return Detections(anchors[:, :4], scores, classes + 1)


@pytest.mark.parametrize("kind", [Detection, InstanceSegmentation])
@pytest.mark.parametrize("loss", ["features", "outputs"])
def test_the_loss_is_zero_at_the_original_and_has_a_gradient_elsewhere(kind, loss):
    task = kind(Tiny(), "tiny", loss=loss)
    x = torch.rand(1, 3, 12, 7, generator=torch.Generator().manual_seed(0))
    reference = task.prepare(x)
    assert float(task.loss(x, reference)) == pytest.approx(0, abs=1e-6)
    x_hat = (0.5 * x).requires_grad_()
    task.loss(x_hat, reference).backward()
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0


def test_boxes_are_too_exact_for_mixed_precision():
    assert [Detection(Tiny(), "tiny", loss=loss).mixed_precision for loss in ("features", "outputs")] == [True, False]


def test_detectors_of_one_stage_see_several_pictures_at_once():
    network = Tiny()
    network.proposals = lambda x: None
    task = Detection(network, "tiny", loss="outputs")
    x = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    references = [task.prepare(one[None]) for one in x]
    alone = [float(task.loss(0.5 * one[None], own)) for one, own in zip(x, references, strict=True)]
    assert task.batch_loss(0.5 * x, references).tolist() == pytest.approx(alone, rel=1e-4)


def test_masks_count_beside_the_boxes():
    x = torch.rand(1, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    losses = []
    for kind in (Detection, InstanceSegmentation):
        task = kind(Tiny(), "tiny", loss="outputs")
        losses.append(float(task.loss(0.5 * x, task.prepare(x))))
    assert losses[1] > losses[0] > 0


def anchors(*rows):
    return torch.tensor([rows], dtype=torch.float32)


OBJECT, NOTHING = (0.0, 0.0, 10.0, 10.0, 0.9, 0.0), (20.0, 20.0, 30.0, 30.0, 0.0, 0.0)


def test_an_object_that_is_lost_costs_as_one_that_is_made_up_does_and_a_faint_change_of_nothing_does_not():
    wanted = anchors(OBJECT, NOTHING)
    lost = detection_divergence(anchors((*OBJECT[:4], 0.01, 0.0), NOTHING), wanted)
    made_up = detection_divergence(anchors(OBJECT, (*NOTHING[:4], 0.0, 0.9)), wanted)
    faint = detection_divergence(anchors(OBJECT, (*NOTHING[:4], 0.0, 0.01)), wanted)
    assert float(lost) > 1 > 0.5 < float(made_up)
    assert 0 < float(faint) < 1e-3


def test_a_box_that_moves_costs_one_minus_the_overlap_where_there_is_an_object():
    wanted = anchors(OBJECT, NOTHING)
    moved = detection_divergence(anchors((0.0, 0.0, 10.0, 5.0, 0.9, 0.0), NOTHING), wanted)
    elsewhere = detection_divergence(anchors(OBJECT, (50.0, 50.0, 60.0, 60.0, 0.0, 0.0)), wanted)
    assert float(moved) == pytest.approx(0.9 * 0.5 / 1.9, rel=1e-4)
    assert float(elsewhere) == pytest.approx(0, abs=1e-6)


def test_empty_boxes_agree_with_themselves():
    flat = anchors((5.0, 5.0, 5.0, 5.0, 0.9, 0.0))
    assert float(detection_divergence(flat, flat)) < 1e-3


def test_certain_probabilities_have_a_finite_divergence():
    sure, never = anchors((*OBJECT[:4], 1.0, 0.0)), anchors((*OBJECT[:4], 0.0, 1.0))
    assert 1 < float(detection_divergence(never, sure)) < 100


def detections(*rows):
    boxes, scores, categories = zip(*rows, strict=True) if rows else ([], [], [])
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(categories))


def test_an_object_is_kept_with_its_category_its_place_and_a_score():
    wanted = detections(
        ([0.0, 0.0, 10.0, 10.0], 0.9, 1), ([50.0, 50.0, 60.0, 60.0], 0.8, 3), ([0.0, 0.0, 5.0, 5.0], 0.2, 1)
    )
    assert objects_kept(wanted, wanted) == 1
    assert objects_kept(detections(([1.0, 0.0, 11.0, 10.0], 0.6, 1)), wanted) == 0.5
    assert objects_kept(detections(([0.0, 0.0, 10.0, 10.0], 0.9, 3)), wanted) == 0
    assert objects_kept(detections(([0.0, 0.0, 10.0, 10.0], 0.4, 1)), wanted) == 0
    assert objects_kept(detections(([8.0, 8.0, 18.0, 18.0], 0.9, 1)), wanted) == 0
    assert objects_kept(detections(), wanted) == 0
    assert objects_kept(wanted, detections()) == 1


def test_metrics_compare_the_objects():
    task = Detection(Tiny(), "tiny")
    x = torch.rand(1, 3, 12, 8, generator=torch.Generator().manual_seed(0))
    assert task.metrics(x, x) == {"objects_kept": 1.0, "feature_distance": 0.0}
    found = task.metrics(1 - x, x)
    assert found["objects_kept"] < 1
    assert found["feature_distance"] == pytest.approx(float(task.loss(1 - x, task.prepare(x))))


def test_the_categories_are_cocos():
    assert len(COCO_IDS) == 80
    assert (COCO_IDS[0], COCO_IDS[11], COCO_IDS[-1]) == (1, 13, 90)  # person, stop sign, toothbrush


@pytest.mark.parametrize(
    ("kind", "names"),
    [(Detection, ["self_ap", "self_ap50"]), (InstanceSegmentation, ["mask_self_ap", "mask_self_ap50"])],
)
def test_it_is_judged_by_average_precision_of_boxes_or_of_masks(kind, names, monkeypatch):
    def detect(x):
        """Two objects in a picture of whatever size, whose masks show what the network was given."""
        masks = torch.zeros(2, *x.shape[2:], dtype=torch.bool)
        masks[0, :3], masks[1, 3:] = True, True
        shapes.append(tuple(masks.shape))
        boxes = torch.tensor([[0.0, 0, 5, 3], [0, 3, 5, 5]])
        return Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 2]), masks)

    shapes = []
    task = kind(Tiny(), "tiny")
    monkeypatch.setattr(task.network, "detect", detect)
    x = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    judge = task.evaluator()
    record = judge.observe("a.png", x, x)
    assert shapes == [(2, 8, 8)] * 2
    assert judge.summarise([record]) == dict.fromkeys(names, pytest.approx(1))


def test_labels_of_masks_have_the_size_of_the_picture(tmp_path, monkeypatch):
    """A network that was shown a picture continued to 8x8 still gives masks of its 5x5 pixels."""
    whole = Detections(torch.tensor([[0.0, 0, 5, 5]]), torch.ones(1), torch.ones(1), torch.ones(1, 8, 8) > 0)
    task = InstanceSegmentation(Tiny(), "tiny")
    monkeypatch.setattr(task.network, "detect", lambda x: whole)
    mask = {"size": [5, 5], "counts": [0, 25]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 5, "width": 5}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": mask}],
    }
    (tmp_path / "masks.json").write_text(json.dumps(content))
    judge = task.evaluator(tmp_path / "masks.json")
    x = torch.rand(1, 3, 5, 5)
    assert judge.summarise([judge.observe("a.png", x, x)])["mask_ap"] == pytest.approx(1)
