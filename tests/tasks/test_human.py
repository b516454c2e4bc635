import sys
from types import SimpleNamespace

import pytest
import torch

from taskodec.errors import UsageError
from taskodec.images.metrics import psnr
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


@pytest.fixture
def lpips(monkeypatch):
    """A stand-in for the package: the mean error, of pictures that its network could take."""

    class Net:
        def eval(self):
            return self

        def __call__(self, x_hat, x, normalize):
            assert normalize
            assert min(x.shape[2:]) >= 64
            return (x_hat - x).abs().mean()

    module = SimpleNamespace(__spec__=SimpleNamespace(), LPIPS=lambda net, verbose: Net())
    monkeypatch.setitem(sys.modules, "lpips", module)
    return module


@pytest.mark.parametrize("size", [(80, 70), (5, 90)])
def test_lpips_is_judged_beside_the_others_when_it_is_there(lpips, size):
    judge = Human().evaluator()
    assert dict(judge.metrics) == {"ms-ssim": True, "psnr": True, "lpips": False}
    x = torch.full((1, 3, *size), 0.5)
    records = [judge.observe("a.png", x + off, x) for off in (0.1, 5.0)]  # the second is clamped to white
    assert [record["lpips"] for record in records] == pytest.approx([0.1, 0.5])
    assert judge.summarise(records)["lpips"] == pytest.approx(0.3)


def test_without_lpips_a_warning_says_why(lpips, monkeypatch):
    def broken(net, verbose):
        raise OSError("no internet")

    lpips.LPIPS = broken
    with pytest.warns(UserWarning, match=r"LPIPS is left out, its network cannot be loaded: no internet"):
        assert list(Human().evaluator().metrics) == ["ms-ssim", "psnr"]
    monkeypatch.delitem(sys.modules, "lpips")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match=r"not installed: pip install lpips"):
        assert list(Human().evaluator().metrics) == ["ms-ssim", "psnr"]
