import pytest
import torch
from torch import nn

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.contracts import Latents
from taskodec.contracts.function_task import FunctionTask
from taskodec.settings.model import PhaseSettings, TTFTSettings
from taskodec.tuning.networks import TuningNetworks, checkpointed
from taskodec.tuning.objective import Objective, estimate
from taskodec.tuning.phases import Point
from taskodec.tuning.subject import Subject
from taskodec.tuning.ttft import Tuner

mse = FunctionTask("mse", lambda x_hat, x: (x_hat - x).square().mean(), lmbda=2000.0)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + self.second(torch.nn.functional.gelu(self.first(x)))


def slope(codec, photo, **switches):
    """Cost, and gradients of latents and singular values, with these switches."""
    adapter = build_svd_lora(codec).requires_grad_(False)
    with torch.no_grad():
        made = codec.analysis(photo, 2.0)
    latents = Latents(made.y.clone().requires_grad_(), made.z.clone().requires_grad_())
    delta = torch.full((sum(adapter.delta_groups),), 0.1, requires_grad=True)
    networks = TuningNetworks(codec, mse, **switches)
    objective = Objective(Subject(codec, adapter, mse, 2.0, tuple(photo.shape[2:]), photo, 2000.0), networks=networks)
    with attached(adapter, codec):
        (found,) = estimate([objective], [Point(latents, delta)], "ste")
        found.cost.backward()
    return {name: float(value.detach()) for name, value in vars(found).items()}, latents.y.grad, delta.grad


def test_bf16_is_near_and_only_where_it_may_be(tiny_codec, photo):
    plain, fast = (slope(tiny_codec.requires_grad_(False), photo, bf16=bf16) for bf16 in (False, True))
    assert fast[0]["bpp"] == plain[0]["bpp"]
    assert fast[0]["loss"] != plain[0]["loss"]
    assert fast[0]["loss"] == pytest.approx(plain[0]["loss"], rel=0.02)
    for exact, near in zip(plain[1:], fast[1:], strict=True):
        assert near.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(exact.flatten(), near.flatten(), dim=0) > 0.99


def test_checkpoints_change_nothing_but_memory(tiny_codec, photo):
    tiny_codec.g_s.insert(0, nn.Sequential(nn.Conv2d(8, 3, 1), Block(), nn.Conv2d(3, 8, 1)))
    layers = {"g_s.1": tiny_codec.g_s[1], "g_s.3": tiny_codec.g_s[3]}
    tiny_codec.adapter_layers = lambda side: layers if side == "decoder" else {}
    tiny_codec.requires_grad_(False)
    block = tiny_codec.g_s[0][1]
    plain = slope(tiny_codec, photo)
    assert block.calls == 1
    saving = slope(tiny_codec, photo, checkpoint=True)
    assert block.calls == 3
    assert "forward" not in vars(block)
    assert saving[0]["cost"] == pytest.approx(plain[0]["cost"])
    for one, other in zip(plain[1:], saving[1:], strict=True):
        torch.testing.assert_close(one, other)


def test_blocks_are_checkpointed_once():
    inner, outer = Block(), nn.Sequential(nn.Sequential(Block(), nn.ReLU()))
    network = nn.Sequential(outer, inner)
    with checkpointed(network), checkpointed(network):
        assert "forward" in vars(inner)
        x = torch.rand(1, 3, 8, 8, requires_grad=True)
        network(x).sum().backward()
    assert (inner.calls, outer[0][0].calls) == (2, 2)
    assert "forward" not in vars(inner)


def test_large_passes_save_memory_by_themselves(tiny_codec):
    for checkpoint, expected in (("auto", (False, True)), (False, (False, False)), (True, (True, True))):
        switches = TTFTSettings(checkpoint=checkpoint, bf16=False)
        networks = TuningNetworks.by(switches, tiny_codec, mse)
        assert not networks.bf16
        assert tuple(networks.sized(pixels, switches).checkpoint for pixels in (2**16, 2**21)) == expected


def test_networks_are_compiled_once_for_all_images(tiny_codec, photo, monkeypatch):
    made = []
    monkeypatch.setattr(torch, "compile", lambda function: made.append(function) or function)
    tuner = Tuner(tiny_codec, None, mse, 2.0, switches=TTFTSettings(compile=True))
    for _ in range(2):
        assert tuner.tune(photo, [PhaseSettings(train=("latents",), steps=2)]).steps == 2
    assert len(made) == 1
