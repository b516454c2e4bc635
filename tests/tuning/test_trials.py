import pytest
import torch

from taskodec.contracts import Latents
from taskodec.tuning import trials
from taskodec.tuning.trials import Thinned, mixed


@pytest.fixture
def latents(tiny_codec, photo):
    with torch.no_grad():
        return tiny_codec.analysis(photo, 4.0)


def bits(codec, latents):
    return float(codec.entropy(latents, 4.0, "hard").bits.detach())


def test_thinning_takes_bits_away_and_moves_nothing_by_more_than_a_step(tiny_codec, latents):
    thinned = Thinned(tiny_codec, latents, 4.0)
    found = [bits(tiny_codec, thinned.at(share)) for share in (0.0, 0.1, 0.5, 2.0)]
    assert found[0] == bits(tiny_codec, latents)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.98 * found[0]
    assert float((thinned.at(100.0).y - latents.y).abs().max()) <= 1
    assert torch.equal(thinned.at(0.0).y, latents.y)


def test_large_latents_are_thinned_in_bands(tiny_codec, latents, monkeypatch):
    whole = Thinned(tiny_codec, latents, 4.0).change
    monkeypatch.setattr(trials, "MOST_VALUES", latents.y.numel() // 3)
    assert len(trials._bands(latents)) == 3
    assert torch.allclose(Thinned(tiny_codec, latents, 4.0).change, whole, atol=1e-4)


def test_codecs_that_say_likelihoods_by_other_names_are_thinned_too(tiny_codec, latents, monkeypatch):
    entropy = tiny_codec.entropy

    def renamed(*args):
        found = entropy(*args)
        return type(found)(found.y_hat, {f"my {name}": value for name, value in found.likelihoods.items()}, found.z_hat)

    monkeypatch.setattr(tiny_codec, "entropy", renamed)
    thinned = Thinned(tiny_codec, latents, 4.0)
    assert bits(tiny_codec, thinned.at(0.05)) < bits(tiny_codec, latents)


def test_latents_are_mixed_evenly_with_or_without_z(latents):
    other = Latents(latents.y + 2, latents.z)
    assert torch.allclose(mixed(latents, other, 0.25).y, latents.y + 0.5)
    assert mixed(Latents(latents.y), other, 0.5).z is None
