import pytest
import torch
from pytorch_msssim import ms_ssim

from taskodec.images.metrics import ms_ssim_loss, psnr


def picture(height, width, seed=0):
    """Smooth blobs in [0, 1], (1, 3, height, width)."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)


def test_psnr():
    x = torch.zeros(1, 3, 4, 4)
    assert psnr(x + 0.1, x) == pytest.approx(20, abs=1e-4)
    assert psnr(x, x) == 100


def test_ms_ssim_of_a_large_picture_is_the_standard_one():
    x, x_hat = picture(161, 176), (picture(161, 176) + 0.1 * picture(161, 176, seed=1)).clamp(0, 1)
    expected = 1 - float(ms_ssim(x_hat, x, data_range=1.0))
    assert expected > 0.001
    assert float(ms_ssim_loss(x_hat, x)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [(1000, 1100), (1031, 1021)])
def test_ms_ssim_in_strips_is_the_standard_one(size):
    x = picture(*size)
    x_hat = (x + 0.1 * picture(*size, seed=1)).clamp(0, 1)
    expected = 1 - float(ms_ssim(x_hat, x, data_range=1.0))
    assert expected > 0.001
    assert float(ms_ssim_loss(x_hat, x)) == pytest.approx(expected, abs=1e-6)


def test_a_large_picture_has_a_gradient_too():
    x = picture(1024, 1025)
    x_hat = (0.9 * x).requires_grad_()
    ms_ssim_loss(x_hat, x).backward()
    assert float(x_hat.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 40), (2, 3), (16, 16), (32, 200), (33, 33), (64, 48), (160, 160), (161, 161)]
)
def test_ms_ssim_of_any_size_is_finite_with_a_gradient_and_zero_at_the_original(size):
    x, other = picture(*size), picture(*size, seed=1)
    x_hat = (0.7 * x + 0.3 * other).requires_grad_()
    loss = ms_ssim_loss(x_hat, x)
    loss.backward()
    assert 0 < float(loss.detach()) < 2
    assert bool(torch.isfinite(x_hat.grad).all())
    assert float(x_hat.grad.abs().sum()) > 0
    assert float(ms_ssim_loss(x, x)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("make", [lambda x: 1 - x, lambda x: x - 2, torch.zeros_like])
def test_where_the_structure_is_opposite_the_gradient_still_leads_back(make):
    x = picture(48, 40)
    x_hat = make(x).requires_grad_()
    before = ms_ssim_loss(x_hat, x)
    (gradient,) = torch.autograd.grad(before, x_hat)
    assert bool(torch.isfinite(gradient).all())
    after = ms_ssim_loss(x_hat - 0.01 * gradient / gradient.abs().max(), x)
    assert float(after.detach()) < float(before.detach())


def test_a_batch_is_the_mean_of_its_pictures():
    x, x_hat = picture(48, 40), picture(48, 40, seed=1)
    both = ms_ssim_loss(torch.cat([x_hat, x]), torch.cat([x, x]))
    assert float(both) == pytest.approx((float(ms_ssim_loss(x_hat, x)) + float(ms_ssim_loss(x, x))) / 2, abs=1e-6)
