import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from taskodec.codecs.integer import EXACT, LOG_FIRST, LOG_UNIT, IntegerConv, between
from taskodec.codecs.lite import load_lite
from taskodec.entropy import SCALES
from taskodec.priors import scale_indexes


@pytest.fixture(scope="module")
def lite():
    return load_lite().requires_grad_(False)


@pytest.fixture(scope="module")
def z_hat(lite):
    torch.manual_seed(0)
    symbols = torch.round(torch.randn(1, 96, 4, 6) * 4)
    return symbols + lite.entropy_bottleneck.quantiles[:, 0, 1].view(1, -1, 1, 1)


def double(tensor):
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("kernel", [1, 3])
def test_integer_convolution_is_close_to_the_real_one(kernel):
    torch.manual_seed(0)
    conv = nn.Conv2d(12, 7, kernel, padding=kernel // 2)
    unit_in, unit_out = np.full(12, 1 / 64), np.full(7, 1 / 128)
    q = torch.randint(0, 256, (1, 12, 9, 8)).float()
    integer = IntegerConv(double(conv.weight), double(conv.bias), unit_in, unit_out, 255)
    result = integer(q)
    assert torch.equal(result, result.round())
    with torch.no_grad():
        real = conv(q / 64)
    assert float((result / 128 - real).abs().max()) < 0.02 * float(real.abs().max())


def winograd(q, weight, bias, padding):
    """A 3x3 convolution as F(4x4, 3x3) computes it, in the precision of its inputs (Lavin and Gray 2016)."""
    if weight.shape[-1] != 3:
        return F.conv2d(q, weight, bias, padding=padding)
    kind = {"dtype": q.dtype}
    B = torch.tensor([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
                      [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]], **kind)  # fmt: skip
    G = torch.tensor([[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6],
                      [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]], **kind)  # fmt: skip
    A = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], **kind)
    height, width = q.shape[-2:]
    tiles = F.pad(q, (1, 1 + -width % 4, 1, 1 + -height % 4)).unfold(2, 6, 4).unfold(3, 6, 4)  # (B, I, r, c, 6, 6)
    products = torch.einsum("birckl,oikl->borckl", B @ tiles @ B.T, G @ weight @ G.T)
    out = A @ products @ A.T  # (B, O, r, c, 4, 4)
    whole = out.transpose(3, 4).flatten(2, 3).flatten(3, 4)  # -> (B, O, 4 r, 4 c)
    return whole[..., :height, :width] + bias[:, None, None]


def test_winograd_gives_the_same_integers(monkeypatch):
    """At the largest sums allowed; in float32 some of these come out wrong even after rounding."""
    generator = np.random.default_rng(0)
    conv = IntegerConv(generator.normal(size=(32, 96, 3, 3)), np.zeros(32), np.ones(96), np.full(32, 1e-4), 255)
    q = torch.from_numpy(generator.integers(0, 256, (1, 96, 24, 24))).float()
    expected = conv(q)
    single = winograd(q, conv.weight.float(), torch.zeros(32), 1).round()
    exact = F.conv2d(q.double(), conv.weight, padding=1)
    assert not torch.equal(single.double(), exact)  # the emulation does see the danger
    monkeypatch.setattr("taskodec.codecs.integer.F.conv2d", winograd)
    assert torch.equal(conv(q), expected)


def test_the_figures_are_the_logarithms():
    assert math.isclose(LOG_FIRST, math.log(SCALES[0]), rel_tol=1e-15)
    assert math.isclose(LOG_UNIT, math.log(SCALES[-1] / SCALES[0]) / 63 / 16, rel_tol=1e-15)


@pytest.mark.parametrize(("quality", "expected"), [(1.0, 0.0), (1.25, 2.5), (2.0, 10.0), (3.0, 30.0), (2.5, 20.0)])
def test_between_levels(quality, expected):
    levels = np.array([[0.0, 1.0], [10.0, 1.0], [30.0, 1.0]])
    assert between(levels, quality).tolist() == [expected, 1.0]


def test_loading_forgets_what_was_made_from_the_weights(z_hat):
    codec = load_lite().requires_grad_(False)
    before = codec.exact_scales_and_means(z_hat, 2.0)[0]
    codec.load_state_dict({**codec.state_dict(), "h_s.first.weight": codec.h_s.first.weight * 1.5})
    assert not torch.equal(codec.exact_scales_and_means(z_hat, 2.0)[0], before)


def test_no_sum_can_leave_the_exact_range():
    torch.manual_seed(0)
    weight, bias = np.random.default_rng(0).normal(size=(4, 96, 3, 3)), np.array([0.0, 1e3, -1e9, 5.0])
    conv = IntegerConv(weight, bias, np.ones(96), np.ones(4), 255)
    q = torch.full((1, 96, 5, 5), 255.0)
    largest = torch.nn.functional.conv2d(q.double(), conv.weight.double().abs(), padding=1).amax((0, 2, 3))
    integer_bias = np.clip(np.rint(np.ldexp(bias, conv.shift)), -conv.room, conv.room)
    assert (largest.numpy() + np.abs(integer_bias) < EXACT).all()


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("quality", [1.0, 3.3125, 7.0])
def test_every_way_to_compute_gives_the_same(lite, z_hat, quality):
    scales, means = lite.exact_scales_and_means(z_hat, quality)
    assert float(means.abs().max()) > 0.1
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            for onednn in (True, False):
                for kind in (torch.float32, torch.float64):
                    torch.set_num_threads(count)
                    with torch.backends.mkldnn.flags(enabled=onednn):
                        other = lite.exact_scales_and_means(z_hat.to(kind), quality)
                    assert np.array_equal(scale_indexes(other[0].float()), scale_indexes(scales))
                    torch.testing.assert_close(other[1].float(), means, rtol=1e-6, atol=0)
    finally:
        torch.set_num_threads(threads)
    last = z_hat.to(memory_format=torch.channels_last)
    assert torch.equal(lite.exact_scales_and_means(last, quality)[0], scales)


def test_tables_are_beyond_doubt(lite, z_hat):
    """A scale may be off by a thousandth and still choose the same table."""
    scales, _ = lite.exact_scales_and_means(z_hat, 3.0)
    for factor in (0.999, 1.001):
        assert np.array_equal(scale_indexes(scales * factor), scale_indexes(scales))


@pytest.mark.parametrize("quality", [1.0, 4.0, 7.0])
def test_integers_cost_next_to_nothing(lite, photo, quality):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    latents = lite.analysis(x, quality)
    exact = float(lite.entropy(latents, quality, "hard").bits)
    as_float = float(lite.entropy(latents, torch.tensor([quality]), "hard").bits)
    assert exact == pytest.approx(as_float, rel=0.01)
    assert exact != as_float


def test_wild_symbols_are_clamped_alike(lite, z_hat):
    wild = z_hat * 1e6
    scales, means = lite.exact_scales_and_means(wild, 2.0)
    assert torch.isfinite(scales).all()
    assert torch.isfinite(means).all()
    again, _ = lite.exact_scales_and_means(wild.double(), 2.0)
    assert np.array_equal(scale_indexes(again.float()), scale_indexes(scales))


def test_unprepared_weights_code_in_floats(lite, z_hat):
    from taskodec.codecs.lite import Lite

    codec = Lite().eval().requires_grad_(False)
    exact, plain = codec.exact_scales_and_means(z_hat, 2.0), codec.scales_and_means(z_hat, 2.0)
    assert all(torch.equal(a, b) for a, b in zip(exact, plain, strict=True))


def test_training_forgets_what_was_made_from_the_weights(z_hat):
    codec = load_lite().requires_grad_(False)
    before = codec.exact_scales_and_means(z_hat, 2.0)[0]
    codec.train()
    codec.h_s.first.weight.mul_(1.5)
    codec.eval()
    assert not torch.equal(codec.exact_scales_and_means(z_hat, 2.0)[0], before)
