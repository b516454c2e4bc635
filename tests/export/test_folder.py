import json

import numpy as np
import onnx
import pytest
import torch

from taskodec.adapters.lora import attached, build_lora, build_svd_lora
from taskodec.codecs.lite.codec import Lite
from taskodec.coding.streams import codec_fingerprint
from taskodec.contracts import Adapter
from taskodec.errors import UsageError
from taskodec.export.folder import Form, TunedSynthesis, export_codec
from taskodec.export.graphs import OnnxFunction

PARTS = ("hyper", "context", "synthesis", "analysis", "hyper_analysis")


@pytest.fixture(scope="module")
def models(exported):
    return {name: onnx.load(exported / f"{name}.onnx") for name in PARTS}


def shapes(values):
    return {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim] for value in values
    }


def test_graphs_pass_the_checker_and_shape_inference(models):
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def test_inputs_and_outputs_have_names_and_free_sizes(models, small_adapter):
    count = sum(small_adapter.delta_groups)
    assert shapes(models["synthesis"].graph.input) == {
        "y_hat": [1, 16, "height", "width"],
        "gain": [16],
        "singular_values": [count],
    }
    assert shapes(models["synthesis"].graph.output) == {"x_hat": [1, 3, "16*height", "16*width"]}
    assert list(shapes(models["hyper"].graph.input)) == ["z_symbols", "bias"]
    assert list(shapes(models["hyper"].graph.output)) == ["parameters", "features"]
    assert list(shapes(models["context"].graph.input)) == ["y", "features"]
    assert shapes(models["analysis"].graph.input) == {"x": [1, 3, "height", "width"], "gain": [16]}
    assert list(shapes(models["analysis"].graph.output)) == ["y"]
    assert shapes(models["hyper_analysis"].graph.input) == {"y": [1, 16, "height", "width"], "embedding": [8]}
    assert list(shapes(models["hyper_analysis"].graph.output)) == ["z"]


def test_metadata_say_what_it_is_and_nothing_of_this_machine(models, small_lite, small_adapter, exported):
    adapted = {"adapter_fingerprint": small_adapter.fingerprint().hex()}
    for name, model in models.items():
        assert {entry.key: entry.value for entry in model.metadata_props} == {
            "codec": "lite",
            "codec_fingerprint": codec_fingerprint(small_lite).hex(),
            "part": name,
            "licence": "unknown: that of the checkpoint",
            **(adapted if name in ("synthesis", "analysis") else {}),
        }
        assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
        data = (exported / f"{name}.onnx").read_bytes()
        assert b".py" not in data
        assert b"site-packages" not in data


def test_the_manifest(exported, small_lite, small_adapter):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert manifest["recipe"] == "integer-checkerboard"
    assert manifest["codec_fingerprint"] == codec_fingerprint(small_lite).hex()
    assert (manifest["adapter"], manifest["groups"]) == ("svd-lora", list(small_adapter.delta_groups))
    assert manifest["files"].keys() == {*(f"{part}.onnx" for part in PARTS), "tables.npz"}
    assert manifest["encoder"] == {"margin": 256, "adapter": True, "metadata": {}}
    assert {name: (exported / name).stat().st_size for name in manifest["files"]} == {
        name: about["bytes"] for name, about in manifest["files"].items()
    }


def test_an_encoder_has_the_modulation_in_its_graph(small_lite, tmp_path):
    adapter = build_svd_lora(small_lite, rank=2, modulation=4).requires_grad_(False)
    adapter.modulation.last.weight.normal_(generator=torch.Generator().manual_seed(0))
    export_codec(small_lite, adapter, tmp_path, Form(encoder=True))
    x = torch.rand(1, 3, 128, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), adapter.applied(small_lite):
        expected = small_lite.analysis(x, 2.0).y
    with torch.no_grad():
        plain = small_lite.analysis(x, 2.0).y
        gain = small_lite.at(small_lite.gain, 2.0).exp().flatten()
    found = OnnxFunction((tmp_path / "analysis.onnx").read_bytes())(x, gain)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert (expected - plain).abs().max() > 0.1 * plain.abs().max()


@pytest.mark.parametrize("size", [(4, 4), (8, 12), (20, 28), (48, 32), (12, 4)])
def test_no_size_is_baked_in(exported, small_lite, small_adapter, size):
    """y of 48×32 is a picture of 768×512; window masks depend on the size."""
    generator = torch.Generator().manual_seed(0)
    y_hat, gain = torch.randn(1, 16, *size, generator=generator), torch.rand(16, generator=generator)
    synthesis = OnnxFunction((exported / "synthesis.onnx").read_bytes())
    delta = 0.1 * torch.randn(sum(small_adapter.delta_groups), generator=generator)
    own = torch.cat([branch.w_lora_S for branch in small_adapter.branches("decoder").values()])
    with torch.no_grad(), attached(small_adapter, small_lite):
        small_adapter.set_delta(delta)
        expected = small_lite.g_s(y_hat * gain[:, None, None])
        small_adapter.set_delta(None)
    found = synthesis(y_hat, gain, own + delta)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5 * float(expected.abs().max()))


def test_zeros_give_the_untuned_synthesis_to_the_last_bit(small_lite, small_adapter):
    y_hat = torch.randn(1, 16, 4, 8, generator=torch.Generator().manual_seed(0))
    parts = small_lite.export_parts()
    gain = torch.ones(16)
    plain = parts.networks["synthesis"].module
    tuned = TunedSynthesis(plain, small_lite, small_adapter)
    with torch.no_grad():
        assert torch.equal(tuned(y_hat, gain, torch.zeros(sum(small_adapter.delta_groups))), plain(y_hat, gain))


def test_plain_lora_is_switched_by_ones_and_zeros(small_lite):
    adapter = build_lora(small_lite, rank=2).requires_grad_(False)
    for branch in adapter.branches("decoder").values():
        branch.w_lora_U.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.1)
    y_hat, gain = torch.randn(1, 16, 4, 8, generator=torch.Generator().manual_seed(0)), torch.ones(16)
    tuned = TunedSynthesis(small_lite.export_parts().networks["synthesis"].module, small_lite, adapter)
    with torch.no_grad(), attached(adapter, small_lite):
        expected = small_lite.g_s(y_hat)
    with torch.no_grad():
        torch.testing.assert_close(tuned(y_hat, gain, torch.ones(sum(tuned.ranks))), expected, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(tuned(y_hat, gain, torch.zeros(sum(tuned.ranks))), expected, atol=1e-2)


class Other(Adapter):
    kind = "other"
    delta_groups = ()
    attach = detach = set_delta = adapter_params = fingerprint = None


def test_what_cannot_be_exported_says_why(tiny_codec, small_lite, tmp_path):
    with pytest.raises(UsageError, match="codec 'tiny' cannot be exported"):
        export_codec(tiny_codec, None, tmp_path)
    with pytest.raises(UsageError, match="their training has not ended"):
        export_codec(Lite(M=16, N=24, D=20, stem=8, Z=8, F=12, C=8), None, tmp_path)
    with pytest.raises(UsageError, match="adapter 'other' cannot be exported"):
        export_codec(small_lite, Other(), tmp_path)
    with pytest.raises(UsageError, match="no layer in the decoder"):
        export_codec(small_lite, build_svd_lora(small_lite, decoder_layers=[]), tmp_path)
    assert not list(tmp_path.iterdir())


def test_arrays_hold_the_adapter(exported, small_adapter):
    with np.load(exported / "tables.npz") as arrays:
        own = torch.cat([branch.w_lora_S for branch in small_adapter.branches("decoder").values()])
        assert np.array_equal(arrays["singular_values"], own.numpy())
