import pytest
import torch
from torch import nn

from taskodec.contracts import JointTask, Part
from taskodec.contracts.function_task import FunctionTask
from taskodec.tasks.features import FeatureNetwork, FeatureTask
from taskodec.tasks.views import AS_IS, View


class Edges(FeatureNetwork):
    min_side = 1

    def __init__(self, view, fixed=None):
        super().__init__()
        self.view, self.fixed = view, fixed
        self.layer = nn.Conv2d(3, 2, 3)

    def features(self, x):
        return [self.layer(x)]

    def outputs(self, x):
        return self.layer(x).mean((2, 3))


SIZES = [(480, 640), (640, 480), (100, 100), (480, 640)]
"""Of pictures, three of four the same, so that the odd one has no say."""


@pytest.mark.parametrize(
    ("view", "seen"),
    [
        (View(letterbox=(320, 320), grey=0.4), (32, 32)),
        (View(short=256, crop=(224, 224)), (34, 34)),
        (View(size=(480, 480)), (55, 55)),
        (View(scale=0.25), (16, 16)),
        (View(short=480), (64, 64)),  # most of the pictures at their own size, and crops as well
    ],
)
def test_crops_are_shown_at_the_scale_of_their_pictures(view, seen):
    network = Edges(view)
    task = FeatureTask(network, "edges")
    found = task.for_crops(SIZES)
    crop = torch.rand(1, 3, 64, 64)
    assert found.look(crop).shape[2:] == seen
    assert network.view == view
    assert found.network.view.grey == view.grey
    assert found.network.layer.weight is network.layer.weight
    assert found.network.layer is not network.layer


def test_what_is_seen_at_its_own_size_stays():
    task = FeatureTask(Edges(AS_IS), "edges")
    assert task.for_crops(SIZES) is task


def test_a_network_of_one_size_sees_crops_in_the_middle_of_it():
    network = Edges(View(letterbox=(320, 320), grey=0.25, centred=True), fixed=(320, 320))
    crop = torch.rand(1, 3, 64, 64)
    seen = FeatureTask(network, "edges").for_crops(SIZES).look(crop)
    assert seen.shape[2:] == (320, 320)
    assert torch.equal(seen[..., 144:176, 144:176], FeatureTask(Edges(View(scale=0.5)), "edges").look(crop))
    assert bool((seen[..., :144, :] == 0.25).all())
    assert bool((seen[..., 176:] == 0.25).all())


def test_crops_that_are_more_than_its_size_are_cut():
    network = Edges(View(short=256, crop=(24, 24)), fixed=(24, 24))
    assert FeatureTask(network, "edges").for_crops(SIZES).look(torch.rand(1, 3, 64, 64)).shape[2:] == (24, 24)


def test_each_part_of_several_tasks_has_its_own_scale():
    parts = [
        Part("a", FeatureTask(Edges(View(letterbox=(320, 320))), "a")),
        Part("b", FunctionTask("b", torch.dist), 3),
    ]
    found = JointTask("both", parts).for_crops(SIZES)
    assert found.parts[0].task.look(torch.rand(1, 3, 64, 64)).shape[2:] == (32, 32)
    assert [part.share for part in found.parts] == [0.25, 0.75]
    assert found.parts[1].task is parts[1].task
