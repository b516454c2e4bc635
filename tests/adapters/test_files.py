from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from taskodec.adapters.files import load_adapter, load_adapter_state, load_reference_tensors, read_card, save_adapter
from taskodec.adapters.lora import LowRankAdapter, build_lora, build_svd_lora
from taskodec.contracts import Codec
from taskodec.errors import WeightsError

ANY = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)


@pytest.fixture
def saved(tiny_codec: Codec, tmp_path: Path) -> tuple[LowRankAdapter, Path]:
    """An adapter with random factors, and its file."""
    adapter = randomised(build_svd_lora(tiny_codec, rank=2, alpha=3.0))
    save_adapter(tmp_path / "a.safetensors", adapter, {"codec": "tiny", "task": "edges"})
    return adapter, tmp_path / "a.safetensors"


def randomised(adapter: LowRankAdapter) -> LowRankAdapter:
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    return adapter


def factors(adapter: LowRankAdapter) -> dict[str, Tensor]:
    return adapter.state()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("build", [build_svd_lora, build_lora])
def test_round_trip(tiny_codec: Codec, build: Callable[..., LowRankAdapter], tmp_path: Path) -> None:
    path = tmp_path / "adapter.safetensors"
    adapter = randomised(build(tiny_codec, rank=2, alpha=3.0))
    save_adapter(path, adapter, {"codec": "tiny", "task": "edges"})
    other = build(tiny_codec, rank=2, alpha=3.0, seed=9)
    assert load_adapter_state(path, other) == read_card(path) == {"codec": "tiny", "task": "edges"}
    rebuilt = load_adapter(path, tiny_codec)
    assert same(factors(adapter), factors(other))
    assert same(factors(adapter), factors(rebuilt))
    assert type(rebuilt) is type(adapter)
    assert rebuilt.fingerprint() == adapter.fingerprint()


def test_tensors_have_the_layers_own_names(saved: tuple[LowRankAdapter, Path]) -> None:
    names = sorted(safetensors.torch.load_file(saved[1]))
    assert names == [
        f"{layer}.w_lora_{part}"
        for layer in ("decoder.g_s.0", "decoder.g_s.2", "encoder.g_a.0", "encoder.g_a.2")
        for part in "SUV"
    ]


def test_layers_keep_their_order_and_choice(tiny_codec: Codec, tmp_path: Path) -> None:
    save_adapter(tmp_path / "a", build_svd_lora(tiny_codec, encoder_layers=[]), {})
    assert load_adapter(tmp_path / "a", tiny_codec).names == {"encoder": (), "decoder": ("g_s.0", "g_s.2")}


@pytest.mark.parametrize(
    ("options", "said"),
    [({"rank": 3}, "rank=2"), ({"alpha": 8.0}, "alpha=3"), ({"encoder_layers": []}, r"not needed .*encoder\.g_a\.0")],
)
def test_other_settings_do_not_fit(
    tiny_codec: Codec, saved: tuple[LowRankAdapter, Path], options: dict[str, object], said: str
) -> None:
    other = build_svd_lora(tiny_codec, **{"rank": 2, "alpha": 3.0, **options})
    with pytest.raises(WeightsError, match=said):
        load_adapter_state(saved[1], other)
    with pytest.raises(WeightsError, match="kind=svd-lora"):
        load_adapter_state(saved[1], build_lora(tiny_codec, rank=2, alpha=3.0))


def test_another_codec_does_not_fit(tiny_codec: Codec, saved: tuple[LowRankAdapter, Path]) -> None:
    tiny_codec.name = "else"
    with pytest.raises(WeightsError, match="'tiny', but this codec is 'else'"):
        load_adapter(saved[1], tiny_codec)
    tiny_codec.name = "tiny"
    tiny_codec.adapter_layers = lambda side: {"g_s.1": tiny_codec.g_s[0]}
    with pytest.raises(WeightsError, match=r"no encoder layers \['g_a\.0', 'g_a\.2'\]; valid: g_s\.1"):
        load_adapter(saved[1], tiny_codec)


def test_other_shapes_do_not_fit(tiny_codec: Codec, saved: tuple[LowRankAdapter, Path]) -> None:
    tiny_codec.g_s[0] = nn.ConvTranspose2d(8, 4, 5)
    adapter = build_svd_lora(tiny_codec, rank=2, alpha=3.0)
    before = adapter.state()
    with pytest.raises(
        WeightsError, match=r"decoder\.g_s\.0\.w_lora_U: found shape \(2, 8, 5, 5\), expected \(2, 4, 5, 5\)"
    ):
        load_adapter_state(saved[1], adapter)
    assert same(adapter.state(), before)


def test_values_must_be_finite(tiny_codec: Codec, saved: tuple[LowRankAdapter, Path]) -> None:
    with torch.no_grad():
        saved[0].get_parameter("encoder.g_a/0.w_lora_S")[1] = float("nan")
    save_adapter(saved[1], saved[0], {})
    with pytest.raises(WeightsError, match=r"g_a\.0\.w_lora_S: holds values that are not finite"):
        load_adapter(saved[1], tiny_codec)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_files(tiny_codec: Codec, saved: tuple[LowRankAdapter, Path], keep: int) -> None:
    saved[1].write_bytes(saved[1].read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"a\.safetensors"):
        load_adapter(saved[1], tiny_codec)


def test_missing_and_foreign_files(tiny_codec: Codec, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        load_adapter(tmp_path / "nowhere", tiny_codec)
    path = tmp_path / "foreign"
    meta = {"format": "taskodec-adapter-1", "card": "{}"}
    about = '{"kind": "ia3", "rank": 1, "alpha": 1, "encoder": [], "decoder": []}'
    for metadata, said in (
        (None, "not an adapter file"),
        (meta, "damaged"),
        ({**meta, "adapter": "{"}, "damaged"),
        ({**meta, "adapter": "[1]"}, "damaged"),
        ({**meta, "adapter": '{"kind": "lora"}'}, "damaged"),
        ({**meta, "adapter": about}, "unknown kind 'ia3'; valid: svd-lora, lora"),
    ):
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata)
        with pytest.raises(WeightsError, match=said):
            load_adapter(path, tiny_codec)


def test_reference_tensors(tiny_codec: Codec) -> None:
    layers = {"encoder_layers": ["g_a.0"], "decoder_layers": ["g_s.0"]}
    adapter = build_svd_lora(tiny_codec, rank=2, **layers)
    given = {
        "g_a.0": {"U": torch.randn(8, 2), "S": torch.randn(2), "V": torch.randn(2, 3, 5, 5)},
        "g_s.0": {"U": torch.randn(2, 8, 5, 5), "S": torch.randn(2), "V": torch.randn(8, 2)},
    }
    load_reference_tensors(adapter, given)
    assert torch.equal(adapter.branches("decoder")["g_s.0"].w_lora_S, given["g_s.0"]["S"])
    assert torch.equal(adapter.branches("encoder")["g_a.0"].w_lora_V, given["g_a.0"]["V"])
    kept = adapter.state()
    del given["g_s.0"]["S"]
    with pytest.raises(WeightsError, match=r"missing \['g_s\.0\.w_lora_S'\], not needed none"):
        load_reference_tensors(adapter, given)
    assert same(adapter.state(), kept)


ABOUT = {"kind": "svd-lora", "rank": 2, "alpha": 3.0, "encoder": ["g_a.0"], "decoder": ["g_s.0"]}


def file_of(
    path: Path, about: Any = None, card: Any = None, tensors: dict[str, Tensor] | None = None, **metadata: str
) -> Path:
    """An adapter file with this metadata; text stands as it is."""
    texts = {
        "adapter": about if isinstance(about, str) else json.dumps(ABOUT if about is None else about),
        "card": card if isinstance(card, str) else json.dumps({} if card is None else card),
    }
    content = tensors or {"x": torch.zeros(1)}
    path.write_bytes(safetensors.torch.save(content, {"format": "taskodec-adapter-1", **texts, **metadata}))
    return path


@pytest.mark.parametrize(
    ("about", "card", "words"),
    [
        ("[" * 100_000, None, "'adapter' is no JSON: it is nested too deeply"),
        (None, '{"a":' * 100_000, "'card' is no JSON: it is nested too deeply"),
        ("[]", None, r"'adapter' is \[\], expected an object"),
        ("NaN", None, "NaN is no number"),
        (None, "5", "'card' is 5, expected an object"),
        (None, [["codec", "tiny"]], "'card' is .*, expected an object"),
        (None, {"codec": ["tiny"]}, r"'card' has \['tiny'\] as 'codec', expected text"),
        (None, {"codec_fingerprint": 5}, "expected text"),
        ({**ABOUT, "rank": 2**31}, None, "rank is 2147483648, expected a whole number from 1 to 65536"),
        ({**ABOUT, "rank": "2"}, None, "rank is '2'"),
        ({**ABOUT, "rank": True}, None, "rank is True"),
        ({**ABOUT, "alpha": -1}, None, "alpha is -1"),
        ({**ABOUT, "alpha": "3"}, None, "alpha is '3'"),
        ({**ABOUT, "kind": ["svd-lora"]}, None, r"unknown kind \['svd-lora'\]; valid: svd-lora, lora"),
        ({**ABOUT, "encoder": "g_a.0"}, None, "encoder is 'g_a.0', expected a list of layers"),
        ({**ABOUT, "decoder": [5]}, None, r"decoder is \[5\]"),
        ({**ABOUT, "decoder": ["g_s.0", "g_s.0"]}, None, "decoder names a layer twice"),
        ({**ABOUT, "seed": 5}, None, "'adapter' has .*'seed'.*, expected kind, rank"),
        ({}, None, "'adapter' has \\[\\], expected kind"),
        ("x" * (2**20 + 1), None, "valid: up to 1048576"),
    ],
)
def test_metadata_that_cannot_be(tiny_codec: Codec, tmp_path: Path, about: Any, card: Any, words: str) -> None:
    path = file_of(tmp_path / "a.safetensors", about, card)
    for read in (read_card, lambda path: load_adapter(path, tiny_codec)):
        with pytest.raises(WeightsError, match=rf"a\.safetensors: its metadata is damaged: .*{words}"):
            read(path)


@given(st.sampled_from([*ABOUT, "card"]), st.recursive(ANY, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_any_metadata_is_taken_or_a_weights_error(tmp_path_factory: Any, name: str, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    about, card = ({**ABOUT, name: value}, {}) if name != "card" else (ABOUT, value)
    file_of(path, about, card)
    try:
        found = read_card(path)
    except WeightsError:
        return
    assert all(isinstance(item, str) for pair in found.items() for item in pair)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64, torch.int32, torch.bool, torch.uint8])
def test_factors_of_other_types(
    tiny_codec: Codec, saved: tuple[LowRankAdapter, Path], tmp_path: Path, dtype: torch.dtype
) -> None:
    tensors = {name: value.to(dtype) for name, value in safetensors.torch.load_file(saved[1]).items()}
    path = file_of(tmp_path / "b.safetensors", tensors=tensors)
    with pytest.raises(WeightsError, match="factors are of F32, F16, BF16, F64"):
        load_adapter(path, tiny_codec)


def test_a_layer_on_both_sides(tiny_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny_codec), "adapter_layers", lambda codec, side: {"g_a.0": codec.g_a[0]})
    path = file_of(tmp_path / "a.safetensors", {**ABOUT, "decoder": ["g_a.0"]})
    with pytest.raises(WeightsError, match="given for the encoder and the decoder"):
        load_adapter(path, tiny_codec)


def test_names_of_layers_that_would_fill_a_screen(tiny_codec: Codec, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.safetensors", {**ABOUT, "encoder": [f"\x1b[31m{i}" for i in range(10_000)]})
    with pytest.raises(WeightsError, match="has no encoder layers") as caught:
        load_adapter(path, tiny_codec)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)
