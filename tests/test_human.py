from types import SimpleNamespace

import pytest
import torch

from taskodec.errors import UsageError
from taskodec.metrics import psnr
from taskodec.tasks.human import Human


def picture(height, width, seed=0):
    """Smooth blobs in [0, 1], (1, 3, height, width)."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def test_mse_with_its_weight_is_the_objective_codecs_are_trained_for():
    codec = SimpleNamespace(lmbda=lambda quality: 0.0067 * quality)
    task, x, x_hat = Human(), picture(20, 30), picture(20, 30, seed=1)
    cost = task.lmbda(codec, 2) * task.loss(x_hat, task.prepare(x))
    assert float(cost) == pytest.approx(0.0134 * float((255 * x - 255 * x_hat).square().mean()), rel=1e-5)


@pytest.mark.parametrize(("mse", "weight"), [(0.0018, 2.40), (0.013, 16.64), (0.18, 220.0)])
def test_ms_ssim_takes_the_weights_of_compressai(mse, weight):
    assert Human("ms-ssim").lmbda(SimpleNamespace(lmbda=lambda quality: mse), 1) == pytest.approx(weight)


def test_metrics_are_those_of_the_picture_that_is_shown():
    x = torch.full((1, 3, 8, 8), 1.0)
    assert Human().metrics(x + 5, x)["psnr"] == pytest.approx(100)  # clamped to white
    assert psnr(x - 0.1, x) == pytest.approx(20, abs=1e-3)
    assert Human().metrics(x, x)["ms-ssim"] == pytest.approx(1)


def test_an_unknown_metric_says_what_is_valid():
    with pytest.raises(UsageError, match=r"no metric 'lpips'.*mse, ms-ssim"):
        Human("lpips")
