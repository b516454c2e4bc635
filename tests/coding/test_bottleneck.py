"""The factorised prior on its own; `test_compressai_bottleneck.py` compares it with CompressAI's."""

import copy
import pickle

import pytest
import torch
from torch import nn

from taskodec.coding.bottleneck import EntropyBottleneck, names_of

LISTS = ("matrices.", "biases.", "factors.")


@pytest.fixture
def prior():
    torch.manual_seed(0)
    return EntropyBottleneck(3, init_scale=4)


def moved(prior, generator_seed=1):
    """The same with parameters as after some training."""
    generator = torch.Generator().manual_seed(generator_seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return prior


def test_the_mass_of_all_integers_is_one(prior):
    values = torch.arange(-400.0, 401).expand(3, 1, -1)
    mass = moved(prior).double().likelihood(values.double())
    assert mass.shape == (3, 1, 801)
    assert bool((mass >= 0).all())
    torch.testing.assert_close(mass.sum(-1), torch.ones(3, 1, dtype=torch.float64))


def test_parameters_are_those_of_the_files(prior):
    names = [*(f"{kind}.{i}" for kind in ("matrices", "biases") for i in range(5)), *(f"factors.{i}" for i in range(4))]
    assert prior.state_dict().keys() == {"quantiles", *names}
    assert prior.state_dict().keys() == {name for name, _ in prior.named_parameters()}


def test_the_loss_brings_the_quantiles_to_the_tails_and_the_median(prior):
    fixed = {name: p.clone() for name, p in prior.named_parameters() if name != "quantiles"}
    optimizer = torch.optim.Adam([prior.quantiles], lr=0.5)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 250, 0.1)
    first = prior.loss().item()
    for _ in range(700):
        optimizer.zero_grad()
        prior.loss().backward()
        optimizer.step()
        schedule.step()
    assert prior.loss().item() < 0.02 * first
    exact = copy.deepcopy(prior).double().requires_grad_(False)
    beyond = 0.5 + torch.arange(400.0, dtype=torch.float64)  # middles of the unit intervals on one side of a value
    low, median, high = exact.quantiles[:, 0].T[..., None, None]
    assert float(exact.likelihood(low - beyond).sum(-1).max()) < 1e-8
    assert float(exact.likelihood(high + beyond).sum(-1).max()) < 1e-8
    half = exact.likelihood(median + beyond).sum(-1)
    torch.testing.assert_close(half, torch.full_like(half, 0.5), rtol=0, atol=0.05)
    assert all(torch.equal(value, prior.get_parameter(name)) for name, value in fixed.items())
    assert all(p.grad is None for name, p in prior.named_parameters() if name in fixed)


@pytest.mark.parametrize("name", ["matrices.3", "_matrix3", "_matrices.3"])
def test_names_of_every_version_are_one_parameter(name):
    assert names_of(name) == ("matrices.3", "_matrix3")


@pytest.mark.parametrize("name", ["quantiles", "matrices", "matrices.x", "h.matrices.0", "bias", "biases.0.weight"])
def test_other_names_are_no_parameters(name):
    assert names_of(name) == ()


@pytest.mark.parametrize(
    "starts", [("_matrix", "_bias", "_factor"), ("_matrices.", "_biases.", "_factors."), LISTS], ids=lambda s: s[0]
)
def test_state_dicts_of_every_version_load_strictly(prior, starts):
    """Whatever the attribute is called that holds the prior."""
    source, target = nn.ModuleDict({"density": moved(prior)}), nn.ModuleDict({"density": EntropyBottleneck(3)})
    state = source.state_dict()
    for new, old in zip(LISTS, starts, strict=True):
        state = {name.replace(new, old): value for name, value in state.items()}
    state |= {f"density.{name}": torch.ones(2) for name in EntropyBottleneck.not_weights}
    target.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="Unexpected"):
        target.load_state_dict({**state, "density.other": torch.ones(1)})
    with pytest.raises(RuntimeError, match=r"Missing.*quantiles"):
        target.load_state_dict({name: value for name, value in state.items() if "quantiles" not in name})


def test_copies_are_equal_and_their_own(prior):
    for copied in (copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        values = torch.randn(3, 1, 7)
        assert torch.equal(copied.likelihood(values), prior.likelihood(values))
        assert torch.equal(copied.target, prior.target)
        with torch.no_grad():
            copied.biases[0].add_(1)
        assert not torch.equal(copied.likelihood(values), prior.likelihood(values))


def test_hidden_units_are_chosen():
    prior = EntropyBottleneck(2, filters=(5, 2))
    assert [tuple(p.shape) for p in prior.matrices] == [(2, 5, 1), (2, 2, 5), (2, 1, 2)]
    assert prior.likelihood(torch.zeros(2, 1, 4)).shape == (2, 1, 4)
