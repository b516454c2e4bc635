import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from taskodec.codecs.lite.codec import LEVELS, Lite
from taskodec.codecs.lite.loading import load_lite
from taskodec.coding.streams import codec_fingerprint
from taskodec.coding.weights import save_weights
from taskodec.contracts import total_bits
from taskodec.errors import UsageError, WeightsError
from taskodec.stream.entropy import SymbolDecoder, SymbolEncoder


@pytest.fixture(scope="module")
def lite():
    return load_lite().requires_grad_(False)


def small(**sizes):
    """One of few channels, with random weights."""
    return Lite(**{"M": 16, "N": 24, "D": 20, "stem": 8, "Z": 8, "F": 12, "C": 8, **sizes}).requires_grad_(False)


def saved(path, codec, **card):
    save_weights(codec, codec.state_dict(), path, card)
    return path


def multiplications_per_pixel(function, height=256, width=256):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2 / (height * width)


def test_it_is_small():
    lite = Lite().eval().requires_grad_(False)
    x = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    latents = lite.analysis(x, 3.0)
    assert sum(p.numel() for p in lite.parameters()) <= 4_000_000  # 8 MB in 16 bits
    assert multiplications_per_pixel(lambda: lite.analysis(x, 3.0)) <= 12_000
    prediction = lite.prediction(latents.z, 3.0)
    parts = (
        lambda: lite.g_s(latents.y),
        lambda: lite.prediction(latents.z, 3.0),
        lambda: prediction.second(latents.y),
    )
    # the context's filters are counted whole; 13 of 25 taps are zero and left out in coding
    assert sum(multiplications_per_pixel(part) for part in parts) <= 17_000


@pytest.mark.parametrize("quality", [1.0, 2.5, 7.0])
def test_decode_gives_what_encode_promised(lite, photo, quality):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    writer = SymbolEncoder()
    latents = lite.analysis(x, quality)
    y_hat = lite.encode(latents, quality, writer)
    reader = SymbolDecoder(writer.getvalue())
    assert torch.equal(lite.decode((64, 128), quality, reader), y_hat)
    assert reader.checksum == writer.checksum
    estimate = lite.entropy(latents, quality, "hard")
    assert math.isclose(float(estimate.bits), writer.bits, rel_tol=0.05)


def test_quality_buys_fidelity_with_rate(lite, photo):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    points = []
    for quality in (1.0, 2.0, 3.5, 5.0, 7.0):
        output = lite(x, quality, "hard")
        points.append((float(total_bits(output.likelihoods)), -float((output.x_hat - x).square().mean())))
    assert points == sorted(points)
    psnr = -10 * math.log10(-points[-1][1])
    assert psnr > 30  # the shipped weights, not random ones


def test_qualities_mix_in_a_batch(lite, photo):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    both = lite(x.repeat(2, 1, 1, 1), torch.tensor([1.5, 6.0]), "hard").x_hat
    for row, quality in zip(both, (1.5, 6.0), strict=True):
        torch.testing.assert_close(row[None], lite(x, torch.tensor([quality]), "hard").x_hat, atol=1e-4, rtol=0)


@pytest.mark.parametrize("levels", [7, 9])
def test_lmbda_is_the_table_and_geometric_between(levels):
    codec = small(levels=levels)
    assert len(codec.qualities) == levels
    assert {q: codec.lmbda(q) for q in codec.qualities} == pytest.approx(dict(list(LEVELS.items())[-levels:]))
    assert codec.lmbda(2.5) == pytest.approx((LEVELS[2] * LEVELS[3]) ** 0.5)
    assert small().lmbda(0.25) == pytest.approx((LEVELS[0] * LEVELS[0.5]) ** 0.5)


def test_levels_are_interpolated_between_their_qualities():
    codec = small()
    for row, quality in enumerate(codec.qualities):
        codec.gain[row] = 10 * quality + (quality > 3)
    asked = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 3.5, 6.75, 7.0])
    expected = [0, 2.5, 5, 7.5, 10, 15, 35.5, 68.5, 71]
    assert codec.at(codec.gain, asked)[:, 0, 0, 0].tolist() == pytest.approx(expected)
    for quality, value in zip(asked.tolist(), expected, strict=True):
        assert float(codec.at(codec.gain, quality)[0, 0]) == pytest.approx(value)


@pytest.mark.parametrize("quality", [-1, -0.0625, 7.5, 99])
def test_unknown_quality(lite, quality):
    with pytest.raises(UsageError, match=f"any value from {lite.qualities[0]:g} to 7"):
        load_lite(quality)


def test_untrained_lite_is_a_dct(photo):
    torch.manual_seed(0)
    codec = Lite().eval()
    x = photo[..., :64, :64]
    codec.calibrate(x)
    with torch.no_grad():
        output = codec(x, 7.0, "hard")
    assert -10 * math.log10(float((output.x_hat - x).square().mean())) > 25


def test_calibration_makes_the_rate_plausible(photo):
    torch.manual_seed(0)
    x = photo[..., :64, :64]
    codec = Lite().eval()
    with torch.no_grad():
        before = float(total_bits(codec(x, 3.0, "hard").likelihoods))
        codec.calibrate(x)
        after = float(total_bits(codec(x, 3.0, "hard").likelihoods))
    assert after < 0.5 * before


def test_the_context_saves_bits(lite, photo):
    x = torch.nn.functional.pad(photo, (0, 32, 0, 0), mode="replicate")
    latents = lite.analysis(x, 3.0)
    with_context = float(lite.entropy(latents, torch.tensor([3.0]), "hard").bits)
    blind = load_lite().requires_grad_(False)
    for parameter in blind.context.last.parameters():
        parameter.zero_()
    assert with_context < 0.98 * float(blind.entropy(latents, torch.tensor([3.0]), "hard").bits)


def test_adapters_reach_attention_and_convolutions(lite):
    for side, root in (("encoder", "g_a"), ("decoder", "g_s")):
        names = list(lite.adapter_layers(side))
        assert all(name.startswith(f"{root}.") for name in names)
        assert sum(name.endswith("attn.qkv") for name in names) == 4
    assert "g_a.dct" in lite.adapter_layers("encoder")


@pytest.mark.filterwarnings("ignore:.*training of these weights has not ended")
def test_weights_of_a_newer_format_are_refused(tmp_path):
    codec = Lite(M=48, F=20, C=12)
    with safe_open(saved(tmp_path / "now.safetensors", codec), "pt") as file:
        assert file.metadata() == {"codec": "lite", "format": "2"}
    for version in ("1", "2", "pt"):
        load_lite(checkpoint=saved(tmp_path / "known.safetensors", codec, format=version))
    for version in ("0", "3", "9" * 5000):
        with pytest.raises(WeightsError, match=r"newer\.safetensors has weights of format .* reads up to 2"):
            load_lite(checkpoint=saved(tmp_path / "newer.safetensors", codec, format=version))


def test_missing_checkpoint(tmp_path):
    with pytest.raises(WeightsError, match="there is no checkpoint"):
        load_lite(3.0, tmp_path / "none.safetensors")


@pytest.mark.filterwarnings("ignore:.*training of these weights has not ended")
@pytest.mark.parametrize("sizes", [{}, {"M": 192, "F": 192, "C": 128, "levels": 7}, {"M": 48, "F": 20, "C": 12}])
def test_weights_say_their_sizes_and_levels(tmp_path, sizes):
    codec = Lite(**sizes)
    found = load_lite(1.0, saved(tmp_path / "weights.safetensors", codec))
    assert found.qualities == codec.qualities
    assert codec_fingerprint(found) == codec_fingerprint(codec)


@pytest.mark.filterwarnings("ignore:.*training of these weights has not ended")
def test_weights_of_seven_levels_have_no_quality_below_1(tmp_path):
    path = saved(tmp_path / "weights.safetensors", Lite(M=48, F=20, C=12, levels=7))
    with pytest.raises(UsageError, match=r"quality 0\.5 does not exist .* any value from 1 to 7"):
        load_lite(0.5, path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain", torch.zeros(7)),
        ("gain", torch.zeros(1, 320)),
        ("gain", torch.zeros(10, 320)),
        ("gain", torch.zeros(9, 100_000)),
        ("context.features.weight", torch.zeros(1, 1_000_000)),
        ("context.features.weight", torch.zeros(1, 1_000_000, 1, 1)),
        ("context.features.weight", torch.zeros(1_000_000, 1, 1, 1)),
        ("h_s.last.weight", torch.zeros(2)),
    ],
)
def test_sizes_that_do_not_go_together_are_refused_before_they_take_memory(tmp_path, name, value):
    state = {key: tensor.contiguous() for key, tensor in Lite().state_dict().items()}
    save_file({**state, name: value}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="does not fit Lite"):
        load_lite(3.0, tmp_path / "odd.safetensors")


def test_the_shipped_weights_code_in_integers(lite):
    ranges = dict(lite.named_buffers())["ranges"]  # zeros would mean floats, and other bytes on other machines
    assert float((ranges > 0).float().mean()) > 0.5  # some channels are dead
    assert "ranges" not in dict(lite.named_parameters())


def test_unfinished_weights_are_told(lite, tmp_path):
    older = {name: p.detach().clone() for name, p in lite.named_parameters()}
    save_file(older, tmp_path / "older.safetensors")
    with pytest.warns(UserWarning, match=r"older\.safetensors: .*taskodec train --resume"):
        codec = load_lite(checkpoint=tmp_path / "older.safetensors")
    assert not codec.ranges.any()


def test_other_ranges_are_other_weights():
    codec = load_lite()
    before = codec_fingerprint(codec)
    codec.ranges[0] *= 2
    assert codec_fingerprint(codec) != before


def test_finishing_measures_anew(photo):
    codec = load_lite().requires_grad_(False)
    x = photo[..., :64, :64]
    codec.finish(x)
    first = codec.ranges.clone()
    codec.finish(torch.zeros_like(x))
    assert not torch.equal(codec.ranges, first)
    assert codec.ranges.any()
