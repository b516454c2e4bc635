import importlib.util
import math
from pathlib import Path

import pytest
import torch
from PIL import ImageChops
from torch import nn

from taskodec.adapters.lora import build_svd_lora
from taskodec.adapters.shipped import shipped_adapter
from taskodec.api.compressor import Compressor
from taskodec.api.decompressor import Decompressor
from taskodec.codecs.lite.loading import load_lite
from taskodec.codecs.tic.codec import TIC
from taskodec.coding.streams import StreamWriter, read_latents
from taskodec.coding.tiles import Tiles
from taskodec.contracts import Tiling
from taskodec.errors import PluginError
from taskodec.images.tensors import load_image, pad_to, to_pil
from taskodec.settings.model import load_settings
from taskodec.stream.bitstream import Stream
from taskodec.stream.grids import grid

IMAGES = Path(__file__).parents[2] / "docs" / "images"
KODIM23 = load_image(IMAGES / "kodim23.png").x


@pytest.fixture(scope="module")
def lite():
    return load_lite(3.0).requires_grad_(False)


@pytest.fixture
def tiled_codec(tiny_codec):
    """The tiny codec with margins that cover its kernels: 2 + 4 * 2 pixels, and one latent of 16."""
    tiny_codec.tiling = Tiling(16, 16, 16)
    return tiny_codec.requires_grad_(False)


@pytest.mark.parametrize("size", [(64, 64), (512, 768), (4032, 6016), (64, 100_032), (99_968, 128), (4992, 6720)])
@pytest.mark.parametrize(("align", "margin"), [(128, 256), (128, 0), (64, 200), (256, 256)])
def test_tiles_cover_a_picture_once_within_the_limit(size, align, margin):
    limit = 2**20
    rows, columns = grid(size, align, margin, limit)
    for spans, side in ((rows, size[0]), (columns, size[1])):
        assert [span.stop for span in spans] == [span.start for span in spans[1:]] + [side]
        assert spans[0].start == 0
        for span in spans:
            assert span.first % align == span.start % align == 0
            assert span.first == 0 or span.first <= span.start - margin
            assert span.last == side or span.last >= span.stop + margin
    pixels = [(r.last - r.first) * (c.last - c.first) for r in rows for c in columns]
    assert max(pixels) <= limit
    assert sum(pixels) < 5 * size[0] * size[1]


def test_a_long_picture_is_not_cut_across():
    rows, columns = grid((64, 100_032), 128, 256, 2**20)
    assert (len(rows), len(columns)) == (1, 7)


def test_a_limit_below_the_smallest_tile_means_that_one():
    rows, columns = grid((512, 512), 128, 128, 1)
    assert (len(rows), len(columns)) == (4, 4)


def test_small_pictures_and_codecs_that_say_nothing_are_not_tiled(lite, tiny_codec, photo):
    assert load_settings().limits.tile == 2**22
    assert Tiles(2**22).count(lite, (2048, 2048), synthesis=True) == 0
    assert Tiles(2**22).count(lite, (2048, 2112), synthesis=True) > 1
    assert Tiles(None).count(lite, (6400, 6400), synthesis=True) == 0
    assert tiny_codec.tiling is None
    assert torch.equal(Tiles(1).analysis(tiny_codec, photo, 2.0).y, tiny_codec.analysis(photo, 2.0).y)


@pytest.mark.parametrize("tiling", [Tiling(24, 16, 16), Tiling(0, 16, 16), Tiling(16, -1, -1)])
def test_a_tiling_that_makes_no_sense_names_the_codec(tiny_codec, photo, tiling):
    tiny_codec.tiling = tiling
    with pytest.raises(PluginError, match="'tiny' has a tiling with align"):
        Tiles(1000).analysis(tiny_codec, photo, 2.0)


def check(codec, x, limit, quality=3.0, **tolerance):
    """Both transforms in more than one tile equal the whole ones; returns how many tiles there were."""
    ticks = []
    tiles = Tiles(limit, lambda: ticks.append(1))
    size = tuple(x.shape[2:])
    counts = [tiles.count(codec, size, synthesis=synthesis) for synthesis in (False, True)]
    assert min(counts) > 1
    with torch.no_grad():
        whole = codec.analysis(x, quality)
        found = tiles.analysis(codec, x, quality)
        torch.testing.assert_close(found.y, whole.y, **tolerance)
        if whole.z is not None:
            torch.testing.assert_close(found.z, whole.z, **tolerance)
        y_hat = whole.y.round()
        torch.testing.assert_close(
            tiles.synthesis(codec, y_hat, quality, size), codec.synthesis(y_hat, quality), **tolerance
        )
    assert len(ticks) == sum(counts)
    return counts


@pytest.mark.parametrize("size", [(448, 704), (64, 1216), (1000, 70)])
def test_lite_in_tiles_is_the_whole_but_for_rounding(lite, size):
    x = KODIM23.repeat(1, 1, 2, 2)[..., : size[0], : size[1]]
    check(lite, pad_to(x, 64), 64 * 640, quality=5.5, rtol=1e-5, atol=3e-5)


def test_lite_in_tiles_is_nearly_the_whole_with_a_modulation(lite):
    """Which looks further than the margins."""
    x = KODIM23.repeat(1, 1, 2, 2)[..., :448, :704]
    with shipped_adapter("taskodec.plugins", "weights/lite-cls.safetensors")(lite).applied(lite):
        whole, tiled = (tiles.analysis(lite, x, 3.0).y for tiles in (Tiles(None), Tiles(64 * 640)))
    plain = lite.analysis(x, 3.0).y
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-3)
    assert (whole.round() != plain.round()).float().mean() > 0.001


def test_margins_of_lite_are_needed(lite, monkeypatch):
    x = KODIM23[..., :256, :]
    for margins in ((128, 128), (256, 0)):
        monkeypatch.setattr(lite, "tiling", Tiling(128, *margins))
        with pytest.raises(AssertionError, match="not close"):
            check(lite, x, 256 * 384, quality=5.5, rtol=1e-5, atol=3e-5)


@pytest.mark.compressai
@pytest.mark.parametrize("name", ["Hyperprior", "Autoregressive"])
def test_convolutional_codecs_in_tiles_are_the_whole_but_for_rounding(name):
    from compressai.models import Cheng2020Attention, MeanScaleHyperprior

    from taskodec.codecs.compressai import families as compressai_families

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner = MeanScaleHyperprior(16, 24) if name == "Hyperprior" else Cheng2020Attention(16)
        codec = getattr(compressai_families, name)("conv", inner, [3.0], [0.0067]).eval().requires_grad_(False)
    for parameter in codec.parameters():
        if parameter.dim() == 4:  # random weights damp what comes from afar
            parameter.mul_(1.5)
    x = KODIM23.repeat(1, 1, 1, 2)[..., :64, :1216]
    check(codec, x, 64 * 700, rtol=1e-4, atol=1e-4)
    codec.tiling = Tiling(64, 0, 0)
    with pytest.raises(AssertionError, match="not close"):
        check(codec, x, 64 * 700, rtol=1e-4, atol=1e-4)


def test_tic_in_tiles_is_nearly_the_whole():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec = TIC(N=16, M=32).eval().requires_grad_(False)
    x = KODIM23.repeat(1, 1, 1, 2)[..., :64, :1216]
    check(codec, x, 64 * 768, rtol=0, atol=5e-3)
    codec.tiling = Tiling(256, 0, 0)
    with pytest.raises(AssertionError, match="not close"):
        check(codec, x, 64 * 768, rtol=0, atol=0.1)


def test_an_adapter_acts_in_tiles_as_on_the_whole(tiled_codec, photo):
    adapter = build_svd_lora(tiled_codec)
    plain = tiled_codec.analysis(photo, 3.0).y
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    adapter.requires_grad_(False).attach(tiled_codec)
    adapter.set_delta(torch.linspace(-1, 1, sum(adapter.delta_groups)))
    check(tiled_codec, photo, 48 * 48, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(Tiles(48 * 48).analysis(tiled_codec, photo, 3.0).y, plain)


def test_the_stream_is_an_ordinary_one(lite):
    """Written from tiles, read without them, and the other way round."""
    x = KODIM23[..., :448, :704]
    settings = load_settings(flags={"ttft.steps": 0, "limits.tile": 200_000})
    result = Compressor(settings).compress(x)
    y_hat, _ = read_latents(Stream.from_bytes(result.stream), lite, None)
    assert torch.equal(y_hat, result.tuned.best.coded.y_hat)
    whole = StreamWriter(lite, None, 3.0, (448, 704)).write(lite.analysis(x, 3.0), None)
    assert abs(len(result.stream) - len(whole.stream)) < 8
    seen = []
    decoded = Decompressor(settings).decompress(result.stream, lambda *given: seen.append(given))
    assert seen == [(i + 1, len(seen), {}) for i in range(len(seen))]
    assert len(seen) > 1
    plain = Decompressor().decompress(result.stream)
    assert max(high for _, high in ImageChops.difference(decoded, plain).getextrema()) <= 1


def test_progress_without_steps_counts_the_tiles_of_both_ways(tiled_codec, photo, monkeypatch):
    monkeypatch.setattr("taskodec.api.compressor.load_codec", lambda *given: tiled_codec)
    settings = load_settings(flags={"ttft.steps": 0, "limits.tile": 48 * 48, "task.name": "human"})
    seen = []
    Compressor(settings).compress(to_pil(photo), lambda *given: seen.append(given))
    tiles = Tiles(48 * 48)
    total = sum(tiles.count(tiled_codec, (64, 96), synthesis=synthesis) for synthesis in (False, True))
    assert seen == [(i + 1, total, {}) for i in range(total)]
    assert total > 2


def test_seams_cannot_be_seen(lite, monkeypatch):
    path = Path(__file__).parents[2] / "scripts" / "seams.py"
    spec = importlib.util.spec_from_file_location("seams", path)
    seams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seams)
    x = KODIM23[..., :384, :640]
    figures = seams.report(lite, x, 3.0, 120_000)
    assert figures["tiles"] > 1
    assert min(figures["seam"], figures["elsewhere"]) > 120
    assert figures["levels"] <= 1
    assert figures["seam_original"] == pytest.approx(figures["whole_seam_original"], abs=1e-3)
    monkeypatch.setattr(lite, "tiling", Tiling(128, 0, 0))
    without = seams.report(lite, x, 3.0, 120_000)
    assert without["seam"] < 70
    assert without["elsewhere"] > without["seam"] + 10
    assert math.isfinite(without["seam_original"])


def test_in_tiles_pictures_and_gradients_are_those_of_the_whole(tiled_codec):
    x = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    y = tiled_codec.analysis(x, 2.0).y.detach()
    found = []
    for limit in (None, 48 * 48):
        y_hat = y.clone().requires_grad_()
        x_hat = Tiles(limit).differentiable(tiled_codec, y_hat, 2.0, (96, 128), tiled_codec.synthesis)
        (x_hat - x).square().sum().backward()
        found.append((x_hat.detach(), y_hat.grad))
    assert Tiles(48 * 48).count(tiled_codec, (96, 128), synthesis=True) > 4
    for whole, tiled in zip(*found, strict=True):
        assert torch.allclose(whole, tiled, atol=1e-4)
    assert float(found[0][1].abs().sum()) > 0
