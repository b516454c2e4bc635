"""CompressAI's models: equal to CompressAI, and coded for real."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from taskodec.codecs.compressai import models as compressai_models
from taskodec.codecs.compressai.families import CompressAICodec
from taskodec.codecs.compressai.models import LMBDAS, Loader
from taskodec.codecs.zoo import COMPRESSAI
from taskodec.contracts import Latents
from taskodec.errors import UsageError, WeightsError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

LOADERS = {one.name: one for one in vars(compressai_models).values() if isinstance(one, Loader)}
AUTOREGRESSIVE = {"mbt2018", "cheng2020-anchor", "cheng2020-attn", "mbt2018-vbr"}
FACTORIZED = {"bmshj2018-factorized", "bmshj2018-factorized-relu"}
SIZE = (64, 96)


def tiny(name: str, seed: int = 0) -> tuple[Any, CompressAICodec]:
    """A CompressAI network of few channels, livelier than at its start, and the codec that took over its parts."""
    loader = LOADERS[name]
    options = {"vr_entbttlnck": True} if name in {"bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr"} else {}
    torch.manual_seed(seed)
    net = loader.architecture(*((12,) if name.startswith("cheng") else (8, 12)), **options).eval()
    with torch.no_grad():
        for part in (net.g_a[-1], getattr(net, "h_a", net.g_a)[-1]):
            convolutions = [m for m in part.modules() if isinstance(m, nn.Conv2d)]
            convolutions[-1].weight.mul_(12)
        if name not in FACTORIZED:  # the scales are the first half of what decides on y
            last = net.entropy_parameters if name in AUTOREGRESSIVE else net.h_s
            [m for m in last.modules() if isinstance(m, nn.Conv2d)][-1].bias[:12] += 2
    levels = range(1, 9) if loader.variable else (3.0,)
    codec = loader.family(name, net, levels, LMBDAS if loader.variable else (LMBDAS[2],))
    return net, codec.eval()


def picture(size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 8, 8, generator=generator)
    return nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


SCALED = sorted(LOADERS.keys() - FACTORIZED)


@pytest.mark.parametrize("name", SCALED)
@torch.no_grad()
def test_tables_are_chosen_in_float64(name: str) -> None:
    """What the scales come from runs, on both sides, in the precise copy alone."""
    _, codec = tiny(name)
    part = "entropy_parameters" if name in AUTOREGRESSIVE else "h_s"
    kinds = []
    latents = lively(codec.analysis(picture((64, 64)), 3.0))
    for owner in (codec, codec.precise()):
        owner.get_submodule(part).register_forward_hook(
            lambda *args: kinds.append((args[2].dtype, args[2].device.type))
        )
    data, y_hat = code(codec, latents, 3.0)
    codec.decode((64, 64), 3.0, SymbolDecoder(data))
    assert len(kinds) >= 2
    assert set(kinds) == {(torch.float64, "cpu")}
    assert y_hat.dtype == torch.float32


@pytest.mark.parametrize("change", ["train", "load"])
@torch.no_grad()
def test_new_weights_are_coded_with(change: str) -> None:
    _, codec = tiny("mbt2018-mean")
    _, other = tiny("mbt2018-mean", seed=1)
    latents = lively(codec.analysis(picture((64, 64)), 3.0))
    before = code(codec, latents, 3.0)[0]
    if change == "load":
        codec.load_state_dict(other.state_dict())
    else:
        codec.train()
        for own, new in zip(codec.parameters(), other.parameters(), strict=True):
            own.copy_(new)
        codec.eval()
    after = code(codec, latents, 3.0)[0]
    assert after == code(other, latents, 3.0)[0] != before


@torch.no_grad()
def test_the_precise_copy_is_no_part_of_the_weights() -> None:
    _, codec = tiny("mbt2018-mean")
    names, sizes = list(codec.state_dict()), sum(p.numel() for p in codec.parameters())
    code(codec, codec.analysis(picture((64, 64)), 3.0), 3.0)
    assert list(codec.state_dict()) == names
    assert sum(p.numel() for p in codec.parameters()) == sizes
    assert sum(p.numel() for p in codec.precise().parameters()) < sizes / 2  # without the transforms


def lively(latents: Latents) -> Latents:
    """The same latents spread over many symbols."""
    return Latents(latents.y * (6 / latents.y.std()), None if latents.z is None else latents.z * (3 / latents.z.std()))


def code(codec: CompressAICodec, latents: Latents, quality: float) -> tuple[bytes, Tensor]:
    coder = SymbolEncoder()
    y_hat = codec.encode(latents, quality, coder)
    return coder.getvalue(), y_hat


def padded(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


@pytest.mark.parametrize("name", LOADERS)
@torch.no_grad()
def test_decode_returns_what_encode_did(name: str) -> None:
    _, codec = tiny(name)
    size = padded(SIZE, codec.stride)
    for quality in (3.0, 6.5) if codec.continuous else (3.0,):
        latents = lively(codec.analysis(picture(size), quality))
        data, y_hat = code(codec, latents, quality)
        assert y_hat.unique().numel() > 6
        assert torch.equal(codec.decode(size, quality, SymbolDecoder(data)), y_hat)
        assert codec.synthesis(y_hat, quality).shape == (1, 3, *size)


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - AUTOREGRESSIVE))
@torch.no_grad()
def test_coded_is_what_was_estimated(name: str) -> None:
    _, codec = tiny(name)
    size = padded(SIZE, codec.stride)
    quality = codec.qualities[-1]
    latents = codec.analysis(picture(size), quality)
    data, y_hat = code(codec, latents, quality)
    assert len(data) > 20
    estimated = codec.entropy(latents, quality, "hard")
    torch.testing.assert_close(estimated.y_hat, y_hat, rtol=1e-5, atol=1e-5)  # float32 against float64
    assert 8 * len(data) == pytest.approx(float(estimated.bits), rel=0.03, abs=32)


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - {"mbt2018-vbr"}))
@torch.no_grad()
def test_rates_are_those_of_compressai(name: str) -> None:
    net, codec = tiny(name)
    x = picture((64, 128))
    expected = net(x, stage=2, s=2) if codec.continuous else net(x)
    found = codec(x, 3.0, "hard")
    assert found.likelihoods.keys() == expected["likelihoods"].keys()
    if codec.continuous:  # CompressAI's forward passes the step of z as another argument, and so takes it for 1
        del expected["likelihoods"]["z"]
    for part, likelihood in expected["likelihoods"].items():
        torch.testing.assert_close(found.likelihoods[part], likelihood, rtol=1e-3, atol=1e-6)
    if name not in AUTOREGRESSIVE:
        torch.testing.assert_close(found.x_hat, expected["x_hat"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", LOADERS)
@torch.no_grad()
def test_coded_pictures_are_those_of_compressai(name: str) -> None:
    net, codec = tiny(name)
    net.update(**({"scale": net.Gain[2]} if codec.continuous else {}))
    options = {"s": 2} if codec.continuous else {}
    x = picture((64, 128))
    expected = net.decompress(**net.compress(x, **options), **options)["x_hat"]
    _, y_hat = code(codec, codec.analysis(x, 3.0), 3.0)
    torch.testing.assert_close(codec.synthesis(y_hat, 3.0).clamp(0, 1), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", sorted(AUTOREGRESSIVE))
@torch.no_grad()
def test_the_parallel_estimate_is_near_the_coded_rate(name: str) -> None:
    _, codec = tiny(name)
    latents = codec.analysis(picture((64, 128)), 3.0)
    data, _ = code(codec, latents, 3.0)
    assert float(codec.entropy(latents, 3.0, "hard").bits) == pytest.approx(8 * len(data), rel=0.05, abs=32)


@pytest.mark.parametrize("name", LOADERS)
def test_gradients_reach_the_image(name: str) -> None:
    _, codec = tiny(name)
    for rounding in ("noise", "ste", "mixed"):
        x = picture((64, 64)).requires_grad_()
        out = codec(x, 3.0, rounding)
        loss = out.x_hat.square().mean() + sum(-p.log().mean() for p in out.likelihoods.values())
        (gradient,) = torch.autograd.grad(loss, x)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", LOADERS)
def test_adapter_layers_are_named_modules_of_the_transforms(name: str) -> None:
    _, codec = tiny(name)
    modules = dict(codec.named_modules())
    for side, root in (("encoder", "g_a."), ("decoder", "g_s.")):
        layers = codec.adapter_layers(side)
        assert len(layers) >= 4
        assert all(layer is modules[key] and key.startswith(root) for key, layer in layers.items())


@pytest.mark.parametrize("name", LOADERS)
def test_a_compressai_checkpoint_fits(name: str, tmp_path: Path) -> None:
    net, codec = tiny(name, seed=4)
    net.update()
    torch.save({"state_dict": {f"module.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "c.pth")
    loaded = LOADERS[name](3, checkpoint=tmp_path / "c.pth")
    assert all(torch.equal(a, b) for a, b in zip(codec.parameters(), loaded.parameters(), strict=True))
    assert loaded.name == name
    assert not loaded.training


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    torch.save(tiny("mbt2018-mean")[0].state_dict(), tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"c\.pth does not fit Autoregressive: missing context_prediction"):
        LOADERS["mbt2018"](3, checkpoint=tmp_path / "c.pth")


def test_random_weights_are_those_of_the_seed_and_warned_of() -> None:
    load = LOADERS["bmshj2018-factorized"]
    with pytest.warns(UserWarning, match=r"weights are random.*codec\.checkpoint=FILE"):
        one, same, other = load(1, seed=3), load(1, seed=3), load(1, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.g_a[0].weight, other.g_a[0].weight)
    assert one.lmbda(1) == LMBDAS[0]


def test_published_sizes_are_built() -> None:
    with pytest.warns(UserWarning, match="random"):
        assert LOADERS["mbt2018-mean"](5).g_a[6].out_channels == 320
    with pytest.warns(UserWarning, match="random"):
        assert LOADERS["bmshj2018-hyperprior"](5).g_a[6].out_channels == 192


@pytest.mark.parametrize(
    ("name", "quality"), [("mbt2018", 0), ("mbt2018", 2.5), ("cheng2020-anchor", 7), ("mbt2018-vbr", 8.5)]
)
def test_levels_that_do_not_exist_are_refused(name: str, quality: float) -> None:
    with pytest.raises(UsageError, match=f"codec '{name}'; valid: "):
        LOADERS[name](quality)


def test_a_failed_download_says_what_to_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("TASKODEC_OFFLINE", "1")
    for name, part in (("mbt2018-mean", "mbt2018-mean-3-723404a8"), ("mbt2018-mean-vbr", "mbt2018-mean-mse-vbr-")):
        with pytest.raises(WeightsError, match=rf"put the file {part}.* into .*codec\.checkpoint=FILE"):
            LOADERS[name](3, pretrained=True)


def test_a_download_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net, codec = tiny("mbt2018-mean", seed=5)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    digest = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()
    name = "mbt2018-mean-ms-ssim-q3"
    file = replace(COMPRESSAI[name], url=(tmp_path / "net.pth").as_uri(), sha256=digest[:8])
    monkeypatch.setitem(COMPRESSAI, name, file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    loaded = LOADERS["mbt2018-mean"](3, pretrained=True, metric="ms-ssim")
    assert torch.equal(loaded.g_a[0].weight, codec.g_a[0].weight)


@pytest.mark.parametrize(("name", "metric"), [("bmshj2018-factorized-relu", "mse"), ("mbt2018-vbr", "ms-ssim")])
def test_weights_that_were_never_published_are_not_looked_for(name: str, metric: str) -> None:
    with pytest.raises(WeightsError, match=f"no weights of '{name}' with metric '{metric}'"):
        LOADERS[name](3, pretrained=True, metric=metric)


@torch.no_grad()
def test_a_batch_of_mixed_qualities_is_each_of_them() -> None:
    for name in sorted(name for name in LOADERS if name.endswith("-vbr")):
        _, codec = tiny(name)
        x = torch.cat([picture((64, 64)), picture((64, 64)).flip(-1)])
        both = codec(x, torch.tensor([2.0, 7.5]), "hard")
        for i, quality in enumerate((2.0, 7.5)):
            one = codec(x[i : i + 1], quality, "hard")
            torch.testing.assert_close(both.x_hat[i : i + 1], one.x_hat, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(both.likelihoods["y"][i : i + 1], one.likelihoods["y"], rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_higher_quality_costs_more_bits_where_the_rate_is_variable() -> None:
    _, codec = tiny("mbt2018-mean-vbr")
    latents = codec.analysis(picture((64, 128)), 1)
    sizes = [len(code(codec, latents, quality)[0]) for quality in (1, 3.5, 4, 6, 8)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.5 * sizes[0]
    assert [codec.lmbda(q) for q in (1, 3, 8)] == pytest.approx([LMBDAS[0], LMBDAS[2], LMBDAS[7]])
    assert LMBDAS[2] < codec.lmbda(3.5) < LMBDAS[3]
