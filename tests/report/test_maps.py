import numpy as np
import pytest
import torch

from taskodec.contracts import FunctionTask
from taskodec.report.maps import HUES, amplified, class_picture, coloured, factor_of, mask_picture, scale_of, slope


def test_one_scale_for_all():
    maps = [np.zeros((4, 4), np.float32), np.full((4, 4), 3.0, np.float32)]
    scale = scale_of(maps)
    assert (scale.low, scale.high) == (0.0, 3.0)
    dark, bright = (np.asarray(coloured(one, scale)) for one in maps)
    assert dark.mean() < 10 < bright.mean()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_map_of_nothing(value):
    found = np.full((2, 2), value, np.float32)
    assert scale_of([found]).high == 1.0
    assert coloured(found, scale_of([found])).size == (2, 2)


@pytest.mark.parametrize(("size", "factor"), [(0.0, 32), (0.01, 32), (0.1, 4), (0.9, 1)])
def test_small_differences_are_amplified_more(size, factor):
    assert factor_of([torch.full((1, 3, 8, 8), size)]) == factor


def test_a_difference_lies_around_grey():
    shown = np.asarray(amplified(torch.tensor([0.0, 0.25, -0.125]).reshape(1, 3, 1, 1), 2))
    assert shown[0, 0].tolist() == [128, 255, 64]


def test_the_slope_is_where_the_loss_looks():
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    task = FunctionTask("corner", lambda x_hat, x: (x_hat - 0.5)[..., :2, :3].square().mean())
    found = slope(task, x, x)
    assert found.shape == (8, 8)
    assert (found[:2, :3] > 0).all()
    assert found.sum() == pytest.approx(found[:2, :3].sum())


def test_the_slope_of_a_large_picture_is_reduced():
    x = torch.zeros(1, 3, 2, 1600)
    assert slope(FunctionTask("mean", lambda x_hat, x: x_hat.mean()), x, x).shape == (1, 768)


def test_classes_and_masks_have_their_colours():
    classes = torch.tensor([[0, 1], [2, len(HUES) + 1]])
    shown = np.asarray(class_picture(classes, empty=[0]))
    assert shown[0, 0, 3] == 0
    assert tuple(shown[0, 1, :3]) == tuple(shown[1, 1, :3]) == HUES[1]
    first, second = torch.zeros(2, 2, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool)
    first[0, 0] = True
    masks = np.asarray(mask_picture([(first, 3), (second, 4)], (2, 2)))
    assert tuple(masks[0, 0, :3]) == HUES[3]
    assert tuple(masks[1, 1, :3]) == HUES[4]
