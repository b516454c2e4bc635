import pytest
import torch
from torch import nn

from taskodec.codecs.products import Blocks, Linear, Pointwise, convolves_directly


@pytest.mark.parametrize("shape", [(2, 8, 5), (3, 7, 5), (1, 5), (16, 5), (0, 5)])
def test_a_linear_layer_is_the_plain_one(shape):
    torch.manual_seed(0)
    layer, plain, x = Linear(5, 6), nn.Linear(5, 6), torch.randn(shape, requires_grad=True)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), plain(x))
    parameters = (*layer.parameters(), x)
    mine = torch.autograd.grad(layer(x).square().sum(), parameters)
    others = torch.autograd.grad(plain(x).square().sum(), (*plain.parameters(), x))
    for a, b in zip(mine, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 8), (3, 5)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_convolutions_are_the_plain_ones(size, memory_format):
    torch.manual_seed(0)
    x = torch.randn(2, 5, *size).to(memory_format=memory_format)
    pairs = ((Pointwise(5, 6), nn.Conv2d(5, 6, 1)), (Blocks(5, 3, 4), nn.ConvTranspose2d(5, 3, 4, stride=4)))
    for layer, plain in pairs:
        plain.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(x), plain(x))
        torch.testing.assert_close(layer.double()(x.double()), plain.double()(x.double()))


def test_only_float32_as_it_stands_is_convolved_directly(monkeypatch):
    x = torch.zeros(16, 5)
    assert not convolves_directly(x.double())
    assert not convolves_directly(x.bfloat16())
    with torch.autocast("cpu"):
        assert not convolves_directly(x)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not convolves_directly(x)


def test_mixed_precision_stays_mixed():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(5, 6)(torch.zeros(16, 5)).dtype == torch.bfloat16
        assert Pointwise(5, 6)(torch.zeros(1, 5, 4, 4)).dtype == torch.bfloat16
