import math

import numpy as np
import pytest
import torch

from taskodec.coding import priors
from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.contracts import Annealed
from taskodec.errors import WeightsError
from taskodec.stream.entropy import SCALES, SymbolDecoder, SymbolEncoder, gaussian_tables


@pytest.fixture
def bottleneck():
    torch.manual_seed(0)
    return EntropyBottleneck(3, init_scale=3).eval()


@pytest.mark.compressai
def test_gaussian_likelihood_is_compressais():
    from compressai.entropy_models import GaussianConditional

    y = torch.linspace(-6, 6, 60).reshape(1, 4, 3, 5)
    scales = torch.linspace(0.05, 8, 60).reshape(1, 4, 3, 5)
    means = torch.full_like(y, 0.3)
    y_hat, likelihood = priors.estimate_gaussian(y, scales, means, "hard")
    reference = GaussianConditional(None)
    expected = reference._likelihood(y_hat, scales.clamp_min(0.11), means).clamp_min(priors.MIN_LIKELIHOOD)
    torch.testing.assert_close(likelihood, expected, rtol=1e-4, atol=1e-6)


def test_rounding_modes_agree_on_what_is_sent():
    torch.manual_seed(0)
    y, means = torch.randn(200) * 3, torch.randn(200)
    hard, rated = priors.quantize(y, means, "hard")
    assert torch.equal(hard, rated)
    torch.testing.assert_close(hard - means, (hard - means).round(), rtol=0, atol=1e-5)
    assert torch.equal(priors.quantize(y, means, "ste")[0], y + (hard - y))
    seen, noisy = priors.quantize(y, means, "mixed")
    torch.testing.assert_close(seen, hard)
    assert 0 < float((noisy - y).abs().max()) <= 0.5


def test_straight_through_gradient_is_one_for_latents():
    y = torch.linspace(-3, 3, 10, requires_grad=True)
    priors.quantize(y, torch.zeros(10), "ste")[0].sum().backward()
    assert torch.equal(y.grad, torch.ones(10))


def test_annealing_keeps_integers_and_prefers_the_nearer_neighbour():
    torch.manual_seed(0)
    integers = torch.arange(-3.0, 4).repeat(50)
    assert float((priors.anneal(integers, 0.05) - integers).abs().max()) < 0.01
    drawn = priors.anneal(torch.full((4000,), 2.3), 0.05)
    assert set(drawn.round().unique().tolist()) <= {2.0, 3.0}
    assert float((drawn.round() == 2).float().mean()) > 0.9
    warm = priors.anneal(torch.full((4000,), 2.3), 0.5)
    assert 0.5 < float((warm.round() == 2).float().mean()) < 0.9  # at a higher temperature the farther one is tried


def test_annealing_has_a_gradient():
    v = torch.full((100,), 0.4, requires_grad=True)
    y_hat, _ = priors.quantize(v, torch.zeros(100), Annealed(0.3))
    y_hat.sum().backward()
    assert float(v.grad.abs().sum()) > 0
    assert bool(torch.isfinite(v.grad).all())


def test_bottleneck_roundtrip_and_estimate(bottleneck):
    z = torch.randn(1, 3, 4, 5) * 4
    tables = priors.bottleneck_tables(bottleneck)
    writer = SymbolEncoder()
    z_hat = priors.encode_bottleneck(z, bottleneck, tables, writer)
    decoded = priors.decode_bottleneck((4, 5), bottleneck, tables, SymbolDecoder(writer.getvalue()))
    assert torch.equal(decoded, z_hat)
    with torch.no_grad():
        estimate, likelihood = priors.estimate_bottleneck(z, bottleneck, "hard")
    torch.testing.assert_close(estimate, z_hat)
    bits = float(-likelihood.log2().sum())
    assert math.isclose(bits, writer.bits, rel_tol=0.02, abs_tol=4)


def test_bottleneck_tables_are_the_priors_mass(bottleneck):
    tables = priors.bottleneck_tables(bottleneck)
    for channel, row in enumerate(tables.rows):
        symbols = torch.arange(len(row) - 1) + int(tables.offsets[channel])
        median = bottleneck.quantiles[channel, 0, 1].detach()
        values = torch.zeros(3, 1, len(symbols))
        values[channel, 0] = median + symbols
        mass = bottleneck.likelihood(values)[channel, 0].detach().numpy()
        np.testing.assert_allclose(row[:-1] / 2**16, mass, atol=2e-4)


def test_gaussian_roundtrip(tiny_codec):
    torch.manual_seed(1)
    scales = torch.rand(1, 6, 4, 4) * 20
    means = torch.randn(1, 6, 4, 4) * 5
    y = means + scales * torch.randn(1, 6, 4, 4)
    writer = SymbolEncoder()
    y_hat = priors.encode_gaussian(y, scales, means, writer)
    reader = SymbolDecoder(writer.getvalue())
    assert torch.equal(priors.decode_gaussian(scales, means, reader), y_hat)
    assert reader.checksum == writer.checksum


def test_scale_index_is_the_first_scale_not_smaller():
    scales = torch.tensor([0.0, 0.11, 0.1101, 1.0, 255.9, 1e6])
    indexes = priors.scale_indexes(scales)
    assert indexes[0] == indexes[1] == 0
    assert indexes[-1] == len(SCALES) - 1 == len(gaussian_tables().rows) - 1
    assert SCALES[indexes[3] - 1] < 1.0 <= SCALES[indexes[3]]


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf, 2.0**31, -(2.0**40)])
def test_values_that_no_stream_can_hold_are_refused(bottleneck, wild):
    """As integers they would silently become others."""
    y, z = torch.zeros(1, 2, 2, 2), torch.zeros(1, 3, 1, 1)
    y[0, 1, 0, 1] = z[0, 1] = wild
    with pytest.raises(WeightsError, match=r"latents y .*codec\.checkpoint"):
        priors.encode_gaussian(y, torch.ones_like(y), torch.zeros_like(y), SymbolEncoder())
    with pytest.raises(WeightsError, match=r"latents z .*codec\.checkpoint"):
        priors.encode_bottleneck(z, bottleneck, priors.bottleneck_tables(bottleneck), SymbolEncoder())


def test_the_largest_symbols_come_back():
    y = torch.tensor([2.0**30, -(2.0**30), 3.0, 0.0]).view(1, 1, 2, 2)
    ones, zeros, writer = torch.ones_like(y), torch.zeros_like(y), SymbolEncoder()
    priors.encode_gaussian(y, ones, zeros, writer)
    assert torch.equal(priors.decode_gaussian(ones, zeros, SymbolDecoder(writer.getvalue())), y)
