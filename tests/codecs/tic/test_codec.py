"""TIC: equal to the reference, codes what it decodes, at any multiple of its stride."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from taskodec.adapters.lora import attached, build_svd_lora
from taskodec.codecs.checkpoints import load_state
from taskodec.codecs.tic.codec import LMBDAS, TIC, create_tic, load_tic, load_tic_adapter, reference_name
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import Latents, total_bits
from taskodec.errors import UsageError, WeightsError
from taskodec.images.tensors import save_image
from taskodec.settings.model import StageSettings, TrainSettings
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder
from taskodec.training.codec import train

REFERENCE = Path(__file__).parents[2] / "reference"


@pytest.fixture(scope="module")
def fixture() -> dict[str, np.ndarray]:
    with np.load(REFERENCE / "tic_parity.npz") as content:
        return dict(content)


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    return runpy.run_path(str(REFERENCE / "parity_weights.py"))


@pytest.fixture(scope="module")
def checkpoint(
    fixture: dict[str, np.ndarray], weights: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file just as the reference saves it."""
    salt = str(fixture["salt"])
    state = {}
    for line in (REFERENCE / "tic_svdlora_keys.tsv").read_text().splitlines():
        name, text = line.split("\t")
        shape = ast.literal_eval(text)
        make = weights["parity_tensor"] if weights["is_filled"](name) else lambda name, shape, salt: torch.zeros(shape)
        state[f"module.{name}"] = make(name, shape, salt)
    for name, value in TIC().entropy_bottleneck.named_parameters():
        kind, _, index = name.partition(".")
        old = {"matrices": "_matrix", "factors": "_factor", "biases": "_bias"}.get(kind, kind) + index
        state[f"module.entropy_bottleneck.{old}"] = torch.zeros_like(value) if kind == "biases" else value.detach()
    path = tmp_path_factory.mktemp("tic") / "checkpoint.pth.tar"
    torch.save({"epoch": 3, "state_dict": state}, path)
    return path


@pytest.fixture
def untrained() -> Iterator[TIC]:
    with pytest.warns(UserWarning, match="weights are random"):
        yield load_tic(quality=3)


def assert_equal_to_reference(fixture: dict[str, np.ndarray], name: str, value: Tensor) -> None:
    expected = torch.from_numpy(fixture[name])
    step = {"x_hat": 97, "z": 1}.get(name.partition(".")[2], 23)
    error = (value.flatten()[::step] - expected).abs().max() / expected.abs().max()
    assert error < 1e-5, name
    whole = value.double()
    moments = [whole.mean().item(), whole.square().mean().sqrt().item()]
    assert moments == pytest.approx(list(fixture[f"{name}.moments"]), rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize("mode", ["base", "lora"])
@torch.no_grad()
def test_equal_to_the_reference(
    mode: str,
    fixture: dict[str, np.ndarray],
    weights: dict[str, Any],
    checkpoint: Path,
) -> None:
    codec = load_tic(3, checkpoint)
    if mode == "lora":
        load_tic_adapter(codec, checkpoint).attach(codec)

    x = weights["parity_image"](256, 256, str(fixture["salt"]))
    latents = codec.analysis(x, 3)
    coded = codec.entropy(latents, 3, "hard")
    assert latents.z is not None
    assert coded.z_hat is not None
    scales, means = codec.scales_and_means(coded.z_hat)
    found = {"y": latents.y, "z": latents.z, "scales": scales, "means": means, "y_hat": coded.y_hat}
    for name, value in (found | {"x_hat": codec.synthesis(coded.y_hat, 3)}).items():
        assert_equal_to_reference(fixture, f"{mode}.{name}", value)
    # In the reference's CompressAI a symbol right at the middle of a symmetric prior has no probability.
    likelihoods = {"y": coded.likelihoods["y"], "z": coded.likelihoods["z"].where(coded.z_hat != 0, 1e-9)}
    for name, likelihood in likelihoods.items():
        bits = -torch.log2(likelihood).sum().item()
        assert bits == pytest.approx(float(fixture[f"{mode}.bits_{name}"]), rel=1e-5), name


@torch.no_grad()
def test_decode_returns_what_encode_did(untrained: TIC) -> None:
    x = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    latents = untrained.analysis(x, 3)
    coder = SymbolEncoder()
    y_hat = untrained.encode(latents, 3, coder)
    decoded = untrained.decode((64, 128), 3, SymbolDecoder(coder.getvalue()))
    assert torch.equal(decoded, y_hat)
    estimated = untrained.entropy(latents, 3, "hard").y_hat
    torch.testing.assert_close(y_hat, estimated, rtol=1e-5, atol=1e-5)  # float64 against float32
    assert untrained.synthesis(y_hat, 3).shape == x.shape


@torch.no_grad()
def test_the_file_does_not_depend_on_the_memory_layout(untrained: TIC) -> None:
    torch.manual_seed(0)
    y, z = 9 * torch.randn(1, 192, 32, 48), 9 * torch.randn(1, 128, 8, 12)
    for size in (8, 1):  # one position alone has the strides of both layouts
        coders = []
        for layout in (torch.contiguous_format, torch.channels_last):
            part = Latents(
                y[..., : 4 * size, : 4 * size].clone(memory_format=layout),
                z[..., :size, :size].clone(memory_format=layout),
            )
            coders.append(SymbolEncoder())
            y_hat = untrained.encode(part, 3, coders[-1])
            assert y_hat.stride() == torch.empty(y_hat.shape).stride()
        assert coders[0].checksum == coders[1].checksum
        assert coders[0].getvalue() == coders[1].getvalue()


@torch.no_grad()
def test_a_hair_in_float32_moves_no_table(untrained: TIC) -> None:
    """The float32 network may round as it likes: what codes is float64."""
    latents = untrained.analysis(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), 3)
    coders = [SymbolEncoder(), SymbolEncoder()]
    untrained.encode(latents, 3, coders[0])
    untrained.h_s.register_forward_hook(lambda module, args, output: output * (1 + 1e-2))
    untrained.encode(latents, 3, coders[1])
    assert coders[0].getvalue() == coders[1].getvalue()


def test_gradients_reach_latents_and_image(untrained: TIC) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = untrained(x, 3, "noise")
    (out.x_hat.square().mean() - sum(p.log().sum() for p in out.likelihoods.values())).backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    y = torch.zeros(1, 192, 4, 4, requires_grad=True)
    untrained.entropy(Latents(y, torch.zeros(1, 128, 1, 1)), 3, "ste").y_hat.sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, torch.ones_like(y))


def test_default_adapter_layers_are_the_projections_of_28_blocks(untrained: TIC) -> None:
    for side, root in (("encoder", "g_a"), ("decoder", "g_s")):
        defaults = untrained.adapter_defaults(side)
        assert len(defaults) == 2 * 14
        assert all(name.startswith(f"{root}.") and name.endswith((".qkv", ".proj")) for name in defaults)
        layers = untrained.adapter_layers(side)
        assert set(defaults) < set(layers)
        assert layers == {name: dict(untrained.named_modules())[name] for name in layers}
        assert sum(isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d) for layer in layers.values()) == 4


def test_adapter_values_are_as_many_as_published(untrained: TIC) -> None:
    adapter = build_svd_lora(untrained, rank=4, alpha=8.0)
    with attached(adapter, untrained):
        assert sum(p.numel() for p in adapter.get_submodule("encoder").parameters()) == 46192
        assert sum(adapter.delta_groups) == 112


def test_random_weights_are_those_of_the_seed(untrained: TIC) -> None:
    with pytest.warns(UserWarning, match="codec.checkpoint=FILE"):
        same, other = load_tic(3, seed=0), load_tic(3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(untrained.parameters(), same.parameters(), strict=True))
    assert not torch.equal(same.g_a[0].weight, other.g_a[0].weight)
    assert not same.training


def test_saved_weights_come_back(untrained: TIC, tmp_path: Path) -> None:
    torch.save(untrained.state_dict(), tmp_path / "own.pth")
    codec = TIC(quality=3)
    load_state(codec, tmp_path / "own.pth", reference_name)
    assert all(torch.equal(a, b) for a, b in zip(untrained.parameters(), codec.parameters(), strict=True))


def test_other_sizes_of_model_are_refused(tmp_path: Path) -> None:
    torch.save(TIC(N=32, M=48).state_dict(), tmp_path / "small.pth")
    with pytest.raises(
        WeightsError, match=r"small\.pth does not fit TIC: .*found shape \(32, 3, 1\), expected \(128, 3, 1\)"
    ):
        load_tic(3, tmp_path / "small.pth")


def test_a_checkpoint_without_an_adapter_gives_none(untrained: TIC, tmp_path: Path) -> None:
    torch.save(untrained.state_dict(), tmp_path / "base.pth")
    with pytest.raises(WeightsError, match=r"base\.pth holds no SVD-LoRA"):
        load_tic_adapter(untrained, tmp_path / "base.pth")


def test_training_starts_from_a_block_transform(photo: Tensor) -> None:
    codec = TIC(quality=8)
    x = torch.nn.functional.pad(photo, (0, -photo.shape[3] % 64, 0, -photo.shape[2] % 64), mode="replicate")
    codec.calibrate(x)
    with torch.no_grad():
        output = codec(x, 8.0, "hard")
    assert float((output.x_hat - x).square().mean()) < 0.05 * float(x.var())
    assert float(total_bits(output.likelihoods)) < 4 * x[0, 0].numel()


def test_it_can_be_trained_for_a_level(photo: Tensor, tmp_path: Path) -> None:
    codec = create_tic(2)
    save_image(photo, tmp_path / "photo.png")
    stages = (StageSettings(until=1, crop=64, bf16=False),)
    settings = TrainSettings(stages=stages, batch=1, steps=1, validate_every=10, checkpoint_minutes=60)
    weights = train(codec, [tmp_path / "photo.png"], tmp_path / "run", settings)
    trained = load_tic(2, weights)
    assert trained.qualities == (2.0,)
    assert codec_fingerprint(trained) == codec_fingerprint(codec)


def test_levels_have_the_published_trade_offs() -> None:
    assert [TIC(32, 48, quality=q).lmbda(q) for q in range(1, 9)] == list(LMBDAS)
    for quality in (0, 9, 2.5):
        with pytest.raises(UsageError, match="valid: whole numbers 1 to 8"):
            load_tic(quality)
