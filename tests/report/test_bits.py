import numpy as np
import pytest
import torch

from taskodec.contracts import Entropy, Latents
from taskodec.report.bits import bit_map, parts


def test_the_map_adds_up_to_the_file(result):
    best = result.tuned.best
    pixels = result.x.shape[2] * result.x.shape[3]
    found = bit_map(result.codec, best.latents, result.settings.quality, pixels)
    whole = float(found.values.mean()) * pixels
    assert whole == pytest.approx(sum(found.totals.values()), rel=1e-4)
    assert whole / 8 == pytest.approx(best.coded.latent_bytes, rel=0.05, abs=6)


def test_parts_add_up_to_the_bytes(result):
    best = result.tuned.best
    pixels = result.x.shape[2] * result.x.shape[3]
    found = parts(best.coded, bit_map(result.codec, best.latents, result.settings.quality, pixels))
    assert sum(found.values()) == pytest.approx(len(best.coded.stream))
    assert {"header", "latents y"} <= found.keys()
    assert "latents" in parts(best.coded, None)


class Likely:
    """A codec whose likelihoods are these."""

    def __init__(self, **likelihoods):
        self.found = likelihoods

    def entropy(self, latents, quality, rounding):
        return Entropy(latents.y, self.found)


@pytest.fixture
def alone(monkeypatch):
    import contextlib

    monkeypatch.setattr("taskodec.report.bits.shared", lambda codec: contextlib.nullcontext())


def test_bits_stay_where_they_are(alone):
    p = torch.ones(1, 2, 4, 6)
    p[0, 0, 1, 2] = 0.25
    z = torch.full((1, 1, 2, 3), 0.5)
    found = bit_map(Likely(y=p, z=z), Latents(torch.zeros(1, 2, 4, 6)), 1.0, 24)
    assert found.values.shape == (4, 6)
    assert np.unravel_index(found.values.argmax(), (4, 6)) == (1, 2)
    assert found.values.sum() == pytest.approx(2 + 6)


def test_likelihoods_that_are_no_map(alone):
    assert bit_map(Likely(y=torch.ones(1, 7)), Latents(torch.zeros(1, 1, 2, 2)), 1.0, 4) is None


def test_what_cannot_be_is_finite(alone):
    found = bit_map(Likely(y=torch.zeros(1, 1, 2, 2)), Latents(torch.zeros(1, 1, 2, 2)), 1.0, 4)
    assert np.isfinite(found.values).all()
