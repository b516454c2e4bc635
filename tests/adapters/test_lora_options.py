"""Adapters before they are attached: layers, options, parameters, fingerprint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from taskodec.adapters.lora import LoRA, LowRankAdapter, SVDLoRA, attached, build_lora, build_svd_lora, select_layers
from taskodec.contracts import Codec
from taskodec.errors import UsageError

Build = Callable[..., LowRankAdapter]


@pytest.fixture(params=[build_svd_lora, build_lora], ids=["svd-lora", "lora"])
def build(request: pytest.FixtureRequest) -> Build:
    return request.param


def fill(adapter: LowRankAdapter) -> LowRankAdapter:
    """Other factors than a fresh adapter has."""
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.fill_(0.1)
    return adapter


def test_layers_by_name_by_pattern_or_by_default(tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny_codec), "adapter_defaults", lambda self, side: ("g_s.2",))
    assert list(select_layers(tiny_codec, "decoder", None)) == ["g_s.2"]
    assert list(select_layers(tiny_codec, "decoder", ["g_s.2", "g_s.0"])) == ["g_s.0", "g_s.2"]
    assert list(select_layers(tiny_codec, "encoder", "g*0")) == ["g_a.0"]
    assert select_layers(tiny_codec, "encoder", []) == {}
    with pytest.raises(UsageError, match=r"no encoder layer of codec 'tiny' matches 'g_s\*'; valid: g_a\.0, g_a\.2"):
        select_layers(tiny_codec, "encoder", ["*", "g_s*"])


def test_one_side_only(tiny_codec: Codec, photo: Tensor) -> None:
    adapter = fill(build_svd_lora(tiny_codec, decoder_layers=[]))
    assert adapter.delta_groups == ()
    latents = tiny_codec.analysis(photo, 1.0).y
    decoded = tiny_codec.synthesis(latents, 1.0)
    with attached(adapter, tiny_codec):
        assert torch.equal(tiny_codec.synthesis(latents, 1.0), decoded)
        assert not torch.equal(tiny_codec.analysis(photo, 1.0).y, latents)
    with pytest.raises(UsageError, match="at least one layer"):
        build_svd_lora(tiny_codec, encoder_layers=[], decoder_layers=[])


@pytest.mark.parametrize(
    "options",
    [
        *({"rank": rank} for rank in (0, -1, 65537, 10**400, 2.5, float("inf"), "4", None, True)),
        *({"alpha": alpha} for alpha in (0.0, -1.0, float("inf"), float("nan"), 10**400, "8", None)),
        *({"seed": seed} for seed in (0.0, "0")),
    ],
)
def test_impossible_options(tiny_codec: Codec, options: dict[str, object]) -> None:
    """They may come from a damaged stream."""
    with pytest.raises(UsageError, match="rank must be a whole number"):
        build_svd_lora(tiny_codec, **options)


def test_the_largest_rank_is_clipped_to_the_weights() -> None:
    adapter = SVDLoRA({}, {"a": nn.ConvTranspose2d(6, 8, 3), "b": nn.Linear(5, 9)}, rank=65536)
    assert adapter.delta_groups == (6, 5)


def test_scaling_keeps_the_rank_asked_for() -> None:
    adapter = LoRA({}, {"a": nn.Linear(9, 3), "b": nn.Linear(9, 9)}, rank=6, alpha=3.0)
    assert adapter.scaling == 0.5
    assert [branch.rank for branch in adapter.branches("decoder").values()] == [3, 6]


def test_a_layer_belongs_to_one_side() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="one side only"):
        SVDLoRA({"a": layer}, {"a": layer})


def test_parameters_are_declared_by_part(tiny_codec: Codec) -> None:
    adapter = build_svd_lora(tiny_codec)
    parts = [adapter.adapter_params(part) for part in ("encoder", "decoder")]
    assert sorted(name for part in parts for name in part) == sorted(name for name, _ in adapter.named_parameters())
    assert parts[0][:2] == ["encoder.g_a/0.w_lora_U", "encoder.g_a/0.w_lora_V"]
    assert len(parts[0]) == len(parts[1]) == 6
    started = adapter.start("decoder")
    assert {n for n, p in adapter.named_parameters() if p.requires_grad} == set(parts[1])
    assert len(started) == 6


def test_plain_lora_sends_nothing(tiny_codec: Codec) -> None:
    adapter = build_lora(tiny_codec)
    assert adapter.delta_groups == ()
    assert all(not branch.w_lora_U.any() for branch in adapter.branches("decoder").values())
    adapter.set_delta(None)
    with pytest.raises(UsageError):
        adapter.set_delta(torch.zeros(3))


def test_state_is_a_copy(tiny_codec: Codec) -> None:
    adapter = build_svd_lora(tiny_codec)
    kept = adapter.state()
    fill(adapter)
    adapter.load_state_dict(kept)
    assert all(torch.equal(value, kept[name]) for name, value in build_svd_lora(tiny_codec).state().items())


def test_fingerprint_is_of_what_the_decoder_must_own(tiny_codec: Codec, build: Build) -> None:
    adapter = build(tiny_codec)
    mark = adapter.fingerprint()
    assert len(mark) == 4
    assert build(type(tiny_codec)()).fingerprint() == mark
    assert build(tiny_codec, encoder_layers=["g_a.0"]).fingerprint() == mark
    options = ({"rank": 3}, {"alpha": 4.0}, {"seed": 1}, {"decoder_layers": ["g_s.0"]})
    others = [build(tiny_codec, **chosen) for chosen in options]
    others += [fill(build(tiny_codec)), (build_lora if isinstance(adapter, SVDLoRA) else build_svd_lora)(tiny_codec)]
    assert len({mark, *(other.fingerprint() for other in others)}) == 7
    with torch.no_grad():
        adapter.get_parameter("encoder.g_a/0.w_lora_U").add_(1)
        if isinstance(adapter, SVDLoRA):
            adapter.set_delta(torch.ones(sum(adapter.delta_groups)))
    assert adapter.fingerprint() == mark


def test_fingerprint_never_changes() -> None:
    """Streams carry it: an untrained adapter is rebuilt by the decoder from seed, rank, alpha and layer names."""
    decoder = {"g_s.0.qkv": nn.Linear(8, 24), "g_s.1": nn.ConvTranspose2d(8, 4, 3), "g_s.2": nn.Conv2d(4, 3, 3)}
    assert SVDLoRA({}, decoder).fingerprint().hex() == "7f8902da"
