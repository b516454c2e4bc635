"""The project's factorised prior is CompressAI's `EntropyBottleneck`: values, gradients, files, streams."""

import hashlib

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck as Theirs

from taskodec.codecs.compressai.imports import own_bottleneck
from taskodec.coding.bottleneck import EntropyBottleneck
from taskodec.coding.priors import bottleneck_tables

CLOSE = {"rtol": 1e-6, "atol": 1e-6}
KINDS = {
    "lite": (96, {"init_scale": 4}),
    "tic": (128, {}),
    "small": (3, {"init_scale": 0.7, "filters": (2, 5), "tail_mass": 1e-6}),
}


def pair(kind, spread=0.5):
    """Both with equal parameters, as after training."""
    channels, options = KINDS[kind]
    torch.manual_seed(0)
    theirs, own = Theirs(channels, **options), EntropyBottleneck(channels, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    own.load_state_dict(theirs.state_dict())
    return own, theirs


@pytest.mark.parametrize("kind", KINDS)
def test_random_ones_are_the_same(kind):
    channels, options = KINDS[kind]
    made = []
    for layer in (Theirs, EntropyBottleneck):
        torch.manual_seed(3)
        made.append(dict(layer(channels, **options).named_parameters()))
    assert list(made[0]) == list(made[1])
    for name, parameter in made[0].items():
        assert torch.equal(parameter, made[1][name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_and_all_gradients(kind):
    own, theirs = pair(kind)
    found = []
    for layer, likelihood in ((own, own.likelihood), (theirs, lambda values: theirs._likelihood(values)[0])):
        values = torch.linspace(-20, 20, 301).repeat(KINDS[kind][0], 1, 1).requires_grad_()
        mass = likelihood(values)
        (-mass.clamp_min(1e-9).log2()).mean().backward()
        grads = {name: p.grad for name, p in layer.named_parameters() if name != "quantiles"}
        found.append((mass.detach(), values.grad, grads))
    for a, b in zip(*(one[:2] for one in found), strict=True):
        torch.testing.assert_close(a, b, **CLOSE)
    assert found[0][2].keys() == found[1][2].keys()
    for name, grad in found[0][2].items():
        torch.testing.assert_close(grad, found[1][2][name], **CLOSE)
        assert float(grad.abs().max()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_quantiles_and_what_it_trains(kind):
    own, theirs = pair(kind)
    steps = [torch.optim.Adam([layer.quantiles], lr=1e-2) for layer in (own, theirs)]
    for _ in range(20):
        losses = []
        for layer, step in zip((own, theirs), steps, strict=True):
            step.zero_grad()
            loss = layer.loss()
            loss.backward()
            losses.append(loss.detach())
        torch.testing.assert_close(*losses, **CLOSE)
        torch.testing.assert_close(own.quantiles.grad, theirs.quantiles.grad, **CLOSE)
        for step in steps:
            step.step()
    torch.testing.assert_close(own.quantiles, theirs.quantiles, **CLOSE)
    assert all(p.grad is None for name, p in own.named_parameters() if name != "quantiles")


def test_files_fit_both_ways():
    own, theirs = pair("small")
    theirs.update()
    fresh = EntropyBottleneck(3, **KINDS["small"][1])
    fresh.load_state_dict(theirs.state_dict())  # tables, bounds and all
    back = Theirs(3, **KINDS["small"][1])
    missing, unexpected = back.load_state_dict(fresh.state_dict(), strict=False)
    assert set(missing) == EntropyBottleneck.not_weights
    assert unexpected == []
    for name, parameter in theirs.named_parameters():
        assert torch.equal(parameter, back.get_parameter(name)), name
        assert torch.equal(parameter, own.get_parameter(name)), name


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_streams_are_the_same(kind):
    """To the bit: streams that were written with CompressAI's layer are read with this one."""
    own, _ = pair(kind)

    class Adapted(Theirs):
        def likelihood(self, values):
            return self._likelihood(values)[0]

    adapted = Adapted(KINDS[kind][0], **KINDS[kind][1])
    adapted.load_state_dict(own.state_dict(), strict=False)
    digests = []
    for prior in (own, adapted):
        tables = bottleneck_tables(prior)
        rows = b"".join(row.tobytes() for row in tables.rows)
        digests.append(hashlib.sha256(rows + tables.offsets.tobytes()).hexdigest())
    assert digests[0] == digests[1]


def test_a_prior_is_taken_over_without_a_draw():
    _, theirs = pair("small")
    before = torch.get_rng_state()
    own = own_bottleneck(theirs.eval())
    assert torch.equal(torch.get_rng_state(), before)
    assert not own.training
    assert torch.equal(own.target, theirs.target)
    values = torch.randn(3, 1, 9)
    torch.testing.assert_close(own.likelihood(values), theirs._likelihood(values)[0], **CLOSE)
