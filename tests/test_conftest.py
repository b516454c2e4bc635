"""The shared fixtures keep the codec contract, so that tests built on them mean something."""

import pytest
import torch

from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder


def test_tiny_codec_decodes_exactly_what_it_encodes(tiny_codec, photo):
    with torch.no_grad():
        latents = tiny_codec.analysis(photo, 2.5)
        encoder = SymbolEncoder()
        y_hat = tiny_codec.encode(latents, 2.5, encoder)
        decoded = tiny_codec.decode(tuple(photo.shape[2:]), 2.5, SymbolDecoder(encoder.getvalue()))
        estimate = tiny_codec.entropy(latents, 2.5, "hard")
    assert torch.equal(y_hat, decoded)
    assert torch.equal(y_hat, estimate.y_hat)
    assert y_hat.abs().max() >= 1
    assert 8 * len(encoder.getvalue()) == pytest.approx(float(estimate.bits), rel=0.1)


def test_tiny_codec_mixes_qualities_in_a_batch(tiny_codec, photo):
    both = tiny_codec(photo.repeat(2, 1, 1, 1), torch.tensor([1.0, 4.0]), "ste")
    for index, quality in enumerate((1.0, 4.0)):
        alone = tiny_codec(photo, quality, "ste")
        assert torch.allclose(both.x_hat[index], alone.x_hat[0], atol=1e-5)
    both.x_hat.sum().backward()
    assert all(p.grad is not None for p in tiny_codec.g_a.parameters())
