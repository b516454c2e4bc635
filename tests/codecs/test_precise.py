"""Decoders whose scales differ from the encoder's: the guard makes them choose the encoder's tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from taskodec.codecs.precise import EXACT, PORTABLE, PreciseCodec
from taskodec.codecs.tic.codec import TIC, load_tic
from taskodec.coding import priors
from taskodec.contracts import Latents
from taskodec.errors import DamagedStreamError, UsageError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder

THEIRS = ["bmshj2018-hyperprior", "mbt2018-mean", "bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr"]
CONTEXT = ["mbt2018", "cheng2020-anchor", "mbt2018-vbr"]
WITH_HYPERPRIOR = ["tic", *(pytest.param(name, marks=pytest.mark.compressai) for name in THEIRS)]
WITH_CONTEXT = [pytest.param(name, marks=pytest.mark.compressai) for name in CONTEXT]
N, M = 16, 32
LARGE, SMALL = (512, 768), (64, 128)


def small(name: str) -> PreciseCodec:
    """A codec of few channels with random weights whose scales are spread over the tables."""
    torch.manual_seed(0)
    codec: PreciseCodec
    if name == "tic":
        codec = TIC(N, M)
    else:
        from taskodec.codecs.compressai import models as compressai_models

        loader, sizes = getattr(compressai_models, name.replace("-", "_")), (M,) if name.startswith("cheng") else (N, M)
        levels = range(1, 9) if loader.variable else (3.0,)
        codec = loader.family(name, loader.architecture(*sizes), levels, compressai_models.LMBDAS)
    last = codec.get_submodule("entropy_parameters" if name in CONTEXT else "h_s")
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    with torch.no_grad():
        layers = [layer for layer in codec.get_submodule("h_s").modules() if isinstance(layer, kinds)]
        for layer in layers[:-1]:
            layer.weight.mul_(3)
        layer = [layer for layer in last.modules() if isinstance(layer, kinds)][-1]
        layer.weight.mul_(2)
        assert layer.bias is not None
        layer.bias[:M] += torch.linspace(-1, 2.5, M).exp()  # the scales are the first half
    return codec.eval()


def latents_of(codec: PreciseCodec, size: tuple[int, int]) -> Latents:
    torch.manual_seed(1)
    height, width = size[0] // 16, size[1] // 16
    channels = codec.get_submodule("entropy_bottleneck").get_parameter("quantiles").shape[0]
    return Latents(4 * torch.randn(1, M, height, width), 4 * torch.randn(1, channels, height // 4, width // 4))


def encoded(codec: PreciseCodec, size: tuple[int, int]) -> tuple[SymbolEncoder, Tensor]:
    coder = SymbolEncoder()
    return coder, codec.encode(latents_of(codec, size), 3.0, coder)


def perturb(codec: PreciseCodec, most: float) -> None:
    """Make the precise copy's scales wrong by that share of each, up or down."""
    generator = torch.Generator().manual_seed(2)

    def wrong(module: object, args: object, output: Tensor) -> Tensor:
        sign = torch.randint(0, 2, output[:, :M].shape, generator=generator) * 2 - 1
        return torch.cat([output[:, :M] * (1 + most * sign), output[:, M:]], 1)

    name = "entropy_parameters" if hasattr(codec, "entropy_parameters") else "h_s"
    codec.precise().get_submodule(name).register_forward_hook(wrong)


def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were no guard: nothing is allowed for."""
    monkeypatch.setattr(PreciseCodec, "tolerance", lambda self, scales, *args: torch.zeros_like(scales))


@pytest.fixture
def outcome() -> Callable[[PreciseCodec, tuple[int, int], float], bool]:
    """Whether a stream decodes bit-exactly where all scales are off by a share of themselves."""

    def decodes(codec: PreciseCodec, size: tuple[int, int], most: float) -> bool:
        coder, y_hat = encoded(codec, size)
        perturb(codec, most)
        reader = SymbolDecoder(coder.getvalue())
        try:
            decoded = codec.decode(size, 3.0, reader)
        except DamagedStreamError:
            return False
        return reader.checksum == coder.checksum and bool(torch.equal(decoded, y_hat))

    return decodes


@pytest.mark.parametrize("name", WITH_HYPERPRIOR[:3])
@torch.no_grad()
def test_scales_that_are_off_decode_bit_exactly(name: str, outcome: Callable[..., bool]) -> None:
    assert outcome(small(name).use_guard("portable"), LARGE, 0.9 * PORTABLE)


@pytest.mark.parametrize("name", WITH_HYPERPRIOR[:3])
@torch.no_grad()
def test_without_the_guard_they_would_not(
    name: str, outcome: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    unguarded(monkeypatch)
    assert not outcome(small(name).use_guard("portable"), LARGE, 0.9 * PORTABLE)


@pytest.mark.parametrize("name", [*WITH_HYPERPRIOR, *WITH_CONTEXT])
@torch.no_grad()
def test_exact_streams_allow_for_other_last_digits_of_float64(name: str) -> None:
    codec = small(name)
    coder, y_hat = encoded(codec, SMALL)
    perturb(codec, 0.9 * EXACT)
    reader = SymbolDecoder(coder.getvalue())
    torch.testing.assert_close(codec.decode(SMALL, 3.0, reader), y_hat, rtol=1e-6, atol=1e-6)
    assert reader.checksum == coder.checksum


@pytest.mark.parametrize("name", WITH_CONTEXT[:1])
@torch.no_grad()
def test_the_guard_reaches_the_positions_of_context_models(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A perturbation that moves tables, and a tolerance to match it."""
    monkeypatch.setattr("taskodec.codecs.compressai.families.EXACT", 1e-3)
    for guarded in (True, False):
        if not guarded:
            monkeypatch.setattr("taskodec.codecs.compressai.families.EXACT", 0.0)
        codec = small(name)
        coder, _ = encoded(codec, SMALL)
        perturb(codec, 0.9e-3)
        reader = SymbolDecoder(coder.getvalue())
        codec.decode(SMALL, 3.0, reader)
        assert (reader.checksum == coder.checksum) == guarded


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("name", WITH_HYPERPRIOR[:3])
@torch.no_grad()
def test_portable_streams_decode_in_float32(name: str) -> None:
    codec = small(name).use_guard("portable")
    coder, y_hat = encoded(codec, LARGE)
    for onednn in (True, False):
        for layout in (torch.contiguous_format, torch.channels_last):
            with torch.backends.mkldnn.flags(enabled=onednn):
                reader = SymbolDecoder(coder.getvalue())
                decoded = codec.to(memory_format=layout).read(LARGE, 3.0, reader)
            assert decoded.dtype == torch.float32
            assert reader.checksum == coder.checksum
            torch.testing.assert_close(decoded, y_hat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", WITH_HYPERPRIOR)
@torch.no_grad()
def test_a_guard_costs_little(name: str) -> None:
    sizes = {}
    for guard in ("exact", "portable"):
        coder, _ = encoded(small(name).use_guard(guard), LARGE)
        sizes[guard] = coder.bits
    assert sizes["exact"] < sizes["portable"] < sizes["exact"] + 8 * 40


@torch.no_grad()
def test_a_guard_that_is_chosen_late_is_used() -> None:
    codec = small("tic")
    before = encoded(codec, LARGE)[0].bits
    assert encoded(codec.use_guard("portable"), LARGE)[0].bits > before
    assert encoded(codec.use_guard("exact"), LARGE)[0].bits == before


def test_guards_that_a_codec_has_not_are_refused() -> None:
    with pytest.raises(UsageError, match="codec 'tic' has no guard 'some'; valid: exact, portable"):
        load_tic(guard="some")


@pytest.mark.compressai
def test_context_models_have_no_portable_guard() -> None:
    from taskodec.codecs.compressai.models import cheng2020_anchor, mbt2018, mbt2018_mean

    for load in (mbt2018, cheng2020_anchor):
        with pytest.warns(UserWarning, match="random"), pytest.raises(UsageError, match=r"'portable'; valid: exact$"):
            load(3, guard="portable")
    with pytest.warns(UserWarning, match="random"):
        assert mbt2018_mean(3, guard="portable").guard == "portable"


@torch.no_grad()
def test_guarded_without_doubt_is_coded_as_without_a_guard() -> None:
    torch.manual_seed(0)
    y, scales = torch.randn(1, 4, 8, 8), 0.1 + torch.rand(1, 4, 8, 8)
    plain, guarded = SymbolEncoder(), SymbolEncoder()
    expected = priors.encode_gaussian(y, scales, torch.zeros_like(y), plain)
    found = priors.encode_guarded(y, scales, torch.zeros_like(y), torch.zeros_like(y), guarded)
    assert torch.equal(found, expected)
    assert guarded.bits < plain.bits + 0.1
