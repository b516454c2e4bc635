import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from taskodec.errors import UsageError
from taskodec.tasks.features import FeatureNetwork
from taskodec.tasks.semantic import Semantic


class Tiny(FeatureNetwork):
    """Three classes by colour."""

    min_side = 8

    def __init__(self):
        super().__init__()
        self.trunk = nn.Conv2d(3, 3, 1, bias=False)  # a random one may outweigh a colour
        nn.init.eye_(self.trunk.weight[:, :, 0, 0])

    def features(self, x):
        return [self.trunk(x)]

    def outputs(self, x):
        return 10 * self.trunk(x)


@pytest.fixture
def x():
    return torch.rand(1, 3, 9, 5, generator=torch.Generator().manual_seed(0))


def test_the_loss_on_outputs_is_the_mean_divergence_of_pixels(x):
    task = Semantic(Tiny(), "tiny", loss="outputs")
    x_hat = (x.flip(1) * 0.5).requires_grad_()
    loss = task.loss(x_hat, task.prepare(x))
    wide, wide_hat = (torch.cat([v, v[..., -1:].expand(-1, -1, -1, 3)], 3) for v in (x, x_hat))
    p, q = (task.network.outputs(v).softmax(1) for v in (wide, wide_hat))
    assert float(loss.detach()) == pytest.approx(float((p * (p / q).log()).sum(1).mean().detach()), rel=1e-4)
    loss.backward()
    assert float(x_hat.grad.abs().sum()) > 0
    assert float(task.loss(x, task.prepare(x))) == pytest.approx(0, abs=1e-6)


def test_classes_and_their_agreement_are_of_the_pictures_own_pixels(x):
    task = Semantic(Tiny(), "tiny")
    classes = task.classes(x)
    assert classes.shape == (1, 9, 5)
    changed = x.clone()
    changed[0, :, 0, 0] = 0
    changed[0, (int(classes[0, 0, 0]) + 1) % 3, 0, 0] = 1
    assert task.metrics(x, x) == {"pixel_agreement": 1.0, "feature_distance": 0.0}
    assert task.metrics(changed, x)["pixel_agreement"] == pytest.approx(44 / 45)


@pytest.mark.parametrize(("label_ids", "value"), [("coco", 5), ("network", 1)])  # an aeroplane: COCO's 5 is VOC's 1
def test_it_is_judged_by_label_files_of_either_numbering(tmp_path, label_ids, value):
    Image.fromarray(np.full((9, 5), value, np.uint8)).save(tmp_path / "a.png")
    task = Semantic(Tiny(), "tiny", label_ids=label_ids)
    green = torch.zeros(1, 3, 9, 5)
    green[:, 1] = 1
    judge = task.evaluator(tmp_path)
    assert judge.summarise([judge.observe("a.jpg", green, green)]) == {"miou": 1, "self_miou": 1}
    assert judge.summarise([judge.observe("a.jpg", green.flip(2).roll(1, 1), green)]) == {"miou": 0, "self_miou": 0}


def test_numberings_that_do_not_exist():
    with pytest.raises(UsageError, match=r"no label_ids 'voc'; valid: coco, network"):
        Semantic(Tiny(), "tiny", label_ids="voc")
