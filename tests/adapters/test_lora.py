from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from taskodec.adapters.lora import LowRankAdapter, SVDLoRA, attached, build_lora, build_svd_lora, merged
from taskodec.contracts import Codec, Entropy, Latents, Quality, Rounding, Side
from taskodec.errors import UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

Build = Callable[..., LowRankAdapter]


class Mixer(nn.Module):
    """A Linear over channels, called by keyword, as some blocks do."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj(input=x.movedim(1, -1)).movedim(-1, 1)


class TinyCodec(Codec):
    """All three kinds of layers on either side."""

    name = "tiny"
    stride = 4
    qualities = (1.0,)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.g_a = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.GELU(), Mixer(8), nn.Conv2d(8, 6, 3, 2, 1))
        self.g_s = nn.Sequential(
            nn.ConvTranspose2d(6, 8, 3, 2, 1, 1),
            nn.GELU(),
            Mixer(8),
            nn.ConvTranspose2d(8, 3, 5, 2, 2, 1),
            nn.Conv2d(3, 3, 3, 1, 1),
        )
        self.requires_grad_(False).eval()

    def lmbda(self, quality: float) -> float:
        return 0.01

    def analysis(self, x: Tensor, quality: Quality) -> Latents:
        return Latents(self.g_a(x))

    def entropy(self, latents: Latents, quality: Quality, rounding: Rounding) -> Entropy:
        return Entropy(latents.y, {"y": torch.full_like(latents.y, 0.5)})

    def synthesis(self, y_hat: Tensor, quality: Quality) -> Tensor:
        return self.g_s(y_hat)

    def encode(self, latents: Latents, quality: float, coder: SymbolEncoder) -> Tensor:
        raise NotImplementedError

    def decode(self, size: tuple[int, int], quality: float, coder: SymbolDecoder) -> Tensor:
        raise NotImplementedError

    def adapter_layers(self, side: Side) -> dict[str, nn.Module]:
        top = "g_a" if side == "encoder" else "g_s"
        kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
        return {n: m for n, m in self.named_modules() if n.startswith(top) and isinstance(m, kinds)}

    def adapter_defaults(self, side: Side) -> tuple[str, ...]:
        return tuple(n for n in self.adapter_layers(side) if n != "g_s.4")


@pytest.fixture
def codec() -> TinyCodec:
    return TinyCodec()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=[build_svd_lora, build_lora], ids=["svd-lora", "lora"])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


def fill(adapter: LowRankAdapter) -> LowRankAdapter:
    """Random factors, so that every branch does something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return adapter


def weights(codec: Codec) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in codec.state_dict().items()}


@torch.no_grad()
def run(codec: Codec, x: Tensor) -> Tensor:
    return codec(x, 1.0).x_hat


def test_equals_the_codec_with_merged_weights(codec: TinyCodec, x: Tensor, build: Build) -> None:
    adapter = fill(build(codec, rank=3))
    with attached(adapter, codec):
        beside = run(codec, x)
    assert (beside - run(codec, x)).abs().max() > 0.01
    torch.testing.assert_close(run(merged(codec, adapter), x), beside, rtol=1e-5, atol=1e-5)


def test_merging_includes_the_delta_and_leaves_codec_and_hooks_alone(codec: TinyCodec, x: Tensor) -> None:
    adapter, before = fill(build_svd_lora(codec)), weights(codec)
    adapter.set_delta(torch.linspace(-1, 1, sum(adapter.delta_groups)))
    with attached(adapter, codec):
        beside = run(codec, x)
        copied = merged(codec, adapter)
        assert torch.equal(run(codec, x), beside)
    assert not any(layer._forward_hooks for layer in copied.modules())
    torch.testing.assert_close(run(copied, x), beside, rtol=1e-5, atol=1e-5)
    assert weights(codec) == before


def test_attach_and_detach_leave_no_trace(codec: TinyCodec, x: Tensor, build: Build) -> None:
    adapter = fill(build(codec))
    before, plain, modules = weights(codec), run(codec, x), dict(codec.named_modules())
    for _ in range(2):
        adapter.attach(codec)
        assert not torch.equal(run(codec, x), plain)
        assert weights(codec) == before
        adapter.detach()
    adapter.detach()
    assert weights(codec) == before
    assert torch.equal(run(codec, x), plain)
    assert dict(codec.named_modules()) == modules
    assert not any(layer._forward_hooks for layer in codec.modules())


def test_training_never_writes_the_codec(codec: TinyCodec, x: Tensor) -> None:
    adapter, before = build_svd_lora(codec), weights(codec)
    codec.requires_grad_(True)
    with attached(adapter, codec):
        delta = torch.zeros(12, requires_grad=True)
        optimiser = torch.optim.Adam([*adapter.start("encoder"), delta], lr=0.1)
        for _ in range(3):
            adapter.set_delta(delta)
            optimiser.zero_grad()
            (codec(x, 1.0).x_hat - x).square().mean().backward()
            optimiser.step()
    assert delta.abs().min() > 0
    assert weights(codec) == before


@pytest.mark.parametrize("grad", [False, True])
def test_a_fresh_adapter_changes_no_bit(codec: TinyCodec, x: Tensor, build: Build, grad: bool) -> None:
    plain = run(codec, x)
    with attached(build(codec), codec), torch.set_grad_enabled(grad):
        assert torch.equal(codec(x, 1.0).x_hat, plain)


def test_silent_branches_are_skipped(codec: TinyCodec, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, calls = build_svd_lora(codec), []
    for name, branch in adapter.branches("decoder").items():
        branch.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    with attached(adapter, codec):
        run(codec, x)
        assert calls == []
        adapter.set_delta(torch.tensor([0.0] * 4 + [1.0] + [0.0] * 7))
        run(codec, x)
        assert calls == ["g_s.2.proj"]


def test_attached_detaches_after_an_error(codec: TinyCodec) -> None:
    adapter = build_svd_lora(codec)
    with pytest.raises(ZeroDivisionError), attached(adapter, codec):
        raise ZeroDivisionError
    adapter.attach(codec)


def test_only_one_adapter_at_a_time(codec: TinyCodec) -> None:
    adapter, other = build_svd_lora(codec), build_lora(codec)
    with attached(adapter, codec):
        with pytest.raises(UsageError, match="attached already"):
            adapter.attach(codec)
        with pytest.raises(UsageError, match="has an adapter already"):
            other.attach(codec)
        with pytest.raises(UsageError, match="another adapter"):
            merged(codec, other)
    other.attach(codec)


def test_attaching_to_the_wrong_codec_changes_nothing(codec: TinyCodec) -> None:
    adapter = build_svd_lora(codec)
    wrong = TinyCodec()
    wrong.g_s[3] = nn.ConvTranspose2d(8, 4, 5)
    with pytest.raises(UsageError, match=r"'g_s\.3'.*\(8, 3, 5, 5\)"):
        adapter.attach(wrong)
    del wrong.g_s[3:]
    with pytest.raises(UsageError, match=r"no layer 'g_s\.3'"):
        adapter.attach(wrong)
    assert not any(layer._forward_hooks for layer in wrong.modules())
    adapter.attach(codec)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_gradients_reach_exactly_the_started_side(codec: TinyCodec, x: Tensor, part: str) -> None:
    adapter = fill(build_svd_lora(codec))
    adapter.start(part)
    with attached(adapter, codec):
        codec(x, 1.0).x_hat.square().sum().backward()
    moved = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved == set(adapter.adapter_params(part))


def test_delta_adds_to_the_decoder_s(codec: TinyCodec, x: Tensor) -> None:
    adapter = fill(build_svd_lora(codec))
    assert adapter.delta_groups == (4, 4, 4)
    delta = torch.linspace(-1, 1, 12)
    with attached(adapter, codec):
        plain = run(codec, x)
        adapter.set_delta(delta)
        with_delta = run(codec, x)
        adapter.set_delta(None)
        assert torch.equal(run(codec, x), plain)
        with torch.no_grad():
            for part, branch in zip(delta.split(4), adapter.branches("decoder").values(), strict=True):
                branch.w_lora_S += part
        assert torch.equal(run(codec, x), with_delta)
    assert (with_delta - plain).abs().max() > 0.01


def test_delta_is_whatever_was_set_and_never_a_parameter(codec: TinyCodec, x: Tensor) -> None:
    adapter = build_svd_lora(codec)
    names = [name for name, _ in adapter.named_parameters()]
    delta = torch.nn.Parameter(torch.ones(12))
    with attached(adapter, codec), torch.no_grad():
        plain = run(codec, x)
        adapter.set_delta(delta)
        once = run(codec, x)
        assert not torch.equal(once, plain)
        delta += 1
        assert not torch.equal(run(codec, x), once)
    assert [name for name, _ in adapter.named_parameters()] == names
    with pytest.raises(UsageError, match=r"\(11,\).*\(12,\)"):
        adapter.set_delta(torch.zeros(11))


def test_gradient_goes_through_a_computed_delta(codec: TinyCodec, x: Tensor) -> None:
    adapter = build_svd_lora(codec).requires_grad_(False)
    delta = torch.zeros(12, requires_grad=True)
    gradients = []
    with attached(adapter, codec):
        for factor in (1, 3):
            adapter.set_delta(factor * delta)
            codec(x, 1.0).x_hat.square().sum().backward()
            gradients.append(delta.grad)
            delta.grad = None
    torch.testing.assert_close(gradients[1], 3 * gradients[0])


def test_decoder_change_is_told_without_the_delta(codec: TinyCodec, build: Build) -> None:
    adapter = build(codec)
    if isinstance(adapter, SVDLoRA):
        adapter.set_delta(torch.ones(12))
    assert not adapter.changes_decoder()
    with torch.no_grad():
        for branch in adapter.branches("encoder").values():
            branch.w_lora_U.fill_(1)
        assert not adapter.changes_decoder()
        changed = adapter.branches("decoder")["g_s.3"]
        (changed.w_lora_U if changed.w_lora_S is None else changed.w_lora_S).view(-1)[0] = 1
    assert adapter.changes_decoder()


def test_double_precision_codecs_and_copies_of_adapters_work(codec: TinyCodec, x: Tensor) -> None:
    adapter = copy.deepcopy(fill(build_svd_lora(codec)))
    double = copy.deepcopy(codec).double()
    with attached(adapter, codec):
        single = run(codec, x)
    with attached(adapter.double(), double):
        torch.testing.assert_close(run(double, x.double()).float(), single, rtol=1e-4, atol=1e-5)
