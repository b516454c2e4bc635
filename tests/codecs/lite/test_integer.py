import numpy as np
import pytest
import torch
from torch import nn

from taskodec.codecs.lite.checkerboard import anchors
from taskodec.codecs.lite.codec import Lite
from taskodec.codecs.lite.integer import EXACT, IntegerConv
from taskodec.codecs.lite.loading import load_lite
from taskodec.coding.priors import scale_indexes


@pytest.fixture(scope="module")
def lite():
    return load_lite().requires_grad_(False)


@pytest.fixture(scope="module")
def z_hat(lite):
    torch.manual_seed(0)
    symbols = torch.round(torch.randn(1, len(lite.medians()), 4, 6) * 4)
    return symbols + lite.entropy_bottleneck.quantiles[:, 0, 1].view(1, -1, 1, 1)


@pytest.fixture(scope="module")
def y(lite):
    torch.manual_seed(1)
    return torch.randn(1, lite.gain.shape[1], 16, 24) * 3


def both(prediction, y):
    """Scales and means of both passes, as coding sees them: (2, M, h, w) each."""
    scales, means = prediction.first()
    known = anchors(y)
    y_hat = torch.where(known, torch.round(y - means) + means, 0)
    others = prediction.second(y_hat)
    return tuple(torch.cat(pair) for pair in zip((scales, means), others, strict=True))


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


def test_sums_are_those_of_whole_numbers():
    """At the largest sums allowed, against arithmetic that has no rounding."""
    generator = np.random.default_rng(0)
    conv = IntegerConv(generator.random((8, 96, 3, 3)), np.ones(8), np.ones(96), np.full(8, 1e-4), 255)
    q = generator.integers(0, 256, (1, 96, 6, 7))
    weight = np.zeros((8, 96, 3, 3), dtype=np.int64)
    for matrix, (row, column) in zip(conv.matrices.numpy(), conv.taps, strict=True):
        weight[:, :, row, column] = matrix
    padded = np.pad(q, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # (1, 96, 6, 7, 3, 3)
    total = np.einsum("bihwkl,oikl->bohw", windows, weight)
    assert np.abs(total).max() > EXACT // 8
    bias = np.clip(np.rint(np.ldexp(1 / 1e-4, conv.shift)), -conv.room, conv.room).astype(np.int64)
    real = np.ldexp((total + bias[:, None, None]).astype(np.float64), -conv.shift[:, None, None])
    assert np.array_equal(conv(torch.from_numpy(q).float()).numpy(), np.floor((real + 0.5).astype(np.float32)))


def test_only_taps_with_weights_are_computed():
    weight = np.zeros((2, 3, 5, 5))
    weight[:, :, 1, 2] = 1.0
    assert IntegerConv(weight, np.zeros(2), np.ones(3), np.ones(2), 255).taps == [(1, 2)]


def test_loading_forgets_what_was_made_from_the_weights(z_hat):
    codec = load_lite().requires_grad_(False)
    before = codec.exact_prediction(z_hat, 2.0).first()[0]
    codec.load_state_dict({**codec.state_dict(), "h_s.first.weight": codec.h_s.first.weight * 1.5})
    assert not torch.equal(codec.exact_prediction(z_hat, 2.0).first()[0], before)


def test_no_sum_can_leave_the_exact_range():
    torch.manual_seed(0)
    weight, bias = np.random.default_rng(0).normal(size=(4, 96, 3, 3)), np.array([0.0, 1e3, -1e9, 5.0])
    conv = IntegerConv(weight, bias, np.ones(96), np.ones(4), 255)
    largest = 255 * conv.matrices.double().abs().sum((0, 2))
    assert (largest + conv.bias.double().abs() < EXACT).all()


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("quality", [1.0, 3.3125, 7.0])
def test_every_way_to_compute_gives_the_same(lite, z_hat, y, quality):
    scales, means = both(lite.exact_prediction(z_hat, quality), y)
    assert float(means.abs().max()) > 0.1
    assert not torch.equal(scales[0], scales[1])  # the context does say something
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            for onednn in (True, False):
                for kind in (torch.float32, torch.float64):
                    torch.set_num_threads(count)
                    with torch.backends.mkldnn.flags(enabled=onednn):
                        other = both(lite.exact_prediction(z_hat.to(kind), quality), y)
                    assert np.array_equal(scale_indexes(other[0].float()), scale_indexes(scales))
                    torch.testing.assert_close(other[1].float(), means, rtol=1e-6, atol=0)
    finally:
        torch.set_num_threads(threads)
    last = z_hat.to(memory_format=torch.channels_last)
    again = both(lite.exact_prediction(last, quality), y.to(memory_format=torch.channels_last))
    assert torch.equal(again[0], scales)


def test_tables_are_beyond_doubt(lite, z_hat, y):
    """A scale may be off by a thousandth and still choose the same table."""
    scales, _ = both(lite.exact_prediction(z_hat, 3.0), y)
    for factor in (0.999, 1.001):
        assert np.array_equal(scale_indexes(scales * factor), scale_indexes(scales))


@pytest.mark.parametrize("quality", [1.0, 4.0, 7.0])
def test_integers_cost_next_to_nothing(lite, photo, quality):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    latents = lite.analysis(x, quality)
    exact = float(lite.entropy(latents, quality, "hard").bits)
    as_float = float(lite.entropy(latents, torch.tensor([quality]), "hard").bits)
    assert exact == pytest.approx(as_float, rel=0.02)
    assert exact != as_float


def test_wild_symbols_are_clamped_alike(lite, z_hat, y):
    wild = lite.exact_prediction(z_hat * 1e6, 2.0)
    scales, means = both(wild, y * 1e6)
    assert torch.isfinite(scales).all()
    assert torch.isfinite(means).all()
    again, _ = both(lite.exact_prediction((z_hat * 1e6).double(), 2.0), y.double() * 1e6)
    assert np.array_equal(scale_indexes(again.float()), scale_indexes(scales))


def test_unprepared_weights_code_in_floats(z_hat):
    codec = Lite().eval().requires_grad_(False)
    exact, plain = codec.exact_prediction(z_hat, 2.0).first(), codec.prediction(z_hat, 2.0).first()
    assert all(torch.equal(a, b) for a, b in zip(exact, plain, strict=True))


def test_training_forgets_what_was_made_from_the_weights(z_hat):
    codec = load_lite().requires_grad_(False)
    before = codec.exact_prediction(z_hat, 2.0).first()[0]
    codec.train()
    codec.h_s.first.weight.mul_(1.5)
    codec.eval()
    assert not torch.equal(codec.exact_prediction(z_hat, 2.0).first()[0], before)


@pytest.mark.parametrize("batch", [1, 2])
def test_the_context_of_half_the_fields_is_that_of_all(lite, batch, monkeypatch):
    context = lite.predictor().context
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(-255, 256, (batch, lite.range_sizes[-1], 8, 12), generator=generator)
    y = drawn.float() * anchors(torch.zeros(8, 12))
    features = torch.randint(0, 256, (batch, lite.range_sizes[2], 8, 12), generator=generator).float()
    half = context(y, features)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        everywhere = context(y, features)
    white = ~anchors(y)
    assert float(half[..., white].abs().max()) > 0
    assert torch.equal(half[..., white], everywhere[..., white])


@pytest.mark.parametrize("quality", [1.0, 3.3125, 7.0])
def test_tables_come_without_scales(lite, z_hat, y, quality):
    """Straight from integers, they are those that the scales stand for; the means are the same."""
    prediction = lite.exact_prediction(z_hat, quality)
    y_hat = torch.where(anchors(y), torch.round(y - prediction.first()[1]) + prediction.first()[1], 0)
    for colour, parameters, coded in (
        (anchors(y), prediction.first(), prediction.black()),
        (~anchors(y), prediction.second(y_hat), prediction.white(y_hat)),
    ):
        scales, means = (p[..., colour] for p in parameters)
        assert np.array_equal(coded[0], scale_indexes(scales))
        assert torch.equal(coded[1], means)
